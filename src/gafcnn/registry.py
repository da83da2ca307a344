"""Registries: labels, fields, networks and other parts that are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

from gafcnn.errors import ConfigError
from gafcnn.settings import create

OWN = "for a definition of your own, pass its file as imports=[my_file.py]"

T = TypeVar("T")


class Registry(dict[str, T]):
    """Objects by name, of the library and of the user; `what` names them in messages.

    The modules register the library's own, and are imported at the first lookup.
    """

    def __init__(self, what: str, modules: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.what, self._modules = what, modules

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under a name.

        A definition replaces an earlier one of its module, so that a notebook cell can run twice.

        Raises:
            ConfigError: Another module has registered the name.
        """

        def add(one: T) -> T:
            held = self.get(name)
            if held is not None and _origin(held) != _origin(one):
                found = f"the {self.what} {name!r} is registered already, by {_origin(held)}"
                expected, instead = "a name of its own", "choose another name"
                raise ConfigError(found, expected=expected, instead=instead)
            if isinstance(one, type):
                one.kind = name  # pyright: ignore[reportAttributeAccessIssue]
            self[name] = one
            return one

        return add

    def create(self, options: Mapping[str, Any], section: str) -> Any:
        """Create an instance of a registered settings class from `{"kind": name, **options}`.

        Raises:
            ConfigError: The kind is unknown, or an option is.
        """
        rest = dict(options)
        return create(self[rest.pop("kind", None)], section, rest)  # pyright: ignore[reportArgumentType]

    def all_of(self, names: Iterable[str], option: str) -> tuple[str, ...]:
        """Return the names that an option lists.

        Raises:
            ConfigError: A name is unknown or occurs twice, or there is none.
        """
        found = () if isinstance(names, str) else tuple(names)
        if not found or len(set(found)) < len(found):
            raise ConfigError(
                f"{option} is {names!r}",
                expected=f"a list of one or more {self.what}s, each once",
                instead=f"set {option}=[{next(iter(self))}], for example",
            )
        for name in found:
            self[name]
        return found

    def own(self) -> dict[str, T]:
        """Return what was registered outside the library, by name."""
        return {k: one for k, one in self.items() if not _origin(one).startswith("gafcnn.")}

    def __getitem__(self, name: str) -> T:
        for module in self._modules:
            import_module(module)
        if name not in self:
            near = get_close_matches(str(name), self, n=1)
            raise ConfigError(
                f"the {self.what} {name!r} is unknown",
                expected=f"one of {', '.join(self)}",
                instead=f"did you mean {near[0]}?" if near else OWN,
            )
        return super().__getitem__(name)


def _origin(found: Any) -> str:
    # an entry that wraps a function is the function's
    defined = getattr(found, "compute", None) or found
    return getattr(defined, "__module__", None) or type(defined).__module__
