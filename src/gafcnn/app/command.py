"""Command-line entry points: Hydra, extensions, and errors as one sentence."""

from __future__ import annotations

import glob
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module, invalidate_caches
from pathlib import Path
from textwrap import fill
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

import gafcnn
from gafcnn.errors import ConfigError, GafcnnError

COMMANDS = {
    "prepare": ("read bars, and encode images", "prepare market=file market.path=bars.csv"),
    "train": ("train one window, or the baseline", "train experiment=demo window=30m"),
    "evaluate": ("judge a study or a table on test rows", "evaluate study=demo"),
    "predict": ("decide on the newest bar", "predict study=demo"),
    "export": ("export the models of a study", "export study=demo"),
    "verify": ("check all files on disk", "verify"),
}
"""The commands, each with an example: functions in the modules of `gafcnn.app` with their names."""

# options that every run's folder is named by anyway
_IN_EVERY_NAME = {"study", "window", "seed", "split", "split.fold"}

# options whose values name files, and names of columns: the grammar of Hydra has no umlauts, ~ or &
_FILES, _COLUMNS = ("market.path", "predictions", "on"), "market.columns."

_HELP_WIDTH = 80  # of a list of options

log = logging.getLogger(__name__)


def run() -> None:
    """Run `gafcnn COMMAND [OPTION ...]`."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in COMMANDS:
        main(command, words=words, program="gafcnn {}")
    elif command == "--version":
        sys.stdout.write(f"gafcnn {gafcnn.__version__}\n")
    elif command in ("-h", "--help", "help"):
        sys.stdout.write("usage: gafcnn COMMAND [OPTION ...]; gafcnn COMMAND --help has more\n\n")
        for name, (description, example) in COMMANDS.items():
            sys.stdout.write(f"  {name:10}{description:39}gafcnn {example}\n")
    else:
        sys.exit(f"error: there is no command {command}; expected one of {', '.join(COMMANDS)}.")


def main(
    name: str,
    conf: Path | None = None,
    words: Sequence[str] | None = None,
    program: str = "python {}.py",
) -> None:
    """Run a command with the options composed from `conf/<name>.yaml` and the words typed.

    Errors end the process with one sentence on standard error and exit code 1; HYDRA_FULL_ERROR=1
    shows the traceback instead. Without `conf` the configuration is that of the package; `program`
    is how the user starts a command, in place of whose name is {}.
    """
    if conf is None:  # that of the installed package, or of the repository
        installed = Path(__file__).parents[1] / "conf"
        conf = installed if installed.is_dir() else installed.parents[2] / "conf"
    conf = conf.resolve()
    argv, words = sys.argv, list(sys.argv[1:] if words is None else words)
    words.sort(key=lambda word: word not in ("-m", "--multirun"))  # Hydra expects it first
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"

    def job(config: DictConfig) -> Any:
        # Lightning starts the other processes of a shared training by the words that were typed
        sys.argv = argv
        try:
            options: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            import_own(options.get("imports") or ())
            if "swept" in options:  # with their values in this job
                typed = HydraConfig.get().overrides.task
                options["swept"] = [w for w in typed if w.split("=")[0].lstrip("+") in swept]
            return getattr(import_module(f"gafcnn.app.{name}"), name)(options)
        except Exception as error:
            if full_error:
                raise
            message = f"error: {_message(error, name, conf, words)}"
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the other jobs go on
                log.error(message)
                raise
            sys.exit(message)

    # otherwise Hydra prints a traceback of its own
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        jobs, swept = _prepare_words(words, conf)
        register = partial(OmegaConf.register_new_resolver, replace=True)
        register("jobs", lambda: jobs)
        register("options", partial(_options_of, conf))
        register("run", program.format)
        sys.argv = [argv[0], *words]
        hydra.main(version_base="1.3", config_path=str(conf), config_name=name)(job)()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command resumes\n")
        sys.exit(130)
    except SystemExit as end:
        if end.code == 2:  # of argparse, which has printed the unknown words
            sys.stderr.write("write options as KEY=VALUE, for example window=30m\n")
        raise
    except Exception as error:
        if full_error:
            raise
        sys.exit(f"error: {_message(error, name, conf, words)}")
    finally:
        sys.argv = argv
        if not full_error:
            del os.environ["HYDRA_FULL_ERROR"]


def _prepare_words(words: list[str], conf: Path) -> tuple[int, list[str]]:
    """Quote names, and import the user's own modules.

    Returned are how many jobs of a sweep can run in parallel, at most one per core, and the swept
    options that the folders of the runs are named by.

    Raises:
        ConfigError: A module cannot be imported, or the launcher is not available.
    """
    words[:] = [quote_names(word, conf) for word in words]
    overrides = _parse(words)
    for override in overrides:
        if override.key_or_group == "imports" and isinstance(names := override.value(), str | list):
            import_own(names)
            from gafcnn.app.options import own_options

            for group, name, package, node in own_options():
                ConfigStore.instance().store(group=group, name=name, package=package, node=node)
    if not {"-m", "--multirun"} & set(words):
        return 1, []
    if "hydra/launcher=slurm" in words and shutil.which("srun") is None:
        expected, instead = "a machine with Slurm", "use one, or hydra/launcher=parallel"
        raise ConfigError("there is no srun here", expected=expected, instead=instead)
    if {"trainer=ddp", "trainer.strategy=ddp"} & set(words):
        expected, instead = "one device per job", "remove -m, or trainer=ddp"
        raise ConfigError("trainer=ddp in a sweep", expected=expected, instead=instead)
    swept = [override for override in overrides if override.is_sweep_override()]
    named = [o.key_or_group for o in swept if o.key_or_group not in _IN_EVERY_NAME]
    from joblib import cpu_count  # respects the cores that this process may use

    try:
        jobs = math.prod(len(list(override.sweep_string_iterator())) for override in swept)
    except HydraException:  # a glob, or an interval, which only another sweeper can count
        return cpu_count(), named
    return min(jobs, cpu_count()), named


def quote_names(word: str, conf: Path) -> str:
    """Return a word in which the name of a file that exists, or of a column, is quoted for Hydra.

    So is a number that is given to a group of `conf`, whose options are names. A pattern is quoted
    if a file is named like it; what else Hydra reads, such as a list, stays as it is.
    """
    key, _, value = word.partition("=")
    if (option := key.lstrip("+")) in _FILES:
        # unlike those of Path, these functions raise no errors for what cannot be a name
        value = os.path.expanduser(value)  # noqa: PTH111
        named = os.path.exists(value)  # noqa: PTH110
        if not named and not (value.startswith("[") and value.endswith("]")):
            named = any(glob.iglob(value, recursive=True))  # noqa: PTH207
    else:
        named = option.startswith(_COLUMNS) and not re.match(r"['\"]|null$|.*,", value)
        named |= value.isdigit() and option in {path.name for path in conf.iterdir()}
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}" if value and named else word


def _parse(words: Sequence[str]) -> list[Override]:
    """Return the overrides among the words; an error leaves it to Hydra to report them."""
    typed = [word for word in words if not word.startswith("-") and "=" in word]
    try:
        return OverridesParser.create().parse_overrides(typed)
    except OverrideParseException:
        return []


def import_own(names: str | Sequence[str]) -> None:
    """Import the user's own modules, paths or names, which register labels and other parts.

    Raises:
        ConfigError: A module is not found, or a file is named like another module.
    """
    for name in [names] if isinstance(names, str) else map(str, names):
        path = Path(name).resolve()
        is_file = path.suffix == ".py"
        folder = str(path.parent if is_file else Path.cwd())
        if folder not in sys.path:
            sys.path.append(folder)
        invalidate_caches()  # the file may be new
        try:
            found = import_module(path.stem if is_file else name).__file__
            reason = f"there is another module {path.stem}" if is_file else ""
        except ModuleNotFoundError as error:
            found, reason = None, str(error)
        if reason and found != str(path):
            found, expected = f"imports={name} cannot be imported ({reason})", "a file or module"
            instead = "correct the path, or rename the file"
            raise ConfigError(found, expected=expected, instead=instead)


def _message(error: Exception, name: str, conf: Path, words: Sequence[str]) -> str:
    if isinstance(error, GafcnnError):
        return " ".join(str(error).split())
    if isinstance(error, MissingMandatoryValue) and (key := getattr(error, "full_key", None)):
        return f"{key} has no value; expected a value; set {key}=VALUE."
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        asked = re.sub(r"\b1h$|(?<=x)1h$", "60m", option) if group == "window" else option
        near = get_close_matches(asked, error.options, n=1)
        typed = next((w.partition("=")[0] for w in words if w.endswith(f"={option}")), group)
        instead = f"did you mean {typed}={near[0]}?" if near else "correct the name."
        if option.isdigit() and group != "window":
            instead = f"to set a number, write {typed}.KEY={option} with one of its options."
        if group == "window":
            own = "15m window.span=45min, or window=64x15m window.points=32 window.lookback=8h"
            instead += f" For a length of your own, write window={own}."
        options = ", ".join(error.options)
        return f"{typed} has no option {option}; expected one of {options}; {instead}"
    first = next((line for line in str(error).splitlines() if line.strip()), "").rstrip(".:")
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; expected KEY=VALUE, as window=30m ({first})."
    if first.startswith("Ambiguous value"):
        several = "add -m to run the command for each, or write a list as KEY=[A,B]."
        return f"{first}; expected one value; {several}"
    if unknown := re.match("Could not override '([^@]+?)'", first):
        return _unknown_option(unknown[1], name, conf, words)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"{first}; see --help."
    where = "set HYDRA_FULL_ERROR=1 to see where it happened."
    return f"unexpected error: {type(error).__name__}: {first}; {where}"


def _unknown_option(key: str, name: str, conf: Path, words: Sequence[str]) -> str:
    """Return a message about an option that does not exist, with the nearest one that does."""
    import pandas as pd  # takes half a second

    overrides = {one.key_or_group: one for one in _parse(words)}
    chosen = [
        str(one.input_line)
        for group, one in overrides.items()
        if group != key and (conf / group).is_dir() and not one.is_sweep_override()
    ]
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        composed: Any = hydra.compose(name, chosen, return_hydra_config=True)
    composed = OmegaConf.to_container(composed)
    groups = composed.pop("hydra")["runtime"]["choices"]
    known = [*pd.json_normalize(composed).columns]
    # a number is no name of a group's option; a sweeper sets keys that were not typed
    if key not in overrides or not isinstance(overrides[key].value(), int | float):
        known += [group for group in groups if "/" not in group]
    # by its whole name, or by the end of it: trading.cost_bps for cost
    parts = {option: option.split(".") for option in reversed(known)}
    ends = {".".join(of[k:]): option for option, of in parts.items() for k in range(len(of))}
    near = get_close_matches(key, ends, n=1, cutoff=0.65)
    instead = f"did you mean {ends[near[0]]}?" if near else "--cfg job lists them."
    group, _, last = key.partition(".")
    for path in sorted((conf / group).glob("*.yaml"), reverse=True) if group in groups else ():
        found: Any = OmegaConf.load(path)
        if last in [*found.get(group, found)]:
            instead = f"add {group}={path.stem}."
    within = [option for option in known if option.startswith(f"{group}.")]
    expected = ", ".join(within or dict.fromkeys(of[0] for of in reversed(parts.values())))
    return f"there is no option {key}; expected one of {expected}; {instead}"


def _options_of(conf: Path, group: str, indent: int = 26, *, _root_: DictConfig) -> str:
    """Return the options of a group for a command's help, the default first."""
    chosen = _root_.hydra.runtime.choices.get(group)
    names = [path.stem for path in (conf / group.partition("@")[0]).glob("*.yaml")]
    names.sort(key=lambda option: (option != chosen, option))
    marked = chosen in names and chosen != "default"
    text = ", ".join([names[0] + " (default)" * marked, *names[1:]])
    return fill(text, _HELP_WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
