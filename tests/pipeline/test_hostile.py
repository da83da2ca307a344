"""What a run's folder holds is data, wherever it came from: none of it is ever run."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.factory import made, plain
from gafcnn.app.runs import finish, load_run
from gafcnn.app.train import train
from gafcnn.app.trust import check_config, check_configs, read_run_config
from gafcnn.errors import LearningError, RunError

Refuse = Callable[..., str]
Typed = Callable[..., str]

PATH = Path("outputs/x/15m/config.yaml")


class Touch:
    """What would make a file, were it unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture(scope="module")
def config(root: Path, tiny: tuple[str, ...]) -> dict[str, Any]:
    """What train.py writes as the config of a run."""
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        return plain(hydra.compose("train", [*tiny, "callbacks=averaged"]))


def with_value(config: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The config with another value at a key, of which it may lack all but the first name."""
    first, _, rest = key.partition(".")
    if not rest:
        return config | {first: value}
    node = config.get(first)
    return config | {first: with_value(node if isinstance(node, dict) else {}, rest, value)}


def written(config: dict[str, Any], folder: Path) -> Path:
    """A run, finished by the look of it, of this config."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text("{}")
    return folder


def test_what_train_writes_is_trusted(root: Path, config: dict[str, Any]) -> None:
    check_config(PATH, config, [])
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        for experiment in ("candlesticks", "seed", "receipt"):
            words = [f"experiment={experiment}", "market.path=x.csv"]
            words = words if experiment == "candlesticks" else words[:1]
            more = ["split=walk_forward", "label=triple_barrier"] if experiment == "seed" else []
            composed = hydra.compose("train", [*words, *more])
            check_config(PATH, plain(composed), [])


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("label", "os.system"),
        ("label", "subprocess.run"),
        ("label", "builtins.eval"),
        ("label", "gafcnn.samples.os.system"),
        ("label", "gafcnn.data.labels.np.load"),
        ("label", "gafcnn.data.labels.np"),
        ("label", "gafcnn.data.labels.duration"),
        ("label", "gafcnn.samples.nothing"),
        ("label", "gafcnn.data.labels.Direction.make"),
        ("label", "gafcnn.samples"),
        ("label", "gafcnn.samples_of_another.Label"),
        ("label", "gafcnn.data.sources.from_file"),
        ("label", "gafcnn.atomic_io.write_text"),
        ("label", ""),
        ("label", None),
        ("label", ["os.system"]),
        ("label", {"_target_": "os.system"}),
        ("label.horizon", "os.system"),
        ("split.embargo", "os.system"),
        ("split.embargo", "gafcnn.data.sources.from_file"),
        ("market", "gafcnn.data.reading.pd.read_pickle"),
        ("market", "pandas.read_pickle"),
        ("augmentation", "os.system"),
        ("callbacks.mine", "os.system"),
        ("callbacks.best", "lightning.pytorch.loggers.CSVLogger"),
        ("logger.csv", "lightning.pytorch.loggers.os.system"),
        ("trainer", "lightning.pytorch.Trainer"),
        ("trainer", "lightning.seed_everything"),
        ("trainer.logger", "os.system"),
        ("model.network", "gafcnn.models.module.GafModule"),
        ("window", "gafcnn.data.windows.Window"),
        ("anything", "os.system"),
    ],
)
def test_a_target_of_no_such_room_is_refused(
    config: dict[str, Any], key: str, target: object
) -> None:
    other = with_value(config, f"{key}._target_", target)
    with pytest.raises(RunError) as caught:
        check_config(PATH, other, [])
    told = str(caught.value)
    assert told.startswith(f"{PATH} names {target} as {key}._target_, which would be run; expected")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label._partial_", True),
        ("label._args_", ["x"]),
        ("split._recursive_", False),
        ("market.symbol", "${oc.env:HOME}"),
        ("market.symbol", ["a", "${nothing}"]),
        ("label.${oc.env:HOME}", 1),
    ],
)
def test_what_hydra_would_read_into_a_config_is_refused(
    config: dict[str, Any], key: str, value: object
) -> None:
    with pytest.raises(RunError, match=r"15m/config\.yaml holds .*; expected"):
        check_config(PATH, with_value(config, key, value), [])


def test_a_list_hides_no_target(config: dict[str, Any]) -> None:
    hidden = with_value(config, "label.horizon", [[{"_target_": "os.system"}]])
    with pytest.raises(RunError, match=r"names os\.system as label\.horizon\.0\.0\._target_"):
        check_config(PATH, hidden, [])


def test_a_package_that_is_trusted_may_be_named_and_no_other(config: dict[str, Any]) -> None:
    own = with_value(config, "label._target_", "mylabels.of_gaps.Gap")
    with pytest.raises(RunError, match=r"if that code is your own, add trust=\[mylabels\]"):
        check_config(PATH, own, [])
    check_config(PATH, own, ["mylabels"])
    check_config(PATH, own, ["mylabels.of_gaps"])
    for trust in (["mylabel"], ["other"]):
        with pytest.raises(RunError, match="names mylabels"):
            check_config(PATH, own, trust)


@pytest.mark.parametrize("value", [["this"], ["own", "this"], [5], [["own"]], "own", 5, {"own": 1}])
def test_a_config_imports_nothing_that_is_not_trusted(
    config: dict[str, Any], tmp_path: Path, value: object
) -> None:
    written(with_value(config, "imports", value), tmp_path / "15m")
    with pytest.raises(RunError, match="imports"):
        check_configs(tmp_path, ["own"])
    assert "this" not in sys.modules


TOUCHES: dict[str, Any] = {
    "_target_": "pathlib.Path.touch",
    "_args_": [{"_target_": "pathlib.Path", "_args_": ["ran"]}],
}


@pytest.mark.parametrize(
    ("section", "node"),
    [
        ("label", TOUCHES),
        ("market", TOUCHES),
        ("split", TOUCHES),
        ("label", {"_target_": "os.system", "command": "touch ran"}),
        ("market", {"_target_": "subprocess.run", "args": ["touch", "ran"]}),
        ("split", {"_target_": "builtins.eval", "_args_": ["open('ran', 'w')"]}),
    ],
)
def test_evaluation_runs_nothing_that_a_run_names(
    refused: Refuse, tmp_path: Path, config: dict[str, Any], section: str, node: dict[str, Any]
) -> None:
    written(config | {section: node, "bars": "x"}, tmp_path / "outputs" / "x" / "15m")
    told = refused("evaluate", "study=x")
    target = node["_target_"]
    assert f"names {target} as {section}._target_, which would be run" in told
    assert f"add trust=[{target.partition('.')[0]}]." in told
    assert not (tmp_path / "ran").exists()


def test_what_is_refused_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(OmegaConf.create(TOUCHES))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("!!python/object/apply:os.system ['touch ran']", "cannot be read (could not determine a"),
        ("label: !!python/name:os.system", "cannot be read (could not determine a constructor"),
        ("a: &a [x]\nb: *a", "cannot be read (it has an alias)"),
        ("a: !!pairs [b: {_target_: os.system}]", "cannot be read (it holds a tuple)"),
        ("a: !!omap [b: {_target_: os.system}]", "cannot be read (it holds a tuple)"),
        ("a: !!set {b, c}", "cannot be read (it holds a set)"),
        ("a: !!binary aGk=", "cannot be read (it holds a bytes)"),
        ("a: 2024-01-01", "cannot be read (it holds a date)"),
        ("1: 2", "cannot be read (it has the key 1)"),
        ("a: [", "cannot be read (expected the node content"),
        ("[" * 2000, "cannot be read (maximum recursion depth"),
        ("a: \0", "cannot be read (unacceptable character"),
        ("", "cannot be read (it holds no keys)"),
        ("market: 5", "has no section market"),
        ("- 1", "cannot be read (it holds no keys)"),
    ],
)
def test_a_config_that_is_none_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(content)
    with pytest.raises(RunError) as caught:
        read_run_config(Path("config.yaml"))
    assert str(caught.value).startswith(f"config.yaml {told}")
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


def test_a_config_of_other_bytes_than_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RunError, match=r"config\.yaml cannot be read"):
        read_run_config(tmp_path / "config.yaml")


def checkpoint_that_runs(path: Path, how: str, touched: Path) -> None:
    """In place of a checkpoint, what would make a file."""
    evil = {"state_dict": {}, "hyper_parameters": {}, "x": Touch(touched)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil, protocol=2))  # torch.save's own
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how == "zip")


HOW = pytest.mark.parametrize("how", ["pickle", "zip", "legacy"])


def once(root: Path, tiny: tuple[str, ...], folder: Path) -> DictConfig:
    """The tiny network and an epoch, in a folder."""
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        paths = [f"paths.data={folder}/data", f"paths.outputs={folder}/outputs"]
        return hydra.compose("train", [*tiny, *ONCE, *paths])


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    """A folder in which the tiny network was trained for an epoch."""
    folder = tmp_path_factory.mktemp("trained")
    train(once(root, tiny, folder), folder / RUN)
    return folder


RUN = "outputs/tiny/15m"
ONCE = ("market.days=1", "trainer.max_epochs=1", "callbacks.progress=null")


@HOW
def test_a_checkpoint_that_would_run_code_is_refused(
    trained: Path, tmp_path: Path, how: str
) -> None:
    run = shutil.copytree(trained / RUN, tmp_path / "15m")
    assert load_run(run).model()
    checkpoint_that_runs(run / "checkpoints" / "best.ckpt", how, tmp_path / "ran")
    with pytest.raises(RunError, match=r"best\.ckpt is not as it was written"):
        load_run(run).model()
    finish(run, {})  # as whoever made the folder could
    with pytest.raises(LearningError, match=r"best\.ckpt cannot be read \(it holds code"):
        load_run(run).model()
    assert not (tmp_path / "ran").exists()


@HOW
def test_a_training_that_goes_on_runs_nothing_that_a_checkpoint_says(
    root: Path,
    trained: Path,
    tiny: tuple[str, ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    run = tmp_path / RUN
    for name in ("metrics.json", "checkpoints/best.ckpt"):
        (run / name).unlink()
    checkpoint_that_runs(run / "checkpoints" / "last.ckpt", how, tmp_path / "ran")
    train(once(root, tiny, tmp_path), tmp_path / RUN)
    assert "last.ckpt cannot be read (it holds code, or is damaged)" in caplog.text
    assert load_run(run).model()
    assert not (tmp_path / "ran").exists()


@HOW
def test_weights_that_would_run_code_are_refused(
    refused: Refuse, tiny: tuple[str, ...], tmp_path: Path, how: str
) -> None:
    checkpoint_that_runs(tmp_path / "own.pth", how, tmp_path / "ran")
    words = [word for word in tiny if not word.startswith("model.network")]
    told = refused("train", *words, "model=resnet18", "images.size=32", "model.weights=own.pth")
    assert "own.pth cannot be read (it holds code, or is damaged); expected tensors" in told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["images.npy", "times.npy"])
def test_no_store_is_unpickled(
    typed: Typed, trained: Path, tiny: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    shutil.copytree(trained / "data", tmp_path / "data")
    store = tmp_path / "data" / "gaf" / "SIMULATED_15m"
    whole = (store / name).read_bytes()
    np.save(store / name, np.array([Touch(tmp_path / "ran")], dtype=object), allow_pickle=True)
    typed("prepare", *tiny, *ONCE)
    assert (store / name).read_bytes() == whole  # written anew
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "trees", [b"", b"{}", b"[1]", b'{"learner": 1}', b"\x80\x04.", b"nonsense", b'{"a": "\0"}']
)
def test_trees_of_nonsense_are_refused(
    config: dict[str, Any], tmp_path: Path, trees: bytes
) -> None:
    run = written(config | {"model": {"trees": {}}}, tmp_path / "xgboost")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "trees.json").write_bytes(trees)
    (run / "predictions.parquet").write_bytes(b"")
    finish(run, {})
    with pytest.raises(LearningError, match=r"trees\.json cannot be read"):
        load_run(run).model()


PICKLES = (
    "pickle.load", "pickle.dump", "joblib.load", "joblib.dump", "read_pickle", "to_pickle",
    "allow_pickle=True", "weights_only=False", "unsafe_load", "full_load", " eval(", " exec(",
)  # fmt: skip


def test_nothing_is_pickled_by_the_library(root: Path) -> None:
    for path in (root / "src").rglob("*.py"):
        source = path.read_text()
        for call in PICKLES:
            assert call not in source, (path, call)
        for line in source.splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, (path, line)
            assert "np.load(" not in line or "allow_pickle=False" in line, (path, line)
