"""Bars stored by the day."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS
from gafcnn.data.exchange import DAY, damaged_parts, held, keep, utc_time

MIDNIGHT = utc_time("2025-05-08")
HOUR = timedelta(hours=1)


def _bars(hours: int = 24, start: pd.Timestamp = MIDNIGHT) -> pd.DataFrame:
    closes = pd.date_range(start + HOUR, periods=hours, freq=HOUR, name="close_time", unit="ns")
    prices = 600 + np.random.default_rng(0).normal(size=(hours, len(COLUMNS)))
    return pd.DataFrame(prices, columns=list(COLUMNS), index=closes)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a whole day."""
    place = tmp_path_factory.mktemp("parts")
    keep(place, _bars(), MIDNIGHT, MIDNIGHT + DAY)
    return place / "2025-05-08.parquet"


def test_day_is_read_unchanged(part: Path) -> None:
    bars, missing = held(part.parent, MIDNIGHT, MIDNIGHT + DAY)
    assert_frame_equal(bars, _bars(), check_exact=True, check_freq=False)
    assert missing == damaged_parts(part.parent) == []


def test_outage_is_a_day_without_bars(tmp_path: Path) -> None:
    keep(tmp_path, _bars()[:0], MIDNIGHT, MIDNIGHT + DAY)
    bars, missing = held(tmp_path, MIDNIGHT, MIDNIGHT + DAY)
    assert bars.empty
    assert missing == damaged_parts(tmp_path) == []


@given(place=st.floats(0, 1, exclude_max=True), flips=st.integers(1, 255))
def test_changed_byte_is_detected(part: Path, place: float, flips: int) -> None:
    whole = part.read_bytes()
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= flips
    try:
        part.write_bytes(changed)
        bars, missing = held(part.parent, MIDNIGHT, MIDNIGHT + DAY)
        damaged = damaged_parts(part.parent)
    finally:
        part.write_bytes(whole)
    if not damaged:
        assert_frame_equal(bars, _bars(), check_exact=True, check_freq=False)
    else:
        assert (damaged, missing) == ([part], [(MIDNIGHT, MIDNIGHT + DAY)])
        assert bars.empty


def test_parts_of_a_day_become_one_file(tmp_path: Path) -> None:
    morning, evening = MIDNIGHT + 10 * HOUR, MIDNIGHT + 20 * HOUR
    keep(tmp_path, _bars()[:10], MIDNIGHT, morning)
    keep(tmp_path, _bars()[10:20], morning, evening)
    assert [path.name for path in tmp_path.iterdir()] == ["2025-05-08.until-200000.parquet"]
    bars, missing = held(tmp_path, MIDNIGHT + 2 * HOUR, MIDNIGHT + DAY)
    assert_frame_equal(bars, _bars()[2:20], check_freq=False)
    assert missing == [(evening, MIDNIGHT + DAY)]
