"""The precision that a run is begun in is a part of it; what it is computed on is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gafcnn import load_run

Typed = Callable[..., str]

SMALL = (
    "market=simulated",
    "market.days=2",
    "model=small_cnn",
    "model.network.width=4",
    "images.size=8",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "callbacks.progress=null",
    "logger.tensorboard=null",
    "study=x",
)

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*")


def test_a_run_goes_on_in_the_precision_that_it_began_with(
    typed: Typed, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "outputs" / "x" / "15m"
    told = typed("train", *SMALL, "trainer.precision=bf16-mixed")
    assert "bf16 matrix units" in told
    assert ": bf16-mixed\n" in told
    begun = load_run(folder)
    assert begun.metrics["precision"] == begun.config["trainer"]["precision"] == "bf16-mixed"
    rows = begun.predictions
    images, times = (
        np.load(tmp_path / "data" / "gaf" / "SIMULATED_15m" / name, allow_pickle=False)
        for name in ("images.npy", "times.npy")
    )
    at = np.searchsorted(times, rows["time"].dt.tz_localize(None).to_numpy())
    with torch.no_grad():
        again = begun.model()(torch.from_numpy(images[at]).float() / 127).sigmoid()
    np.testing.assert_allclose(again.numpy(), rows["p_up"], atol=1e-6)  # of bfloat16: up to 1e-3

    # as where it was killed before its predictions: auto, which is float32 for a small_cnn on any
    # CPU, leaves it as it is
    (folder / "metrics.json").unlink()
    (folder / "predictions.parquet").unlink()
    told = typed("train", *SMALL)
    assert "going on with 15m" in told
    assert ": bf16-mixed\n" in told
    ended = load_run(folder)
    assert ended.metrics["precision"] == ended.config["trainer"]["precision"] == "bf16-mixed"
    pd.testing.assert_frame_equal(ended.predictions, begun.predictions)

    assert "is complete: nothing to do" in typed("train", *SMALL, "trainer.compile=true")
    assert "15m holds another run (trainer.precision: bf16-mixed -> 32-true)" in refused(
        "train", *SMALL, "trainer.precision=32-true"
    )

    assert ": 32-true\n" in typed("train", *SMALL, "overwrite=true")
    assert load_run(folder).config["trainer"]["precision"] == "32-true"
    assert load_run(folder).metrics["precision"] == "32-true"
