"""What `export.py` writes of a study: networks that answer as on disk, and a card that is true."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gafcnn.app.leakage_future import images_at
from safetensors.torch import load_file

from gafcnn import load_run
from gafcnn.atomic_io import checksum, read_sealed
from gafcnn.data.bars import fingerprint
from gafcnn.data.simulated import simulate
from gafcnn.data.sources import Market
from gafcnn.models.onnx_export import answers

Refuse = Callable[..., str]
Reseal = Callable[[Path], None]
Typed = Callable[..., str]

WINDOWS = ("15m", "30m", "60m")


@pytest.fixture
def folder(judged_study: Path, tmp_path: Path) -> Path:
    """A copy of the study, where commands that are typed find it."""
    shutil.copytree(judged_study / "outputs" / "tiny", tmp_path / "outputs" / "tiny")
    return tmp_path / "outputs" / "tiny"


def test_networks_weights_card_and_metadata_are_those_of_the_runs(
    folder: Path, typed: Typed
) -> None:
    printed = typed("export", "study=tiny")
    assert "outputs/tiny/export: 3 networks, within " in printed
    assert "Removed" not in printed  # what the exporter tells of its work
    export = folder / "export"
    bars, _ = simulate(3 * 1440)
    for name in WINDOWS:
        run = load_run(folder / name)
        model = (export / f"{name}.onnx").read_bytes()
        table = run.predictions.query("split == 'test'")
        images = images_at(run, Market("SIMULATED", bars), bars.index.get_indexer(table["time"]))
        for n in (1, 3, 64):
            expected = table["p_up"].iloc[:n]
            np.testing.assert_allclose(answers(model, images[:n]), expected, atol=1e-5)
        state = run.model().network.state_dict()
        weights = load_file(export / f"{name}.safetensors")
        assert set(weights) == set(state)
        assert all(torch.equal(weights[key], value) for key, value in state.items())
    card = (export / "model_card.md").read_text()
    judged = json.loads((folder / "evaluation" / "metrics.json").read_text())
    for told in (
        fingerprint(bars), "4,320", "2024-01-01 00:01", "`60m.onnx`", "1,009", "horizon: 15min",
        "Channels: gasf of close, gadf of close", "15 points, 1min apart", "after 1 look at them",
        "## Intended use, and limits", f"> {judged['verdict'][0]}",
    ):  # fmt: skip
        assert told in card, told
    [snippet] = re.findall(r"\n\n```python\n(.*?)```\n\n", card, re.DOTALL)
    with chdir(export):
        made: dict[str, Any] = {}
        exec(snippet, made)
    assert made["answer"].shape == (1,)
    auc = load_run(folder / "30m").metrics["val"]["labelled"]["auc"]
    assert f"{auc:.4f}" in card
    _check_metadata(folder)


def _check_metadata(folder: Path) -> None:
    """They tell programs the same, and seal it."""
    export = folder / "export"
    metadata = read_sealed(export / "metadata.json")
    assert metadata is not None
    assert set(metadata["checksums"]) == {
        *(f"{name}.{kind}" for name in WINDOWS for kind in ("onnx", "safetensors")),
        "model_card.md",
    }
    for name, kept in metadata["checksums"].items():
        assert checksum(export / name) == kept
    one = metadata["models"]["30m"]
    assert one["input"] == {"name": "images", "shape": ["batch", 2, 16, 16]}
    assert one["output"] == {"name": "p_up", "shape": ["batch"], "of": "P(up)"}
    assert one["images"]["scale"] == 1 / 127
    assert one["window"] == {"name": "30m", "points": 30, "step": "1min", "lookback": "1h"}
    assert set(one["differences"]) == {"one image", "random images", "images of SIMULATED"}
    assert max(one["differences"].values()) < 1e-5
    assert one["config"] == load_run(folder / "30m").config


@pytest.mark.slow
def test_a_second_export_leaves_nothing_of_the_first(
    folder: Path, typed: Typed, reseal: Reseal
) -> None:
    typed("export", "study=tiny", "windows=[60m]")
    shutil.copytree(folder / "15m", folder / "15m" / "seed=1")
    config = folder / "15m" / "seed=1" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1", 1))
    reseal(folder / "15m" / "seed=1")
    shutil.rmtree(folder / "evaluation")
    typed("export", "study=tiny", "windows=[15m]")
    names = {path.name for path in (folder / "export").iterdir() if not path.name.startswith(".")}
    assert names == {
        "15m.onnx", "15m.safetensors", "15m_seed=1.onnx", "15m_seed=1.safetensors",
        "model_card.md", "metadata.json",
    }  # fmt: skip
    card = (folder / "export" / "model_card.md").read_text()
    assert "Of the test rows nothing is known" in card
    # an export is no run and no evaluation, and is not in their way
    assert "runs 5" in typed("verify")


def test_what_cannot_be_exported_is_told(folder: Path, refused: Refuse) -> None:
    assert "there is no study nine in " in refused("export", "study=nine")
    assert "study tiny has no run for window 99m" in refused(
        "export", "study=tiny", "windows=[99m]"
    )
    for name in WINDOWS:
        shutil.rmtree(folder / name)
    assert refused("export", "study=tiny") == (
        "error: study tiny has trees alone, which XGBoost reads as they lie in their run; expected "
        "a finished run of a window; train one with python train.py window=30m study=tiny."
    )


def test_a_model_may_not_be_called_as_the_folder_is(refused: Refuse) -> None:
    words = ("market=simulated", "market.days=3", "window.name=export")
    assert "a model called export; expected a name" in refused("train", *words)


def test_an_evaluation_of_other_runs_is_no_part_of_the_card(
    folder: Path, typed: Typed, refused: Refuse, reseal: Reseal
) -> None:
    config = folder / "15m" / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.002"))
    reseal(folder / "15m")
    assert "evaluation judged another 15m: the card says" in typed(
        "export", "study=tiny", "windows=[15m]"
    )
    assert "after 1 look at them" not in (folder / "export" / "model_card.md").read_text()
    # and what was exported is verified as everything else
    assert "exports 1" in typed("verify")
    network = folder / "export" / "15m.onnx"
    network.write_bytes(network.read_bytes() + b"x")
    assert refused("verify").startswith("error: 1 of ")
