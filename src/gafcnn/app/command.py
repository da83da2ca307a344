"""What stands between the shell and the pipeline: Hydra, names of runs, errors as sentences."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gafcnn.app.runs import check_unshared, run_name
from gafcnn.app.validation import NAME, SECTION, follow
from gafcnn.atomic_io import disk_error
from gafcnn.errors import ConfigError, GafcnnError

Task = Callable[[DictConfig], Any]

log = logging.getLogger(__name__)

# these have a place of their own in a run's name
_NAMED_ANYWAY = {"window", "window.name", "seed", "split.fold", "study"}


def main(name: str, conf: Path) -> None:
    """Run `gafcnn.app.<name>.<name>` over `conf/<name>.yaml` composed with the overrides typed.

    Whatever is refused, by gafcnn, Hydra or a library, ends in one sentence on the standard error
    and exit code 1; HYDRA_FULL_ERROR=1 shows the traceback instead.

    Args:
        name: The command: prepare, train, evaluate, predict, export or verify.
        conf: The folder of the configuration.
    """
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print a trimmed traceback of its own
    try:
        _check_groups(sys.argv, conf)
        if name in ("train", "prepare"):
            jobs = _name_sweep(sys.argv)
            OmegaConf.register_new_resolver("side_by_side", lambda: _at_once(jobs), replace=True)
        OmegaConf.register_new_resolver(
            "options", lambda group: _told_options(name, conf, group), replace=True
        )
        run = hydra.main(version_base="1.3", config_path=str(conf.resolve()), config_name=name)
        run(_task(name, conf, full_error=full_error))()
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except Exception as error:
        if full_error:
            raise
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            # of the folder that Hydra makes for a run
            error = disk_error(Path(error.filename or "."), 0, error)
        sys.exit(f"error: {_sentence(error, name, conf)}")


def _task(name: str, conf: Path, *, full_error: bool) -> Task:
    """The command; where it refuses it ends at once, unless the other jobs of a sweep wait."""

    def told(config: DictConfig) -> Any:
        if name == "predict":
            # weights in large pages, where Linux has them: they are read once a decision, from end
            # to end, which takes a fifth less time; torch looks when it is first imported
            os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        module = import_module(f"gafcnn.app.{name}")  # torch takes seconds to import

        try:
            return getattr(module, name)(config)
        except Exception as error:
            if full_error:
                raise
            sentence = _sentence(error, name, conf)
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # told at once; the other jobs go on
                log.error("error: %s", sentence)
                raise
            sys.exit(f"error: {sentence}")

    return told


def _sentence(error: Exception, name: str, conf: Path) -> str:
    """What gafcnn, Hydra or OmegaConf refuses: found, expected, what to type instead."""
    if own := _own(error):
        return " ".join(str(own).split())  # a value in it may have several lines
    if not isinstance(error, HydraException | OmegaConfBaseException):
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"{found}; expected to go on; HYDRA_FULL_ERROR=1 in front shows where it was."
    told = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(told)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read ({told[0]}); expected KEY=VALUE; put a value that "
            "has brackets, quotes, commas or = in it in quotes of its own, as in 'key=\"a=b\"'."
        )
    if no_value := re.search(r"Missing mandatory value: (\S+)(?: full_key: (?!hydra)(\S+))?", text):
        key = no_value[2] or no_value[1]
        return f"{key} has no value; expected one from the command line; type {key}=..."
    if looked_up := re.search(r"^(.*[Ii]nterpolation.*?) full_key: (\S+)", text):
        found, key = looked_up.groups()
        typed = next((word for word in sys.argv[1:] if "${" in word), key)
        return f"{typed}: {found}; expected a value; type one that names no other key."
    if no_option := re.search(r"Could not find '([^']+)/([^']+)'", text):
        group, option = no_option.groups()
        known = _options(conf / group)
        return (
            f"{group} has no option {option}; expected one of {known}; type {group}=<one of them>."
        )
    if no_key := re.search(r"Could not override '([^']+)'", text):
        near = get_close_matches(no_key[1], _keys(name, conf) - {no_key[1]}, n=1)
        instead = f"did you mean {near[0]}?" if near else "--cfg job lists them."
        return f"there is no key {no_key[1]}; expected one that conf/{name}.yaml has; {instead}"
    if "Ambiguous value" in text:
        group = re.search(r"'([^'=]+)=", text)
        several = (
            "." if group and group[1] in _groups(conf) else ", or write them in [ ] for a list."
        )
        return (
            f"{told[0].rstrip('.:')}; expected one value; add -m in front for a sweep over "
            f"them{several}"
        )
    return f"{told[0].rstrip('.:')}; expected KEY=VALUE pairs of conf/{name}.yaml; see --help."


def _own(error: BaseException | None) -> GafcnnError | None:
    """Our own disk_error, which OmegaConf wraps where it is of a value that it looked up."""
    seen: list[BaseException] = []  # under a debugger OmegaConf's causes go round in a circle
    while isinstance(error, OmegaConfBaseException) and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return error if isinstance(error, GafcnnError) else None


def _keys(name: str, conf: Path) -> set[str]:
    """All keys and groups of a command's configuration, with the groups' options as typed."""
    groups = _groups(conf) & {key.partition("@")[0] for key in _defaults(conf, name)}
    chosen = [word for word in sys.argv[1:] if word.split("=")[0] in groups and "," not in word]
    with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        composed = hydra.compose(name, chosen)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in node:
            yield f"{prefix}{key}"
            if isinstance(child := node._get_node(key), DictConfig):
                yield from walk(child, f"{prefix}{key}.")

    return {*walk(composed, ""), *groups}


def _groups(conf: Path) -> set[str]:
    """The groups of the configuration: the folders of `conf`."""
    return {path.name for path in conf.iterdir() if path.is_dir()}


def _typed(argv: list[str]) -> list[Override]:
    """The overrides typed, as far as they are KEY=VALUE; Hydra tells of others.

    Raises:
        HydraException: One cannot be read.
    """
    words = [word for word in argv[1:] if not word.startswith("-") and "=" in word]
    return OverridesParser.create().parse_overrides(words)


def _check_groups(argv: list[str], conf: Path) -> None:
    """Refuse as an option of a group what is no name.

    Raises:
        ConfigError: It is a number, say.
    """
    groups = _groups(conf)
    for override in _typed(argv):
        group, value = override.key_or_group, override.value()
        if group not in groups or override.is_delete() or override.is_sweep_override():
            continue
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str | QuotedString) and name for name in names):
            raise ConfigError(
                f"{group} has no option {override.get_value_element_as_str()}",
                expected=f"one of {_options(conf / group)}",
                instead=f"type {group}=<one of them>, or {group}.<key>=<value> for a key of it",
            )


def _options(group: Path) -> str:
    return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))


def _told_options(name: str, conf: Path, group: str) -> str:
    """The options of a group for a command's help, first the one that it takes by itself."""
    chosen = _defaults(conf, name).get(group)
    names = [path.stem for path in sorted((conf / group.partition("@")[0]).glob("*.yaml"))]
    names.sort(key=lambda option: option != chosen)
    first = " (default)" if chosen not in (None, "default") else ""
    return ", ".join([f"{names[0]}{first}", *names[1:]])


def _defaults(conf: Path, name: str) -> dict[str, str]:
    """What a command composes where nothing else is typed: an option of each group."""
    chosen: dict[str, str] = {}
    for entry in OmegaConf.select(OmegaConf.load(conf / f"{name}.yaml"), "defaults"):
        if isinstance(entry, DictConfig):
            chosen |= {str(key): value for key, value in entry.items()}
        elif entry != "_self_":
            chosen |= _defaults(conf, entry)
    return chosen


def _name_sweep(argv: list[str]) -> int | None:
    """Tell the jobs of a sweep which of the overrides typed make them differ, and count them.

    Returns:
        How many jobs there are, where that can be told.

    Raises:
        ConfigError: The launcher cannot launch.
    """
    if not {"-m", "--multirun"} & set(argv):
        return None
    overrides = _typed(argv)
    for override in overrides:
        if refuse := _CHECKS.get(override.key_or_group):
            refuse(override.value())
    swept = [override for override in overrides if override.is_sweep_override()]
    if names := [o.key_or_group for o in swept if o.key_or_group not in _NAMED_ANYWAY]:
        argv.insert(argv.index(str(overrides[0].input_line)), f"swept=[{','.join(names)}]")
    try:
        return math.prod(len(list(override.sweep_string_iterator())) for override in swept)
    except HydraException:  # a glob, or an interval that only another sweeper can count
        return None


def _check_jobs(n_jobs: Any) -> None:
    """Refuse a number of jobs at a time at which none would run."""
    if type(n_jobs) is not int or n_jobs == 0:
        raise ConfigError(
            f"hydra.launcher.n_jobs={n_jobs}",
            expected="how many jobs run at a time, 1 or more, or -1 for one a core",
            instead="leave it out for as many as suit this machine",
        )


def _check_launcher(launcher: Any) -> None:
    """Refuse to submit jobs where nothing takes them."""
    if launcher == "submitit_slurm" and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm, but there is no srun here",
            expected="a machine that hands jobs to Slurm",
            instead="type the command on one, or take hydra/launcher=joblib",
        )


_CHECKS = {
    "hydra/launcher": _check_launcher,
    "hydra.launcher.n_jobs": _check_jobs,
    "trainer": check_unshared,
    "trainer.strategy": check_unshared,
}


def _at_once(jobs: int | None) -> int:
    """How many jobs of a sweep run side by side: all, but no more than one a core."""
    from joblib import cpu_count  # which knows the cores that this process may use

    return min(jobs or cpu_count(), cpu_count())


def _run_name(*, _root_: DictConfig) -> str:
    # before Hydra makes a folder of these names
    follow((("study", NAME), ("model", SECTION), ("model.name", NAME)), _root_)
    swept = [
        text
        for text in OmegaConf.select(_root_, "hydra.overrides.task", default=[])
        if text.split("=")[0].lstrip("+") in _root_.swept
    ]
    if "trees" in _root_.model:  # its own name says which model it is
        swept = [text for text in swept if not text.startswith("model=")]
    fold = OmegaConf.select(_root_, "split.fold")
    return run_name(_root_.model.name, _root_.seed, fold, swept)


# here, not in main: a launcher's worker process imports this module and calls what it needs of it
OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
# conf/hydra/launcher has files of the plugins' names, so that they are what one gets by these names
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against")
