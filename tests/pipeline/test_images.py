"""Images of other fields and kinds than usual, from the command line to the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gafcnn.app.checks import check
from gafcnn.app.factory import load_images, load_markets, load_spec
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gafcnn import load_run
from gafcnn.app import leakage_future as future
from gafcnn.app.pictures import channel_names
from gafcnn.app.runs import differences
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import open_store


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
    [market] = load_markets(OmegaConf.create(run.config))
    some = store.times[::500]
    rows = market.bars.index.get_indexer(pd.DatetimeIndex(some).tz_localize("UTC"))
    shown = future.images_at(run, market, rows)
    stored = store.images[::500].astype(np.float32) * np.float32(store.scale)
    np.testing.assert_array_equal(shown, stored)

    kept = {path: path.read_bytes() for path in (tmp_path / "outputs").rglob("*.*")}
    told = refused("train", *tiny, *how, "images.fields=[body_to_mean_range,close]")
    assert "images.fields" in told
    assert "overwrite=true" in told
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.slow
def test_a_run_on_the_fly_is_the_same_as_one_of_stored_images(
    typed: Callable[..., str], refused: Callable[..., str], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    words = [*tiny, "window=15m", "split.stride=3", "images.fields=[close,body]"]
    typed("train", *words)
    made = [*words, "images=on_the_fly", "study=fly"]
    assert "the series of 4,261 images of 15m are in data/series/SIMULATED_15m" in typed(
        "prepare", *made
    )
    shutil.rmtree(tmp_path / "data" / "gaf")
    assert "training 15m on " in typed("train", *made)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["bars", "series"]

    one, other = (load_run(tmp_path / "outputs" / study / "15m") for study in ("tiny", "fly"))
    pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)
    assert differences(one.config, other.config) == ["images.stored: True -> False"]

    # what a receipt encodes anew is what the network was shown
    config = OmegaConf.create(other.config)
    [market] = load_markets(config)
    source = load_images(config, [market])
    positions = np.arange(0, len(source.times), 500)
    at = pd.DatetimeIndex(source.times[positions]).tz_localize("UTC")
    shown = future.images_at(other, market, market.bars.index.get_indexer(at))
    sent = torch.from_numpy(source.sent(source.read(positions)))
    np.testing.assert_array_equal(shown, source.to_images(sent))

    typed("evaluate", "study=fly", "judging.resamples=0")
    page = (tmp_path / "outputs" / "fly" / "evaluation" / "report.html").read_text()
    assert '<section id="samples">' in page

    # killed before its predictions, it goes on; the same name is not taken for a stored run
    (other.folder / "metrics.json").unlink()
    (other.folder / "predictions.parquet").unlink()
    assert "going on with 15m" in typed("train", *made)
    pd.testing.assert_frame_equal(load_run(other.folder).predictions, one.predictions)
    told = refused("train", *made, "images.stored=true")
    assert "images.stored: False -> True" in told


def test_a_run_that_is_older_than_the_option_is_of_stored_images(
    tiny: tuple[str, ...], root: Path
) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", [*tiny])
    known = load_spec(cfg)
    del cfg.images.stored
    check(cfg)
    assert load_spec(cfg) == known


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
