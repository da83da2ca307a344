"""Images of other fields and kinds than usual, from the command line to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from gafcnn import load_run
from gafcnn.images import ImageSpec, open_store
from gafcnn.pipeline import future
from gafcnn.pipeline.assembly import load_market
from gafcnn.pipeline.pictures import channel_names


def test_a_run_of_three_fields_learns_from_them_and_goes_on_with_no_others(
    typed: Callable[..., str], refused: Callable[..., str], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    fields = "images.fields=[body_to_mean_range,gap_sign,close]"
    how = ("images.kinds=[gasf]", "images.range=[0,1]", "images.scaling=fixed", "window=15m")
    typed("train", *tiny, *how, fields)
    run = load_run(tmp_path / "outputs" / "tiny" / "15m")
    assert next(run.model().parameters()).shape[1] == 3

    # what a receipt encodes anew is what the network was shown
    store = open_store(tmp_path / "data" / "gaf" / "SIMULATED_15m")
    assert store.metadata["spec"]["fields"] == ["body_to_mean_range", "gap_sign", "close"]
    market = load_market(OmegaConf.create(run.config))
    some = store.times[::500]
    rows = market.bars.index.get_indexer(pd.DatetimeIndex(some).tz_localize("UTC"))
    shown = future._images(run, market, rows)
    stored = store.images[::500].astype(np.float32) * np.float32(store.scale)
    np.testing.assert_array_equal(shown, stored)

    kept = {path: path.read_bytes() for path in (tmp_path / "outputs").rglob("*.*")}
    told = refused("train", *tiny, *how, "images.fields=[body_to_mean_range,close]")
    assert "images.fields" in told
    assert "overwrite=true" in told
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize(
    ("fields", "kinds", "names"),
    [
        (["close"], ["gasf", "gadf"], ["GASF", "GADF"]),
        (["body", "gap"], ["gadf", "markov", "gasf"], ["GADF", "Markov transition field"]),
        (["body", "gap"], ["recurrence"], ["Recurrence plot", "Recurrence plot of gap"]),
        (["gap"], ["gasf"], ["GASF"]),
    ],
)
def test_pictures_name_what_they_show(
    fields: list[str], kinds: list[str], names: list[str]
) -> None:
    assert channel_names(ImageSpec(fields=fields, kinds=kinds)) == names
