"""The predictions table: validation, files, and completion of tables from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.conversion import as_bars
from gafcnn.data.labels import Candlestick, Direction
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.errors import BarsError, PredictionsError
from gafcnn.evaluation.joining import join, join_common
from gafcnn.evaluation.predictions import (
    COLUMNS,
    check_predictions,
    complete_predictions,
    prediction_table,
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


LABEL, SPLIT = Direction("15min"), Chronological()
MINUTE = pd.Timedelta("1min")


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate(3000, seed=1)[0]


@pytest.fixture(scope="module")
def samples(bars: pd.DataFrame) -> Samples:
    return make_samples({"SIM": bars}, label=LABEL, split=SPLIT)


@pytest.fixture(scope="module")
def own(samples: Samples) -> pd.DataFrame:
    n = len(samples.split.val) + len(samples.split.test)
    return prediction_table(samples, np.random.default_rng(0).random(n), "30m", seed=3)


def test_table_of_predictions(samples: Samples, own: pd.DataFrame) -> None:
    rows = np.concatenate([samples.split.val, samples.split.test])
    assert check_predictions(own, "30m") is own
    assert set(own["symbol"]) == {"SIM"}
    assert set(own["window"]) == {"30m"}
    assert set(own["seed"]) == {3}
    assert (own["split"] == "val").sum() == len(samples.split.val)
    np.testing.assert_array_equal(own["label"].fillna(-1), samples.label[rows])
    np.testing.assert_array_equal(own["forward_return"], samples.outcomes.forward_return[rows])


def test_table_of_classes(bars: pd.DataFrame) -> None:
    samples = make_samples(bars, label=Candlestick(), split=SPLIT)
    n, classes = len(samples.split.val) + len(samples.split.test), len(samples.classes)
    p = np.random.default_rng(0).dirichlet(np.ones(classes), n)
    table = check_predictions(prediction_table(samples, p, "15m", 0), "15m")
    columns = [f"p_{name}" for name in samples.classes]
    np.testing.assert_array_equal(table[columns], p)
    mine = table[["time", *columns[::-1]]]
    again, notes = complete_predictions(mine, bars, label=Candlestick(), split=SPLIT)
    pd.testing.assert_frame_equal(again.drop(columns="window"), table.drop(columns="window"))
    assert notes == []


@pytest.mark.parametrize("symbols", [False, True])
@pytest.mark.parametrize("source", ["like", "split"])
def test_outcomes_are_those_of_the_samples(
    bars: pd.DataFrame, own: pd.DataFrame, source: str, symbols: bool
) -> None:
    mine = own[["symbol", "time", "p_up"] if symbols else ["time", "p_up"]]
    options: Any = {"like": own} if source == "like" else {"label": LABEL, "split": SPLIT}
    given = {"SIM": bars} if symbols or source == "split" else bars
    table, notes = complete_predictions(mine.sample(frac=1), given, **options)
    assert notes == []
    assert list(join({"own": own, "mine": table}).columns[-2:]) == ["own", "mine"]


def test_outcomes_from_the_label_alone(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    mine = own[["time", "p_up"]].set_index("time")  # in the index, as of many a notebook
    table, notes = complete_predictions(mine, bars, label=LABEL)
    assert set(table["split"]) == {"test"}
    assert notes == []
    np.testing.assert_array_equal(table["forward_return"], own["forward_return"])
    # the label is fitted on the bars before: training and purged samples
    returns = bars["close"].shift(-15) / bars["close"] - 1
    known = returns[: own["time"].min() - 16 * MINUTE]
    low, high = known.quantile([0.4, 0.6])
    expected = np.select([table["forward_return"] > high, table["forward_return"] < low], [1, 0], 2)
    np.testing.assert_array_equal(table["label"].fillna(2), expected)
    kept, _ = complete_predictions(own[["time", "split", "p_up"]], bars, label=LABEL)
    assert kept["split"].equals(own["split"])
    _, notes = complete_predictions(pd.Series(0.6, bars.index, name="p_up").to_frame(), bars, LABEL)
    assert sum("fitted on the predicted rows" in note for note in notes) == 1


def test_a_complete_table_is_unchanged(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    assert complete_predictions(own, bars)[0] is own


def test_rows_that_cannot_be_used_are_counted(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    mine = own[["time", "p_up"]].copy()
    mine.loc[:4, "p_up"] = np.nan
    mine.loc[10:12, "time"] += pd.Timedelta("7s")
    early = pd.DataFrame({"time": bars.index[100:102], "p_up": 0.5})
    table, notes = complete_predictions(pd.concat([mine, early]), bars, like=own, name="mine")
    assert len(table) == len(own) - 8
    counts = [note.split(" of ")[0] for note in notes]
    assert counts == ["mine: 5", "mine: 3", "mine: 2"]
    last = pd.DataFrame({"time": bars.index[-20:], "p_up": 0.5})
    table, notes = complete_predictions(last, bars, label=LABEL)
    assert len(table) == 5
    assert "15 of 20" in notes[0]
    for shift, p, remedy in (("1s", 0.5, "bars.index"), ("0s", np.nan, "drop them")):
        moved = last.assign(time=last["time"] + pd.Timedelta(shift), p_up=p)
        with pytest.raises(PredictionsError, match=rf"20 of 20 rows.*\(first 2.*{remedy}"):
            complete_predictions(moved, bars, LABEL)


def test_times_of_other_kinds(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    mine = own[["time", "p_up"]]
    naive, ns = mine["time"].dt.tz_localize(None), mine["time"].astype("int64")
    for time in (naive, naive.astype(str), ns, ns // 10**6, ns // 10**9):
        table, notes = complete_predictions(mine.assign(time=time), bars, like=own)
        pd.testing.assert_series_equal(table["time"], own["time"])
        is_epoch = time.dtype.kind == "i"
        assert notes == ["predictions: times without time zone are read as UTC"][is_epoch:]


def test_tables_that_cannot_be_completed(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    mine = own[["time", "p_up"]]
    two = {"A": bars, "B": bars}
    for table, given, label, found in (
        (mine, bars, None, "label="),
        (mine.rename(columns={"p_up": "up"}), bars, LABEL, "^mine: there is no column p_up"),
        (mine, two, LABEL, "there is no column symbol"),
        (mine.head(0), bars, LABEL, "there is no row"),
        (mine.assign(p_up="high"), bars, LABEL, "cannot be converted"),
        (mine.assign(p_up=3.0), bars, LABEL, "p_up is not a probability"),
    ):
        with pytest.raises(PredictionsError, match=found):
            complete_predictions(table, given, label, name="mine")
    with pytest.raises(BarsError, match="as_bars"):
        complete_predictions(mine, pd.DataFrame(bars.to_dict("series")), LABEL)


def test_models_that_cover_different_rows(bars: pd.DataFrame, own: pd.DataFrame) -> None:
    test = own["split"] == "test"
    mine, _ = complete_predictions(own.loc[test, ["time", "p_up"]].iloc[7:], bars, like=own)
    joined, notes = join_common({"30m": own, "mine": mine})
    assert (joined["split"] == "test").sum() == test.sum() - 7
    assert joined.loc[joined["split"] == "val", "mine"].isna().all()
    assert joined["30m"].notna().all()
    for note, n in zip(notes, [7, (~test).sum()], strict=True):
        assert f"mine has no predictions for {n} of" in note
    pd.testing.assert_frame_equal(join_common({"a": own, "b": own})[0], join({"a": own, "b": own}))
    with pytest.raises(PredictionsError, match="no test row in common; a note; 30m has no"):
        join_common({"30m": own[~test], "mine": mine}, ["a note"])


def test_open_times_of_daily_bars_are_refused() -> None:
    """The bar of a Monday opens at midnight, when no bar closes: Friday's closes on Saturday."""
    dates = pd.bdate_range("2024-01-01", periods=300)
    close = np.linspace(100, 120, len(dates))
    prices = {"open": close, "high": close, "low": close, "close": close, "volume": 1.0}
    bars = as_bars(pd.DataFrame(prices, dates), timezone="UTC")
    for times in (dates.astype("str"), dates, dates.tz_localize("UTC")):
        table = pd.DataFrame({"time": times[-100:], "p_up": 0.6})
        with pytest.raises(PredictionsError, match="date without|open times"):
            complete_predictions(table, bars, Direction("1D"))
    table["time"] = bars.index[-100:]
    complete, _ = complete_predictions(table, bars, Direction("1D"))
    assert len(complete) == 99
