"""The table of predictions: what is written is what is read, and nothing else passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.predictions import (
    COLUMNS,
    check_predictions,
    read_predictions,
    write_predictions,
)

Make = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("fold", [None, 2])
def test_what_is_written_is_what_is_read(
    predictions: Make, tmp_path: Path, fold: int | None
) -> None:
    # a run's folder is named like the columns of a partitioned data set, and must not become one
    path = tmp_path / "15m" / "seed=1" / "fold=0" / "predictions.parquet"
    frame = predictions(fold=fold)
    write_predictions(path, frame)
    pd.testing.assert_frame_equal(read_predictions(path), frame)
    assert tuple(read_predictions(path).columns) == COLUMNS
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions.parquet"]


def test_rows_are_written_without_what_they_were_called(predictions: Make, tmp_path: Path) -> None:
    frame = predictions()
    path = tmp_path / "predictions.parquet"
    write_predictions(path, frame.set_axis(range(100, 140)))
    assert list(pd.read_parquet(path).index) == [*range(40)]


def test_what_is_written_has_a_checksum_of_every_page(predictions: Make, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions(300))
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    spoilt = 0
    for at in range(200, len(whole) - footer, 397):  # pages, whose headers some of them are
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(PredictionsError, match="the file is damaged"):
            read_predictions(path)
        spoilt += 1
    assert spoilt > 10


def test_bad_predictions_leave_the_good_ones_on_disk(predictions: Make, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions())
    before = path.read_bytes()
    with pytest.raises(PredictionsError) as error:
        write_predictions(path, predictions().assign(p_up=np.nan))
    assert error.value.found.startswith(f"predictions for {path}: p_up is not a probability")
    assert path.read_bytes() == before


def test_a_table_that_is_whole_and_wrong_is_told_by_its_file(
    predictions: Make, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.parquet"
    predictions().assign(p_up=2.0).to_parquet(path, index=False, write_page_checksum=True)
    with pytest.raises(PredictionsError) as error:
        read_predictions(path)
    assert error.value.found.startswith(f"{path}: p_up is not a probability in 40 of 40 rows")


def test_a_missing_file_is_said_with_the_way_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError) as error:
        read_predictions(tmp_path / "15m.parquet")
    assert str(error.value) == (
        f"{tmp_path / '15m.parquet'}: there is no such file; expected the predictions of a "
        "finished run; train that run with `python train.py`."
    )


@pytest.fixture(scope="session")
def whole(predictions: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "predictions.parquet"
    write_predictions(path, predictions(300))
    return path


@given(share=st.floats(0.0, 0.999))
def test_a_file_cut_anywhere_is_refused(whole: Path, share: float) -> None:
    content = whole.read_bytes()
    cut = whole.with_name("cut.parquet")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PredictionsError, match=r"cut\.parquet: the file is damaged"):
        read_predictions(cut)


def test_a_probability_altered_on_disk_is_refused(whole: Path, predictions: Make) -> None:
    # plain float64 bytes of a probability, as they stand in an uncompressed page
    frame = predictions(300)
    path = whole.with_name("plain.parquet")
    frame.to_parquet(
        path, index=False, write_page_checksum=True, compression=None, use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    at = content.index(frame["p_up"].to_numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(PredictionsError, match="damaged"):
        read_predictions(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_text("symbol,time\nBNBUSDT,2025-06-20\n")
    with pytest.raises(PredictionsError, match="expected a whole parquet file"):
        read_predictions(path)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_is_needed(predictions: Make, column: str) -> None:
    with pytest.raises(PredictionsError, match=f"^15m: there is no column {column}; expected the"):
        check_predictions(predictions().drop(columns=column), "15m")


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("symbol", "int64"),
        ("time", "datetime64[us, UTC]"),
        ("fold", "float64"),
        ("seed", "float64"),
        ("label", "float64"),
        ("forward_return", "float32"),
        ("known_at", "datetime64[ms, UTC]"),
        ("p_up", "float32"),
    ],
)
def test_each_dtype_is_needed(predictions: Make, column: str, dtype: str) -> None:
    frame = predictions()
    wrong = frame.assign(**{column: 0 if column == "symbol" else frame[column].astype(dtype)})
    with pytest.raises(PredictionsError) as error:
        check_predictions(wrong, "15m")
    assert str(error.value).startswith(f"15m: column {column} is {dtype}; expected ")
    assert f'frame["{column}"].astype(' in error.value.instead


def test_times_without_a_timezone_are_refused(predictions: Make) -> None:
    naive = predictions()["time"].dt.tz_localize(None)
    with pytest.raises(PredictionsError, match=r"column time is datetime64\[ns\]; expected dat"):
        check_predictions(predictions().assign(time=naive), "15m")


def spoil(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    spoilt = frame.copy()
    spoilt.loc[[3, 5], column] = value
    return spoilt


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("symbol", None, "symbol is missing"),
        ("time", pd.NaT, "time is missing"),
        ("window", None, "window is missing"),
        ("split", None, "split is missing"),
        ("known_at", pd.NaT, "known_at is missing"),
        ("split", "train", "split is unknown"),
        ("label", 2, "label is out of range"),
        ("label", -1, "label is out of range"),
        ("forward_return", np.nan, "forward_return is not finite"),
        ("forward_return", np.inf, "forward_return is not finite"),
        ("p_up", np.nan, "p_up is not a probability"),
        ("p_up", 1.0000001, "p_up is not a probability"),
        ("p_up", -0.1, "p_up is not a probability"),
    ],
)
def test_each_fault_is_one_sentence_with_its_count(
    predictions: Make, column: str, value: Any, found: str
) -> None:
    with pytest.raises(PredictionsError) as error:
        check_predictions(spoil(predictions(), column, value), "15m")
    assert error.value.found.startswith(f"15m: {found} in 2 of 40 rows, first ")
    assert error.value.found.endswith(f"({column} is {value})") or pd.isna(value)
    assert "\n" not in str(error.value)


def test_a_fault_is_placed_by_symbol_time_fold_and_split(predictions: Make) -> None:
    with pytest.raises(PredictionsError) as error:
        check_predictions(spoil(predictions(fold=2), "p_up", 7.0), "runs/15m.parquet")
    assert str(error.value) == (
        "runs/15m.parquet: p_up is not a probability in 2 of 40 rows, first BNBUSDT 2025-06-22 "
        "00:03 UTC, fold 2, val (p_up is 7.0); expected a number from 0 to 1; look for a loss "
        "that became NaN, lower `model.lr`, and train again."
    )


@pytest.mark.parametrize("late", ["0min", "-1min"])
def test_a_label_known_at_its_forecast_is_no_forecast(predictions: Make, late: str) -> None:
    frame = predictions()
    frame["known_at"] = frame["time"] + pd.Timedelta(late)
    with pytest.raises(PredictionsError, match="known_at is not after the decision time in 40 of"):
        check_predictions(frame, "15m")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_decision_time_stands_once_in_a_fold(predictions: Make, split: str) -> None:
    frame = predictions()
    twice = pd.concat([frame, frame.tail(1).assign(split=split)])
    with pytest.raises(PredictionsError, match="more than once in a fold in 2 of 41 rows, first"):
        check_predictions(twice, "15m")


def test_a_decision_time_may_stand_in_two_folds(predictions: Make) -> None:
    frame = predictions(fold=0)
    folds = pd.concat([frame, frame.assign(fold=pd.array([1] * len(frame), dtype="Int64"))])
    assert len(check_predictions(folds, "15m")) == 80


def test_a_table_may_hold_several_models(predictions: Make) -> None:
    models = pd.concat([predictions(window="15m"), predictions(window="30m")])
    assert len(check_predictions(models, "evaluation")) == 80


def test_a_table_without_rows_is_refused(predictions: Make) -> None:
    with pytest.raises(PredictionsError, match="15m: there are no rows; expected at least one"):
        check_predictions(predictions().head(0), "15m")


@given(order=st.permutations(range(40)))
def test_checking_looks_at_neither_order_nor_index(predictions: Make, order: list[int]) -> None:
    shuffled = predictions().iloc[order]
    assert check_predictions(shuffled, "15m") is shuffled
