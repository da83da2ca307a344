"""Every option of conf/ is one that can be taken, and a wrong one ends in one sentence of ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.checks import check, check_evaluation
from gafcnn.app.command import main

Refuse = Callable[..., str]

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = [
    (path.parent.name, path.stem)
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name != "experiment"
]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OF_EVALUATION = ("trading", "judging", "ensemble")

# what a day's training by a network of nothing takes a second for
SMALL = (
    "market=simulated",
    "market.days=1",
    "model=small_cnn",
    "model.network.width=2",
    "images.size=8",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "callbacks.progress=null",
    "study=small",
)
JUDGED = ("study=small", "judging.resamples=0")

ODD = (
    "null", "-1", "0", "1", "0.5", "1e400", "nan", "true", "false", "''", "text", "[]", "{}",
    "[1,2]", "[null]", "[a,a]", "{a:1}", "{a:{b:[1]}}", "[{a:1}]", "x" * 300, "'ü ß 日本'",
    "${oc.env:HOME}", "'${oc.env:HOME}'", "${nothing}", "${seed}", "some/where.csv", "../x",
    "'15 parsecs'", "15min", "-15min", "1ms", "10000D", "'15'", "1e3", "9" * 20, "'a\nb'",
    "'<b>'", "???", "'%s {x}'", "1_000",
)  # fmt: skip
"""Values that are wrong for most keys, as they are typed."""


def composed(name: str, *words: str) -> DictConfig:
    """The configuration of a command, with these overrides."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, [*words])


def keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """All keys of a configuration, sections and leaves."""
    for key in cfg:
        yield f"{prefix}{key}"
        if isinstance(child := cfg._get_node(key), DictConfig):
            yield from keys(child, f"{prefix}{key}.")


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A file where one of bars is looked for."""
    (tmp_path / "bars.csv").touch()
    return tmp_path / "bars.csv"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_a_group_passes(bars: Path, group: str, option: str) -> None:
    if group in OF_EVALUATION:
        check_evaluation(composed("evaluate", f"{group}={option}"))
        return
    path = [f"market.path={bars}"] if option == "file" else []
    cfg = composed("train", f"{group}={option}", *path)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check(cfg)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_passes(bars: Path, name: str) -> None:
    path = [f"market.path={bars}"] if name.startswith("candlesticks") else []
    cfg = composed("train", f"experiment={name}", *path)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check(cfg)


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_a_group_that_another_command_has_is_told(refused: Refuse, command: str) -> None:
    told = refused(command, "study=x", "window=30m")
    assert told == (
        f"error: there is no key window; expected one that conf/{command}.yaml has; did you mean "
        "windows?"
    )


@pytest.mark.parametrize("word", ["seed=${nothing}", "study=${oc.decode:'['}"])
def test_a_debugger_does_not_keep_a_command_from_ending(
    refused: Refuse, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("OC_CAUSE", "1")  # what OmegaConf does where a debugger traces
    assert "expected" in refused("train", *SMALL, word)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("window", "window cannot be read (Error parsing override 'window'); expected KEY=VALUE"),
        ("window=", "window has no option ; expected one of 15m, 15m_x10"),
        ("=30m", "Could not override ''"),
        ("window=30m=5", "window=30m=5 cannot be read (mismatched input '='"),
        ("a.b.c=1", "there is no key a.b.c; expected one that conf/train.yaml has"),
        ("~window", "model.name: Interpolation key 'window.name' not found"),
        ("~windw", "Could not delete from config. 'windw' does not exist"),
        ("+window=30m", "Multiple values for window"),
        ("window=[", "window=[ cannot be read"),
        ("window='30m", "window='30m cannot be read"),
        ('window="30m', 'window="30m cannot be read'),
        ("window=30m)", "window=30m) cannot be read"),
        ("model.lr={", "model.lr={ cannot be read"),
        ("model..lr=1", "model..lr=1 cannot be read"),
        ("window=30", "window has no option 30; expected one of 15m"),
        ("window=null", "window has no option null; expected one of 15m"),
        ("window=[1,2]", "window has no option [1,2]; expected one of 15m"),
        ("callbacks={}", "callbacks has no option {}; expected one of averaged, default"),
        ("window=15m,30m", "expected one value; add -m in front for a sweep over them."),
        ("seed=${nothing}", "seed=${nothing}: Interpolation key 'nothing' not found"),
        ("seed=???", "seed has no value; expected one from the command line; type seed=..."),
        ("model.network.dropot=1", "did you mean model.network.dropout?"),
    ],
)
def test_what_is_no_override_is_told(refused: Refuse, word: str, told: str) -> None:
    assert told in refused("train", *SMALL, word)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("study=2024", "study=2024; expected letters, digits, dots"),
        ("study=true", "study=True; expected letters"),
        ("seed=99999999999999999999", "seed=99999999999999999999; expected a whole number, 0 or"),
        ("market.seed=-1", "market.seed=-1; expected a whole number, 0 or more"),
        ("window.name=../x", "model.name=../x; expected letters, digits"),
        ("window.name=5", "model.name=5; expected letters, digits"),
        ("model.name=../x", "model.name=../x; expected letters, digits"),
        ("paths.outputs=true", "paths.outputs=True; expected the path of a folder"),
        ("paths.data=null", "paths.data=None; expected the path of a folder"),
        ("~window.span", "there is no window.span; expected a length of time"),
        ("~model.weight_decay", "there is no model.weight_decay; expected a number, 0 or more"),
        ("~label._target_", "label={'horizon': '15min', 'neutral': 0.2}; expected a _target_"),
        ("~split._target_", "expected a _target_ and its options"),
        ("~trainer._target_", "expected a _target_ and its options"),
        ("label._target_=text", "Error locating target 'text'; full_key: "),
        (
            "label._target_=gafcnn.data.splits.Chronological",
            "expected the options that this _target_",
        ),
        ("split._target_=types.SimpleNamespace", "makes a SimpleNamespace; expected a Splitter"),
        ("label.horizon=17", "label.horizon is 17; expected a length of time"),
        ("label.horizon=90s", "label.horizon is 90s; expected a multiple of the bars'"),
        ("model.network=text", "model.network=text; expected the options of its file"),
        ("images.fields=5", "the fields are 5; expected a list of open, high"),
        ("images.kinds=7", "the image kinds are 7; expected a list of gasf"),
        ("+model.network.new=nan", "model.network.new=nan; expected a finite number"),
        ("images.range=true", "the image range is True; expected [-1, 1]"),
        ("+images.new=1", "images does not take its options"),
        ("+window.new=1", "window does not take its options"),
        ("callbacks.last.filename=[]", "callbacks.last.filename=[]; expected last"),
        ("callbacks.best.monitor=nan", "callbacks.best.monitor=nan; expected train/loss or"),
        ("callbacks.best.mode=-1", "callbacks.best.mode=-1; expected min or max"),
        ("callbacks.best.save_on_train_epoch_end=[1]", "save_on_train_epoch_end=[1]; expected"),
        ("logger.csv.name=../x", "logger.csv.name=../x; expected letters"),
        ("model.lr=99999999999999999999", "model.lr=99999999999999999999; expected a number above"),
        ("market.interval=0.5", "market.interval=0.5; expected a length of time"),
        ("callbacks.progress=5", "callbacks.progress=5; expected a _target_ and its options"),
        ("logger.csv._target_=some/where.csv", "expected a _target_ and its options"),
        ("trainer.num_sanity_val_steps=[]", "num_sanity_val_steps=[]; expected a whole number"),
        ("trainer.log_every_n_steps=[{a:1}]", "log_every_n_steps=[{'a': 1}]; expected a whole"),
        ("+trainer.gradient_clip_algorithm=x", "lightning.Trainer refuses its options"),
        ("+trainer.gradient_clip_val=[1]", "`gradient_clip_val` should be an int or a float"),
        ("study='" + "x" * 300 + " '", "study=" + "x" * 60 + "...; expected letters"),
        ("model.weights='a\nb'", "model.weights=a b was asked for a SmallCNN"),
    ],
)
def test_what_no_option_can_be_is_told_by_its_key(refused: Refuse, word: str, told: str) -> None:
    assert told in refused("train", *SMALL, word)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("windows=[{a:1}]", "windows=[{'a': 1}]; expected a list of names, each once"),
        ("ensemble.methods=[[]]", "ensemble.methods=[[]]; expected a list of names, each once"),
        ("trading._target_=text", "Error locating target 'text'; full_key: "),
        ("trading._target_=gafcnn.trading.Rule", "Error locating target 'gafcnn.trading.Rule'"),
        ("~trading._target_", "expected a _target_ and its options"),
        ("baseline=5", "baseline=5; expected the options of its file"),
        ("+trading.new=[1e400]", "trading.new.0=inf; expected a finite number"),
        ("paths.data=5", "paths.data=5; expected the path of a folder"),
        ("paths.outputs=5", "paths.outputs=5; expected the path of a folder"),
    ],
)
def test_what_no_option_of_an_evaluation_can_be_is_told(
    refused: Refuse, word: str, told: str
) -> None:
    assert told in refused("evaluate", *JUDGED, word)


# --- random ones ----------------------------------------------------------------------------------


def ended(command: str, words: list[str], folder: Path) -> str | None:
    """How a command ends that is typed in a folder: None where it succeeds, else its sentence.

    A warning is an error in it, as everywhere in tests.
    """
    GlobalHydra.instance().clear()
    argv, sys.argv = sys.argv, [f"{command}.py", *words]
    try:
        with contextlib.chdir(folder), warnings.catch_warnings():
            # that a log is written less often than there are steps is not what is asked here
            warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
            main(command, CONF)
    except SystemExit as end:
        return str(end.code)
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
    return None


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written where HOME is named is written into the test's own folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bars and images of the small study."""
    folder = tmp_path_factory.mktemp("small")
    assert ended("prepare", [*SMALL], folder) is None
    return folder


@pytest.fixture(scope="module")
def study(prepared: Path) -> Path:
    """The same with the study: a window and the baseline, judged once."""
    assert ended("train", [*SMALL], prepared) is None
    assert ended("evaluate", [*JUDGED], prepared) is None
    return prepared


def wrong(cfg: DictConfig) -> st.SearchStrategy[list[str]]:
    """One or two overrides that are wrong, or odd at least."""
    key = st.sampled_from([*keys(cfg)])
    given_another = st.builds(lambda key, value: f"{key}={value}", key, st.sampled_from(ODD))
    taken_away = key.map(lambda key: f"~{key}")
    added = key.map(lambda key: f"+{key}.new=1")
    usual = [given_another] * 8
    one = st.one_of(*usual, taken_away, added)
    # receipts are trainings by the dozen
    return st.lists(one.filter(lambda word: word != "receipts=true"), min_size=1, max_size=2)


NO_RUN = shutil.ignore_patterns("outputs")


def check_ends_well(command: str, words: list[str], world: Path, tmp_path: Path) -> None:
    """Assert that a command succeeds, or ends in one sentence that is no last resort."""
    folder = tmp_path / "world"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world, folder, ignore=None if command == "evaluate" else NO_RUN)
    told = ended(command, words, folder)
    if told is not None:
        assert told.startswith("error: "), told
        assert "\n" not in told
        assert "HYDRA_FULL_ERROR" not in told


QUIET: Any = {
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "derandomize": True,
}
TRAINING, JUDGING = wrong(composed("train", *SMALL)), wrong(composed("evaluate", *JUDGED))


@settings(max_examples=10, **QUIET)
@given(words=TRAINING)
def test_wrong_options_of_a_training_end_in_a_sentence(
    prepared: Path, tmp_path: Path, words: list[str]
) -> None:
    check_ends_well("train", [*SMALL, *words], prepared, tmp_path)


@pytest.mark.slow
@settings(max_examples=400, **QUIET)
@given(words=TRAINING)
def test_many_wrong_options_of_a_training_end_in_a_sentence(
    prepared: Path, tmp_path: Path, words: list[str]
) -> None:
    check_ends_well("train", [*SMALL, *words], prepared, tmp_path)


@pytest.mark.slow
@settings(max_examples=150, **QUIET)
@given(words=JUDGING)
def test_many_wrong_options_of_an_evaluation_end_in_a_sentence(
    study: Path, tmp_path: Path, words: list[str]
) -> None:
    check_ends_well("evaluate", [*JUDGED, *words], study, tmp_path)
