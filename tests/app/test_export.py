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
from gafcnn.atomic_io import checksum, read_sealed
from gafcnn.data.indicators import indicators
from gafcnn.data.windows import WindowReader
from gafcnn.evaluation.ensembles import ENSEMBLES, Ensemble

Run = Callable[..., str]


@pytest.fixture(scope="module")
def folder(live: Path) -> Path:
    return live / "outputs" / "tiny"


def metadata_of(folder: Path) -> dict[str, Any]:
    found = read_sealed(folder / "export" / "metadata.json")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["15m", "30m"])
def test_networks_are_those_of_the_runs(folder: Path, bars: pd.DataFrame, name: str) -> None:
    run = gc.load_run(folder / name)
    table, spec = run.predictions, run.settings.images.spec
    rows = bars.index.get_indexer(pd.DatetimeIndex(table["time"]))
    images = spec.shown(WindowReader(bars, run.settings.window, spec.fields)(rows))
    session = onnxruntime.InferenceSession(folder / "export" / f"{name}.onnx")
    for n in (1, 3, len(table)):
        [p] = session.run(["p_up"], {"images": images[:n]})
        np.testing.assert_allclose(p, table["p_up"].iloc[:n], atol=1e-5)
    model: Any = run.model()
    weights = load_file(folder / "export" / f"{name}.safetensors")
    state = model.module_.network.state_dict()
    assert set(weights) == set(state)
    assert all(torch.equal(weights[key], value) for key, value in state.items())


def test_trees_are_those_of_the_run(folder: Path, bars: pd.DataFrame) -> None:
    table = gc.load_run(folder / "xgboost").predictions
    path = folder / "export" / "xgboost.json"
    features = metadata_of(folder)["trees"]["xgboost"]["features"]
    rows = indicators(bars).loc[table["time"], features].to_numpy(np.float32)
    data = xgboost.DMatrix(rows, feature_names=features)
    best = gc.BoostedTrees.load(path).best_round_
    p = xgboost.Booster(model_file=path).predict(data, iteration_range=(0, best))
    np.testing.assert_allclose(p, table["p_up"], atol=1e-6)


def test_ensembles_are_computed_from_their_file(folder: Path) -> None:
    described = json.loads((folder / "export" / "ensembles.json").read_text())
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    p = table.pivot_table(index=["split", "time"], columns="window", values="p_up")
    combine: dict[str, Callable[..., Any]] = {
        "mean": lambda members, _: members.mean(axis=1),
        "weighted": lambda members, weights: members @ np.array(weights),
        "vote": lambda members, _: (members > 0.5).mean(axis=1),
        "stacking": lambda members, fitted: expit(
            fitted[0] + logit(members) @ np.array(fitted[1:])
        ),
    }
    for name, one in described.items():
        threshold = metrics["models"][name]["threshold"]["value"]
        assert one["thresholds"] == {"SIMULATED": threshold}
        if one["members"]:
            found = combine[one["method"]](p[one["members"]], one["parameters"])
            np.testing.assert_allclose(found, p[name], atol=1e-9, err_msg=name)
    assert {name for name, one in described.items() if one["members"]} == {*combine, "two_stage"}
    assert described["two_stage"]["members"] == ["xgboost", "15m", "30m"]


def test_metadata_has_checksums_and_what_a_program_needs(folder: Path) -> None:
    metadata = metadata_of(folder)
    assert len(metadata["checksums"]) == 7
    for name, kept in metadata["checksums"].items():
        assert checksum(folder / "export" / name) == kept
    found, run = metadata["models"]["30m"], gc.load_run(folder / "30m")
    assert found["checkpoint"] == checksum(run.checkpoint)
    assert found["config"] == run.config
    assert found["input"] == {"name": "images", "shape": ["batch", 2, 16, 16]}
    assert found["images"]["scale"] == 1 / 127
    assert found["window"] == {"name": "30m", "points": 30, "step": "1min", "lookback": "1h"}
    assert max(found["differences"].values()) < 1e-5


def test_the_code_of_the_card_runs(folder: Path) -> None:
    card = (folder / "export" / "model_card.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    with chdir(folder / "export"):
        exec(code, {})


def test_another_export_replaces_the_first(harmed: Path, run_in: Run) -> None:
    folder = harmed / "outputs" / "tiny"
    shutil.rmtree(folder / "evaluation")
    run_in(harmed, "export", "study=tiny", "windows=[15m]")
    assert not [*(folder / "export").glob("30m.*")]
    found = metadata_of(folder)
    assert (list(found["models"]), found["evaluation"]) == (["15m"], None)


def test_parameters_that_are_no_json_are_refused(
    harmed: Path, refused: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Ensemble(lambda p, _: p.mean(axis=1), lambda *_: object())
    monkeypatch.setitem(ENSEMBLES, "weighted", own)
    before = metadata_of(harmed / "outputs" / "tiny")
    assert "the ensemble weighted" in refused("export", "study=tiny")
    assert metadata_of(harmed / "outputs" / "tiny") == before
