"""Registries: labels, fields, networks and other parts that are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

from gafcnn.errors import ConfigError
from gafcnn.settings import create

OWN = "for a definition of your own, pass its file as imports=[my_file.py]"

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Objects by name, of the library and of the user.

    Args:
        what: What is registered, for messages: "label".
        modules: Modules that register the library's own; imported at the first lookup.
    """

    def __init__(self, what: str, modules: tuple[str, ...] = ()) -> None:
        self.what, self._modules, self._found = what, list(modules), dict[str, T]()

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under a name.

        A definition replaces an earlier one of the same module, so that a notebook cell can run
        twice.

        Raises:
            ConfigError: Another module has registered the name.
        """

        def add(found: T) -> T:
            held = self._found.get(name)
            if held is not None and _origin(held) != _origin(found):
                raise ConfigError(
                    f"the {self.what} {name!r} is registered already, by {_origin(held)}",
                    expected="a name of its own",
                    instead="choose another name",
                )
            if isinstance(found, type):
                found.kind = name  # pyright: ignore[reportAttributeAccessIssue]
            self._found[name] = found
            return found

        return add

    def create(self, options: Mapping[str, Any], section: str) -> Any:
        """Create an instance of a registered settings class from `{"kind": name, **options}`.

        Raises:
            ConfigError: The kind is unknown, or an option is.
        """
        rest = dict(options)
        return create(self[rest.pop("kind", None)], section, rest)  # pyright: ignore[reportArgumentType]

    def own(self) -> dict[str, T]:
        """Return what was registered outside the library, by name."""
        found = self._found.items()
        return {name: one for name, one in found if not _origin(one).startswith("gafcnn.")}

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._found:
            near = get_close_matches(str(name), self._found, n=1)
            raise UnknownNameError(
                f"the {self.what} {name!r} is unknown",
                expected=f"one of {', '.join(self._found)}",
                instead=f"did you mean {near[0]}?" if near else OWN,
            )
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._found)

    def __len__(self) -> int:
        self._load()
        return len(self._found)

    def _load(self) -> None:
        while self._modules:
            import_module(self._modules.pop(0))


class UnknownNameError(ConfigError, KeyError):
    """A name that nothing is registered under."""


def _origin(found: Any) -> str:
    defined = getattr(found, "compute", found)  # an entry that wraps a function is the function's
    return getattr(defined, "__module__", None) or type(defined).__module__
