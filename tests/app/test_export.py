"""Exports: other programs compute the same numbers from the files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
import xgboost
from safetensors.torch import load_file
from scipy.special import expit, logit

import gafcnn as gc
from gafcnn.app.run_folder import hold
from gafcnn.atomic_io import checksum, read_sealed
from gafcnn.data.bars import fingerprint
from gafcnn.data.indicators import indicators
from gafcnn.data.windows import WindowReader
from gafcnn.errors import RunError

Run = Callable[..., str]

FILES = {
    *("15m.onnx", "30m.onnx", "15m.safetensors", "30m.safetensors", "xgboost.json"),
    *("ensembles.json", "model_card.md"),
}


@pytest.fixture(scope="module")
def folder(live: Path) -> Path:
    return live / "outputs" / "tiny"


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return gc.simulate(3 * 1440)[0]


@pytest.fixture(scope="module")
def metadata(folder: Path) -> dict[str, Any]:
    found = read_sealed(folder / "export" / "metadata.json")
    assert found is not None
    return found


def test_networks_are_those_of_the_runs(folder: Path, bars: pd.DataFrame) -> None:
    for name in ("15m", "30m"):
        run = gc.load_run(folder / name)
        table = run.predictions[run.predictions["split"] == "test"]
        spec = run.settings.images.spec
        rows = bars.index.get_indexer(pd.DatetimeIndex(table["time"]))
        images = spec.shown(WindowReader(bars, run.settings.window, spec.fields)(rows))
        session = onnxruntime.InferenceSession(folder / "export" / f"{name}.onnx")
        for n in (1, 3, len(table)):
            [p] = session.run(["p_up"], {"images": images[:n]})
            np.testing.assert_allclose(p, table["p_up"].iloc[:n], atol=1e-5)
        model = run.model()
        assert isinstance(model, gc.GafClassifier)
        weights = load_file(folder / "export" / f"{name}.safetensors")
        state = model.module_.network.state_dict()
        assert set(weights) == set(state)
        assert all(torch.equal(weights[key], value) for key, value in state.items())


def test_trees_are_those_of_the_run(
    folder: Path, bars: pd.DataFrame, metadata: dict[str, Any]
) -> None:
    table = gc.load_run(folder / "xgboost").predictions
    booster = xgboost.Booster(model_file=folder / "export" / "xgboost.json")
    features = metadata["trees"]["xgboost"]["features"]
    rows = indicators(bars).loc[table["time"], features]
    best = gc.BoostedTrees.load(folder / "export" / "xgboost.json").best_round_
    data = xgboost.DMatrix(rows.to_numpy(np.float32), feature_names=features)
    p = booster.predict(data, iteration_range=(0, best))
    np.testing.assert_allclose(p, table["p_up"], atol=1e-6)


def test_ensembles_are_computed_from_their_file(folder: Path) -> None:
    described = json.loads((folder / "export" / "ensembles.json").read_text())
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    p = table.pivot_table(index=["split", "time"], columns="window", values="p_up")

    def stacking(members: pd.DataFrame, coefficients: Any) -> Any:
        intercept, *slopes = coefficients
        return expit(intercept + logit(np.clip(members, 1e-6, 1 - 1e-6)) @ np.array(slopes))

    combine: dict[str, Callable[..., Any]] = {
        "mean": lambda members, _: members.mean(axis=1),
        "weighted": lambda members, weights: members @ np.array(weights),
        "vote": lambda members, _: (members > 0.5).mean(axis=1),
        "stacking": stacking,
    }
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    for name, one in described.items():
        threshold = metrics["models"][name]["threshold"]["value"]
        assert one["thresholds"] == {"SIMULATED": threshold}
        if one["members"]:
            found = combine[one["method"]](p[one["members"]], one["parameters"])
            np.testing.assert_allclose(found, p[name], atol=1e-9, err_msg=name)
    assert {name for name, one in described.items() if one["members"]} == {*combine, "two_stage"}
    assert described["two_stage"]["members"] == ["xgboost", "15m", "30m"]


def test_metadata_has_checksums_and_what_a_program_needs(
    folder: Path, metadata: dict[str, Any]
) -> None:
    assert set(metadata["checksums"]) == FILES
    for name, kept in metadata["checksums"].items():
        assert checksum(folder / "export" / name) == kept
    one = metadata["models"]["30m"]
    assert one["checkpoint"] == checksum(gc.load_run(folder / "30m").checkpoint)
    assert one["input"] == {"name": "images", "shape": ["batch", 2, 16, 16]}
    assert one["output"] == {"name": "p_up", "shape": ["batch"], "of": "P(up)"}
    assert one["images"]["scale"] == 1 / 127
    assert one["window"] == {"name": "30m", "points": 30, "step": "1min", "lookback": "1h"}
    assert max(one["differences"].values()) < 1e-5
    assert one["config"] == gc.load_run(folder / "30m").config


def test_the_card_has_the_facts_and_code_that_runs(folder: Path, bars: pd.DataFrame) -> None:
    card = (folder / "export" / "model_card.md").read_text()
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    for fact in (fingerprint(bars), "4,320", "15m.onnx", "30m.onnx", metrics["verdict"][0]):
        assert fact in card
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippets
    with chdir(folder / "export"):
        for snippet in snippets:
            exec(snippet, {})


def test_another_export_replaces_the_first(harmed: Path, run_in: Run) -> None:
    folder = harmed / "outputs" / "tiny"
    shutil.rmtree(folder / "evaluation")
    run_in(harmed, "export", "study=tiny", "windows=[15m]")
    names = {path.name for path in (folder / "export").iterdir() if path.name[0] != "."}
    windows = {name for name in FILES if name.startswith("30m")}
    assert names == FILES - windows | {"metadata.json"}
    found = read_sealed(folder / "export" / "metadata.json")
    assert found is not None
    assert set(found["checksums"]) == FILES - windows
    assert found["evaluation"] is None
    assert "1 exports" in run_in(harmed, "verify")


def test_an_evaluation_of_other_runs_is_left_out(harmed: Path, run_in: Run) -> None:
    path = harmed / "outputs" / "tiny" / "evaluation" / "metrics.json"
    run = gc.load_run(harmed / "outputs" / "tiny" / "15m")
    changed = dict(run.config, seed=7)
    from gafcnn.app import export as command

    study = gc.load_study(harmed / "outputs" / "tiny")
    assert command._evaluation(study) is not None
    vars(study.runs["15m"][0])["config"] = changed
    assert command._evaluation(study) is None
    path.unlink()
    assert command._evaluation(gc.load_study(harmed / "outputs" / "tiny")) is None


def test_what_cannot_be_exported_is_refused(live: Path, refused: Run) -> None:
    where = f"paths.outputs={live / 'outputs'}"
    assert refused("export", "study=nine", where)
    assert refused("export", "study=tiny", "windows=[99m]", where)
    assert refused("train", "market=simulated", "market.days=3", "window.name=export")


def test_one_process_exports_at_a_time(live: Path) -> None:
    from gafcnn.app.export import export

    with hold(live / "outputs" / "tiny" / "export"), pytest.raises(RunError):
        export({"study": "tiny", "paths": {"outputs": live / "outputs"}})
