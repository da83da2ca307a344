"""conf/ and the settings classes agree; wrong options are refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from gafcnn.app.options import EvaluateOptions, TrainSettings
from gafcnn.app.runs import identity
from gafcnn.data.windows import WINDOWS
from gafcnn.errors import ConfigError
from gafcnn.models.boosted_trees import BoostedTrees
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.networks import training_defaults
from gafcnn.settings import as_plain, create

Run = Callable[..., str]

CONF = Path(__file__).parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OF_EVALUATION = ("trading", "judging", "ensemble", "costs", "portfolio")
OPTIONS = [
    (path.parent.name, path.stem)
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in ("experiment", "launcher")
]
_BY_GROUP = [
    [f"{group}={option}" for _, option in of] for group, of in groupby(OPTIONS, itemgetter(0))
]
# the first options of all groups, then the second ones, as composing takes long
TOGETHER = [tuple(filter(None, words)) for words in zip_longest(*_BY_GROUP)]


def composed(name: str, *words: str) -> dict[str, Any]:
    """The options of a command, as plain data."""
    OmegaConf.register_new_resolver("options", str, replace=True)
    OmegaConf.register_new_resolver("run", str, replace=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        options = OmegaConf.to_container(
            hydra.compose(name, [*words]), resolve=True, throw_on_missing=True
        )
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items()}


@cache
def simulated_options() -> dict[str, Any]:
    return composed("train", "market=simulated", "model=small_cnn")


def trained(*words: str) -> TrainSettings:
    return create(TrainSettings, "", composed("train", *words))


@pytest.mark.parametrize("words", TOGETHER, ids=" ".join)
def test_every_option_of_a_group_is_valid_and_stored_as_plain_data(words: tuple[str, ...]) -> None:
    of_evaluation = [word for word in words if word.startswith(OF_EVALUATION)]
    assert create(EvaluateOptions, "", composed("evaluate", *of_evaluation, "study=x"))
    given = [word for word in words if word not in of_evaluation]
    settings = trained(*given, *["market.path=bars.csv"] * ("market=file" in words))
    [*window] = [word.removeprefix("window=") for word in words if word.startswith("window=")]
    assert all(settings.window == WINDOWS[option] for option in window)
    stored = yaml.safe_dump(as_plain(settings))
    assert create(TrainSettings, "", yaml.safe_load(stored)) == settings


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_valid(name: str) -> None:
    path = ["market.path=bars.csv"] if name.startswith(("candlesticks", "cross")) else []
    settings = trained(f"experiment={name}", *path)
    assert settings.study == ("bnb" if name == "seed" else name)


def test_the_configuration_names_no_code() -> None:
    for path in CONF.rglob("*.yaml"):
        assert "_target_" not in path.read_text()


def test_the_windows_of_conf_are_those_of_the_library() -> None:
    assert {option for group, option in OPTIONS if group == "window"} == set(WINDOWS)


@pytest.mark.parametrize("name", ["resnet18", "small_cnn"])
def test_the_networks_of_conf_have_the_defaults_of_the_library(name: str) -> None:
    model, defaults = trained(f"model={name}").model, training_defaults(name)
    assert {key: getattr(model, key) for key in defaults} == defaults


def test_the_options_become_the_estimator_of_the_api() -> None:
    settings = trained("model=small_cnn", "window=30m", "seed=3", "model.lr=0.01")
    model = settings.estimator(Path("run"))
    assert isinstance(model, GafClassifier)
    params = model.get_params()
    assert params["window"] == WINDOWS["30m"]
    assert (params["lr"], params["seed"], params["max_epochs"]) == (0.01, 3, 50)
    assert params["network"]["kind"] == "small_cnn"
    assert params["folder"] == Path("run")
    trees = trained("model=xgboost").estimator()
    assert isinstance(trees, BoostedTrees)
    assert trees.get_params()["rounds"] == 3000


def test_trees_see_no_indicators_of_a_label_that_is_known_at_once() -> None:
    assert trained("model=xgboost").model.features == "indicators"
    words = ["model=xgboost", "label=candlestick", "split=tenths"]
    assert trained(*words).model.features == "window"


def test_a_run_is_where_its_options_say() -> None:
    def folder(*words: str, swept: tuple[str, ...] = ()) -> str:
        return str(replace(trained("market=simulated", *words), swept=swept).folder)

    assert folder("window=30m") == "outputs/simulated/30m/seed=0"
    assert folder("window.span=45min", "seed=2") == "outputs/simulated/45m/seed=2"
    assert folder("split=walk_forward", "split.fold=1") == "outputs/simulated/15m/seed=0/fold=1"
    assert folder("model=xgboost", swept=("model=xgboost",)) == "outputs/simulated/xgboost/seed=0"
    lr = folder("model.lr=0.1", swept=("model.lr=0.1", "model.weights=a/b"))
    assert lr == "outputs/simulated/15m/model.lr=0.1/model.weights=a_b/seed=0"
    for name in ("evaluation", "export", "ledger.jsonl"):
        with pytest.raises(ConfigError, match=name):
            folder(f"model.name={name}")


def test_options_that_a_model_does_not_read_make_no_other_run() -> None:
    def identities(*words: str) -> dict[str, Any]:
        return identity(as_plain(trained(*words)))

    assert identities("trainer.accelerator=cpu") == identities("logger=tensorboard")
    assert identities("window=15m") != identities("window=30m")
    trees = ["model=xgboost", "trainer.max_epochs=3", "images.size=8"]
    assert identities(*trees, "window=15m") == identities("model=xgboost", "window=60m")
    assert identities("model=xgboost", "window=15m") != identities("model=xgboost", "window=64x15m")
    shown = ["model=xgboost", "model.features=window"]
    assert identities(*shown, "window=15m") != identities(*shown, "window=30m")
    assert identities(*shown, "images.fields=[body]") != identities(*shown)
    assert identities(*shown, "images.size=8") == identities(*shown)


WRONG = (
    "study=2024/x", "study=true", "seed=99999999999", "seed=1.5", "market.days=0",
    "window.lookback=17", "label.horizon=17", "label.horizon=-1h", "label.neutral=1",
    "+label.new=1", "+window.new=1", "+images.new=1", "+trainer.new=1", "split.test=1.5",
    "split.stride=0", "images.range=[1,0]", "images.scaling=robust", "images.stored=perhaps",
    "model.name=../x", "model.lr=nan", "model.batch_size=1", "model.weight_decay=-1",
    "model.class_weights=some", "trainer.max_epochs=0", "trainer.devices=0",
    "trainer.strategy=fsdp", "trainer.compile=fast", "trainer.average_weights=1",
    "monitor_mode=up", "overwrite=maybe",
)  # fmt: skip


@pytest.mark.parametrize(
    ("word", "key"),
    [
        *((word, word.lstrip("+").partition("=")[0]) for word in WRONG),
        ("label.kind=nothing", "label"),
        ("model.kind=nothing", "model"),
        ("images.fields=[bodi]", "bodi"),
        ("images.kinds=[gaff]", "gaff"),
    ],
)
def test_a_wrong_option_is_named(word: str, key: str) -> None:
    options = deepcopy(simulated_options())
    name, _, value = word.removeprefix("+").partition("=")
    *sections, last = name.split(".")
    node = options
    for section in sections:
        node = node[section]
    node[last] = yaml.safe_load(value)
    with pytest.raises(ConfigError) as caught:
        _ = create(TrainSettings, "", options).folder
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("model.lr=0", "model.lr"),
        ("window.name=a/b", "letters, digits"),
        ("+label.new=1", "label.new"),
        ("objective=majority", "objective"),
        ("label.horizon=90s", "label.horizon is 90s"),  # the market's own is interpolated from it
        ("label.horizon=0min", "label.horizon is 0D"),
        ("window.span=50s", "0 points"),
        ("market.interval=15min", "window 15m has 1 point "),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_written(
    refused: Run, tmp_path: Path, word: str, key: str
) -> None:
    assert key in refused("train", "market=simulated", "market.days=1", "model=small_cnn", word)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "word",
    [
        "windows=[a,a]", "ensemble.methods=[mean,mean]", "trading.cost_bps=-1", "receipts=maybe",
        "trading.threshold=0.7", "judging.resamples=1", "receipts=1", "costs.bps=1",
    ],
)  # fmt: skip
def test_a_wrong_option_of_an_evaluation_is_named(refused: Run, word: str) -> None:
    message = refused("evaluate", "study=x", word)
    assert word.partition("=")[0].removesuffix(".bps") in message
    assert "resamples" not in word or "0, or 100 or more" in message
