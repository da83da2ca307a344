"""What the config of a run may say, before anything that it names is made.

A run's folder may come from elsewhere. Its config.yaml is data, and data runs no code: what it
names by `_target_` is of the room that it belongs to, or of a package that the user trusts; and so
is what it imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from typing import Any

from gafcnn.app.runs import CONFIG, LEAVE, METRICS, damaged_files, read_config
from gafcnn.errors import ConfigError, RunError

TARGET = "_target_"
IMPORTS = "imports"  # the option that names modules of one's own, which add fields and networks

_ROOMS: Mapping[str, tuple[str, ...]] = {
    "market": ("gafcnn.data",),
    "label": ("gafcnn.data",),
    "split": ("gafcnn.data",),
    "augmentation": ("gafcnn.data",),
    "callbacks": ("gafcnn.models", "lightning.pytorch.callbacks"),
    "logger": ("lightning.pytorch.loggers", "gafcnn.app.tracking"),
    "trainer": ("lightning.Trainer", "lightning.pytorch.trainer"),
}
"""Where what a section of a config names may come from."""

_SECTIONS = ("market", "window", "label", "split", "model")  # which every run's config has


def check_configs(study: Path, trust: Sequence[str]) -> None:
    """Assert that the config of each run of a study names nothing but what may be made of it.

    When all are, what they import is imported, so that their fields and networks are known.

    Args:
        study: The study's folder; where there is none, nothing is checked.
        trust: Packages of the user's own that a run's config may name, too.

    Raises:
        RunError: A config cannot be read, is no run's, or names what is of no such place.
        ConfigError: A module that they import is not there.
    """
    wanted: dict[str, None] = {}
    for path in sorted(study.rglob(CONFIG)):
        finished = (path.parent / METRICS).is_file()
        if finished and CONFIG in damaged_files(path.parent):
            continue  # which whoever reads it is told, and is not given what it says
        check_config(path, config := read_run_config(path), trust)
        wanted |= dict.fromkeys(config.get(IMPORTS) or ())
    import_own(wanted)


def import_own(names: Iterable[str]) -> None:
    """Import modules of the user's own, which add fields or networks when they are.

    Raises:
        ConfigError: One is not there, or cannot be imported.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"{IMPORTS}=[{name}], which cannot be imported ({error})",
                expected="modules that python finds",
                instead="put the folder that it is in on PYTHONPATH, or correct its name",
            ) from error


def read_run_config(path: Path) -> dict[str, Any]:
    """The config that a run left, its values as they stand there.

    Raises:
        RunError: It cannot be read, or is no run's.
    """
    config = read_config(path)
    for section in _SECTIONS:
        if not isinstance(config.get(section), dict):
            raise RunError(
                f"{path} has no section {section}",
                expected="the config that train.py wrote",
                instead=LEAVE,
            )
    return config


def check_config(path: Path, config: Mapping[str, Any], trust: Sequence[str]) -> None:
    """Assert that a run's config names nothing but what may be made of it, see `check_configs`."""
    names = config.get(IMPORTS) or []
    if not isinstance(names, list):
        raise _strange(path, f"{IMPORTS}: {names}", "a list of names of modules, or null")
    for name in names:
        if not isinstance(name, str) or not _is_of(name, trust):
            raise _untrusted(path, name, IMPORTS, f"{IMPORTS} of packages that are trusted")
    for section, node in config.items():
        for key, value in _leaves(node, str(section)):
            if "${" in str(value):
                raise _strange(path, f"{key}: {value}", "values, with nothing left to look up")
        for key, node_with_target in _targets(node, str(section)):
            _check_target(path, key, node_with_target, _ROOMS.get(str(section), ()), trust)


def _check_target(
    path: Path, key: str, node: Mapping[str, Any], rooms: tuple[str, ...], trust: Sequence[str]
) -> None:
    target = node[TARGET]
    if isinstance(target, str) and _is_of(target, trust):
        return
    if not isinstance(target, str) or not _is_defined_in(target, rooms):
        expected = f"a class of {' or '.join(rooms)}" if rooms else f"no {TARGET} there"
        raise _untrusted(path, target, f"{key}.{TARGET}", expected)
    if more := [name for name in node if re.fullmatch("_.+_", str(name)) and name != TARGET]:
        raise _strange(path, f"{key}.{more[0]}", f"{TARGET} and the options that it takes")


def _untrusted(path: Path, name: Any, key: str, expected: str) -> RunError:
    package = str(name).partition(".")[0]
    own = package.isidentifier() and package != "gafcnn"
    return RunError(
        f"{path} names {name} as {key}, which would be run",
        expected=expected,
        instead=f"if that code is your own, add trust=[{package}]" if own else LEAVE,
    )


def _is_of(name: str, places: Sequence[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _is_defined_in(target: str, rooms: tuple[str, ...]) -> bool:
    """Whether a name is that of a class or a function that a room defines, not only imports."""
    module, _, name = target.rpartition(".")
    if not _is_of(target, rooms):
        return False
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    if not (isclass(found) or isfunction(found)) or not _is_of(found.__module__, rooms):
        return False
    # of our own rooms, what they publish: no function of theirs that is nobody else's business
    published = [room for room in rooms if room.startswith("gafcnn.") and _is_of(module, [room])]
    return all(getattr(import_module(room), name, None) is found for room in published)


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The values of a node, and the names in it, each with its key."""
    if not isinstance(node, Mapping | list):
        yield key, node
        return
    for name, child in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield key, name
        yield from _leaves(child, f"{key}.{name}")


def _targets(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nodes with a `_target_`, however deep, each with its key."""
    if isinstance(node, Mapping):
        if TARGET in node:
            yield key, node
        for name, child in node.items():
            yield from _targets(child, f"{key}.{name}")
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _targets(child, f"{key}.{number}")


def _strange(path: Path, found: str, expected: str) -> RunError:
    return RunError(f"{path} holds {found}", expected=expected, instead=LEAVE)
