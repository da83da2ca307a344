"""The predictions table: writing, reading and validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.predictions import (
    COLUMNS,
    check_predictions,
    read_predictions,
    write_predictions,
)

Make = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("fold", [None, 2])
def test_what_is_written_is_what_is_read(predictions: Make, tmp_path: Path, fold: Any) -> None:
    # the names of a run's folders must not become columns, as in a partitioned data set
    path = tmp_path / "15m" / "seed=1" / "fold=0" / "predictions.parquet"
    frame = predictions(fold=fold)
    write_predictions(path, frame.set_axis(range(100, 140)))
    pd.testing.assert_frame_equal(read_predictions(path), frame)
    assert tuple(read_predictions(path).columns) == COLUMNS
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions.parquet"]


def test_invalid_predictions_do_not_replace_valid_ones(predictions: Make, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions())
    with pytest.raises(PredictionsError, match=f"{path}: p_up"):
        write_predictions(path, predictions().assign(p_up=2.0))
    pd.testing.assert_frame_equal(read_predictions(path), predictions())


def test_damaged_files(predictions: Make, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(PredictionsError, match="no such file"):
        read_predictions(path)
    write_predictions(path, predictions(300))
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for at in range(200, len(whole) - footer, 1201):  # a bit of a page or of its header
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(PredictionsError, match="damaged"):
            read_predictions(path)
    for content in (whole[:-100], b"symbol,time\nBNBUSDT,2025-06-20\n"):
        path.write_bytes(content)
        with pytest.raises(PredictionsError, match="damaged"):
            read_predictions(path)


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column(predictions: Make, column: str) -> None:
    with pytest.raises(PredictionsError, match=f"^15m: there is no column {column};") as error:
        check_predictions(predictions().drop(columns=column), "15m")
    assert "complete_predictions" in error.value.instead


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("time", "datetime64[us, UTC]"), ("fold", "float64"), ("seed", "float64"),
        ("label", "float64"), ("forward_return", "float32"), ("p_up", "float32"),
    ],
)  # fmt: skip
def test_wrong_dtype(predictions: Make, column: str, dtype: str) -> None:
    wrong = predictions().astype({column: dtype})
    with pytest.raises(PredictionsError) as error:
        check_predictions(wrong, "15m")
    assert error.value.found == f"15m: column {column} is {dtype}"
    assert f'frame["{column}"].astype(' in error.value.instead


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("symbol", None, "symbol is missing"),
        ("time", pd.NaT, "time is missing"),
        ("split", "train", "split is unknown"),
        ("label", 2, "label is out of range"),
        ("forward_return", np.nan, "forward_return is not finite"),
        ("p_up", np.nan, "p_up is not a probability"),
        ("p_up", 1.0000001, "p_up is not a probability"),
        ("known_at", pd.Timestamp("2020-01-01", tz="UTC"), "known_at is not after"),
    ],
)
def test_invalid_values(predictions: Make, column: str, value: Any, found: str) -> None:
    frame = predictions(fold=2)
    frame.loc[[3, 5], column] = value
    with pytest.raises(PredictionsError, match="^run: ") as error:
        check_predictions(frame, "run")
    assert f"{found}" in error.value.found
    assert "in 2 of 40 rows" in error.value.found
    if column not in ("symbol", "time", "split"):
        assert "BNBUSDT 2025-06-22 00:03 UTC, fold 2, val" in error.value.found


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("label", 3, "label is out of range"),
        ("p_star", 1.5, "p_star is not a probability"),
        ("p_none", 0.9, "the probabilities of 3 classes do not sum to 1"),
        ("forward_return", np.inf, "forward_return is infinite"),
        ("known_at", pd.Timestamp("2020-01-01", tz="UTC"), "known_at is before"),
    ],
)
def test_invalid_values_of_classes(
    class_predictions: Make, column: str, value: Any, found: str
) -> None:
    frame = class_predictions()
    frame.loc[7, ["p_none", "p_star", "p_hammer"]] = [0.25, 0.25, 0.5]
    frame.loc[7, column] = value
    with pytest.raises(PredictionsError, match=f"{found}.* in 1 of 40 rows"):
        check_predictions(frame, "15m")


def test_a_decision_time_is_unique_in_a_fold(predictions: Make) -> None:
    frame = predictions(fold=0)
    for split in ("val", "test"):
        twice = pd.concat([frame, frame.tail(1).assign(split=split)])
        with pytest.raises(PredictionsError, match="more than once in 2 of 41 rows"):
            check_predictions(twice, "15m")
    folds = pd.concat([frame, frame.assign(fold=pd.array([1] * 40, dtype="Int64"))])
    windows = pd.concat([predictions(window="15m"), predictions(window="30m")])
    for valid in (folds, windows, frame.sample(frac=1, random_state=0)):
        assert check_predictions(valid, "15m") is valid
