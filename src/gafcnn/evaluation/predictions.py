"""The predictions table, which every model writes and everything in this package reads.

A row is a prediction of a model: decision time, P(up) or class probabilities, and outcome.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import Origin, ensure_bars, interval_of
from gafcnn.data.cross_section import check_market, outcomes_together
from gafcnn.data.labels import DIRECTIONS, NULL, Label, Outcomes
from gafcnn.data.samples import Samples, make_samples, task_of
from gafcnn.data.splits import Splitter
from gafcnn.data.times import from_epochs
from gafcnn.data.windows import close_times
from gafcnn.durations import format_duration
from gafcnn.errors import PredictionsError

SHARED = {
    "symbol": "str",
    "time": "datetime64[ns, UTC]",
    "window": "str",
    "fold": "Int64",
    "seed": "int64",
    "split": "str",
    "label": "Int8",
    "forward_return": "float64",
    "known_at": "datetime64[ns, UTC]",
}
P_UP = "p_up"
SCORE = "score"
COLUMNS = (*SHARED, P_UP)
KEY = ("symbol", "time", "fold", "split")
OUTCOME = ("label", "forward_return", "known_at")
SPLITS = ("val", "test")
SUM = 1e-4  # tolerance for the sum of class probabilities, as float32 rounds each of them


def prediction_table(
    samples: Samples, probabilities: NDArray[np.float64], name: str, seed: int
) -> pd.DataFrame:
    """Return a model's predictions as a table (see `check_predictions`).

    Probabilities are for all validation samples, then all test samples: P(up), shape (n,), those of
    all classes, shape (n, classes), or for a ranking scores, shape (n,).
    """
    names = forecast_columns(samples.definition)
    columns = dict(zip(names, np.atleast_2d(probabilities.T), strict=True))
    table = outcome_table(samples).assign(window=name, seed=seed, **columns)
    return table.astype({"window": "str", "seed": "int64"}).filter([*SHARED, *columns])


def complete_predictions(
    frame: pd.DataFrame,
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    label: Label | None = None,
    split: Splitter | None = None,
    like: pd.DataFrame | None = None,
    *,
    name: str = "predictions",
) -> tuple[pd.DataFrame, list[str]]:
    """Fill in a table that has times and probabilities with outcomes, fold and split.

    They come from `like`; else from the samples that `label` and `split` make of the bars; else,
    without `split`, from `label` alone: every row is a test row, unless the table has a column
    `split`, and the label is fitted on the bars before the first row.

    Args:
        frame: `time` (close times; UTC if they have no time zone; a column or the index), `p_up` or
            `p_<class>`, and `symbol` if there are several. Columns `fold` and `split` are kept. In
            place of `p_up`, a `score` that is higher for a more likely rise: it is converted by a
            logistic regression on the labelled validation rows of the fold; without them to
            `1 / (1 + exp(-score / standard deviation))`, of which only order and sign count.
        bars: Bars of one symbol, or of several by their names.
        label: Definition of the label.
        split: Splitter.
        like: Predictions of another model, see `check_predictions`.
        name: Name of the model.

    Returns:
        The predictions table, and one sentence per reason why rows cannot be used, or are read in a
        way that is not obvious. A table that is complete is returned unchanged.

    Raises:
        PredictionsError: A column is missing, or no row can be used.
        BarsError: The bars did not pass through `as_bars`.
    """
    if set(SHARED) <= set(frame.columns):
        return check_predictions(frame, name), []
    by_symbol = dict(bars) if isinstance(bars, Mapping) else {"": bars}
    if like is not None:
        columns, symbols = probability_columns(like), sorted(set(like["symbol"]))
    elif label is not None:
        columns, symbols = forecast_columns(label), [*by_symbol]
    else:
        raise PredictionsError(
            f"{name}: the outcomes are unknown",
            expected="a label, or a complete table of another model",
            instead='pass label=gc.Direction("15min"), for example; or gc.Relative("1D") to rank '
            "symbols",
        )
    scored = columns == (P_UP,) and P_UP not in frame and SCORE in frame
    given, notes = [SCORE] if scored else [*columns], list[str]()
    what = "score" if given == [SCORE] else "probability"
    if columns == (SCORE,) and SCORE not in frame:  # P(up) orders symbols as well
        frame = frame.rename(columns={P_UP: SCORE})
    table = _standardise(frame, given, symbols, name, notes)
    if not isinstance(bars, Mapping):  # bars of one symbol need no name
        by_symbol = {symbols[0]: bars}
        if len(set(table["symbol"])) == 1:
            table["symbol"] = symbols[0]
    if like is not None:
        outcomes, reason = like, "the other models have no such row"
    elif split is not None:
        outcomes = outcome_table(make_samples(by_symbol, label=label, split=split))
        reason = "they are in neither validation nor test"
    else:
        outcomes = _outcomes(table, by_symbol, label, notes)
        reason = "their outcome is unknown: a gap or the end of the bars follows"
    outcomes = outcomes.filter([*KEY, *OUTCOME])
    table = table.drop(columns=[*OUTCOME], errors="ignore")
    keys = [column for column in KEY if column in table and column in outcomes]
    merged = table.merge(outcomes, on=keys, how="left", indicator="found")
    at_bar, opens_bar = np.zeros((2, len(merged)), dtype=bool)
    rows_of = merged.groupby("symbol").indices
    for symbol, frame_of_symbol in by_symbol.items():
        of_symbol, closes = rows_of.get(symbol, []), ensure_bars(frame_of_symbol).index
        times = pd.DatetimeIndex(merged["time"].iloc[of_symbol])
        at_bar[of_symbol] = times.isin(closes)
        opens_bar[of_symbol] = (times + interval_of(frame_of_symbol)).isin(closes)
    if opens_bar.all() and not at_bar.all():
        step = format_duration(interval_of(next(iter(by_symbol.values()))))
        raise PredictionsError(
            f"{name}: all times are open times of bars, and {(~at_bar).sum():,} of "
            f"{len(merged):,} are no close times",
            expected="close times, when a forecast can be made",
            instead=f"add {step} to the times",
        )
    usable, most, remedy = np.ones(len(merged), dtype=bool), 0, ""
    finite = np.isfinite(merged[given].to_numpy()).all(axis=1)
    named, names = merged["symbol"].isin([*by_symbol]), ", ".join(filter(None, by_symbol))
    by_name = f"use the names of the bars: {names}" if names else "pass bars as a dict by symbol"
    for valid, why, instead in (
        (named, "there are no bars of their symbol", by_name),
        (finite, f"the {what} is missing or infinite", "drop them"),
        (at_bar, "no bar closes at that time", "use times of bars.index, which are close times"),
        (merged["found"] == "both", reason, "pass other rows, or other bars"),
    ):
        lost = usable & ~np.asarray(valid)
        if lost.any():
            notes.append(
                f"{name}: {lost.sum():,} of {len(merged):,} rows cannot be used, as {why} "
                f"(first {place(first_row(merged, lost))})"
            )
            most, remedy = max((most, remedy), (int(lost.sum()), instead))
        usable &= ~lost
    if not usable.any():
        raise PredictionsError(
            f"no row can be used; {'; '.join(notes)}",
            expected=f"close times of these bars, in UTC, and a {what} in every row",
            instead=remedy,
        )
    rows = {"fold": pd.NA, "split": "test", **merged[usable], "window": name, "seed": 0}
    if scored:
        rows[P_UP] = _from_scores(pd.DataFrame(rows), name, notes)
    complete = pd.DataFrame({column: rows[column] for column in (*SHARED, *columns)})
    complete = complete.astype(SHARED | _label_type(columns)).reset_index(drop=True)
    return check_predictions(complete, name), notes


def complete_tables(
    models: Mapping[str, pd.DataFrame | str | Path],
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    label: Label | None,
    split: Splitter | None,
) -> tuple[dict[str, pd.DataFrame], list[str], list[str]]:
    """Return tables with outcomes and split, the names of those that had none, and notes.

    Arguments and errors are those of `complete_predictions`.
    """
    tables = {
        name: table if isinstance(table, pd.DataFrame) else read_table(table)
        for name, table in models.items()
    }
    foreign = [name for name, table in tables.items() if not set(SHARED) <= set(table.columns)]
    like, notes = next((tables[name] for name in tables if name not in foreign), None), []
    for name in foreign:
        tables[name], more = complete_predictions(tables[name], bars, label, split, like, name=name)
        # a label that is fitted on the bars before the first row is the same for all tables
        like = tables[name] if like is None and split is None else like
        notes += more
    return tables, foreign, notes


def _standardise(
    frame: pd.DataFrame, columns: Sequence[str], symbols: Sequence[str], name: str, notes: list[str]
) -> pd.DataFrame:
    """Return a copy with `symbol`, `time` in UTC and forecasts in float64."""
    if "time" not in frame.columns and isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis("time").reset_index()
    if "symbol" not in frame.columns and len(symbols) == 1:
        frame = frame.assign(symbol=symbols[0])
    missing = [one for one in ("symbol", "time", *columns) if one not in frame.columns]
    if missing or frame.empty:
        there_is_no = f"column {', '.join(missing)} among {', '.join(map(str, frame))}"
        raise PredictionsError(
            f"{name}: there is no {there_is_no if missing else 'row'}",
            expected=f"time and {', '.join(columns)}, and symbol if there are several",
            instead="rename the columns, or pass another table",
        )
    try:
        given = pd.Series(frame["time"])
        if re.fullmatch(r"\d{4}([-/.]?)\d\d\1\d\d", str(given.iloc[0])):
            raise PredictionsError(
                f"{name}: the time {given.iloc[0]} is a date without a time of day",
                expected="the close time of the last bar that the forecast knows, in UTC",
                instead="use the times of bars.index, such as 2024-01-03 00:00:00+00:00 for the "
                "bar of 2 January in UTC",
            )
        if pd.api.types.is_numeric_dtype(given):
            time = from_epochs(given, Origin(name))
        else:
            time = pd.DatetimeIndex(pd.to_datetime(given, utc=True)).as_unit("ns")
            if not re.search(r"(Z|[+-]\d\d:?\d\d)$", str(given.iloc[0])):
                notes.append(f"{name}: times without time zone are read as UTC")
        return frame.assign(time=time, **frame[[*columns]].astype("float64"))
    except (TypeError, ValueError) as error:
        raise PredictionsError(
            f"{name}: a column cannot be converted ({error})",
            expected=f"times in time, and numbers in {', '.join(columns)}",
            instead="convert it with pd.to_datetime or pd.to_numeric",
        ) from error


def _from_scores(rows: pd.DataFrame, name: str, notes: list[str]) -> NDArray[np.float64]:
    """Return P(up) from scores, fold by fold (Platt, 1999), and note how."""
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression  # takes most of a second to import

    scores, p = rows[[SCORE]].to_numpy(), np.empty(len(rows))
    for inside in folds_of(rows).values():
        val = inside & np.asarray(rows["split"] == "val") & rows["label"].notna().to_numpy()
        up = rows.loc[val, "label"].to_numpy(np.int8)
        if len(np.unique(up)) < 2:
            notes.append(
                f"{name}: without labelled validation rows a score is no probability, so that log "
                "loss and calibration mean nothing; a score above 0 means up"
            )
            return expit(scores[:, 0] / (scores.std() or 1.0))
        scaled = scores / (scores[val].std() or 1.0)
        p[inside] = LogisticRegression().fit(scaled[val], up).predict_proba(scaled[inside])[:, 1]
    notes.append(f"{name}: P(up) is a logistic regression on the score, fitted on validation rows")
    return p


def _outcomes(
    table: pd.DataFrame, by_symbol: Mapping[str, pd.DataFrame], label: Any, notes: list[str]
) -> pd.DataFrame:
    """Return the outcomes at the table's times, by a label fitted on the bars before them."""
    if task_of(label) == "ranking":
        return _related(table, by_symbol, label)
    found = []
    for symbol, bars in by_symbol.items():
        times = table.loc[table["symbol"] == symbol, "time"]
        outcomes = label.outcomes(bars, np.arange(len(bars)))
        known = ~np.isnat(outcomes.known_at)
        rows = train = np.flatnonzero(known & bars.index.isin(times))
        if not len(rows):
            continue
        earlier = known & (outcomes.known_at < times.min().to_datetime64())
        if earlier.any():
            train = np.flatnonzero(earlier)
        else:
            of = f" of {symbol}" if symbol else ""
            notes.append(f"the label{of} is fitted on the predicted rows, none are earlier")
        known_rows = _outcome_columns(outcomes, label.assign(outcomes, train), rows)
        found.append(known_rows.assign(symbol=symbol, time=bars.index[rows]))
    return pd.concat(found) if found else table.head(0).assign(**dict.fromkeys(OUTCOME, np.nan))


def _related(
    table: pd.DataFrame, by_symbol: Mapping[str, pd.DataFrame], label: Any
) -> pd.DataFrame:
    """Return the outcomes of a cross-section at the table's times, among the table's symbols."""
    check_market(label, [*by_symbol])
    frames, rows = [*by_symbol.values()], []
    of_symbol: dict[Any, Any] = dict(iter(table.groupby("symbol")["time"]))
    for symbol, bars in by_symbol.items():
        is_market = symbol == getattr(label, "market", None)  # which the table need not have
        given: Any = table["time"] if is_market else of_symbol.get(symbol, [])
        rows.append(np.flatnonzero(bars.index.isin(given)))
    outcomes = outcomes_together(label, frames, rows)
    symbols = np.repeat([*by_symbol], [len(at) for at in rows])
    times = np.concatenate([close_times(bars)[at] for bars, at in zip(frames, rows, strict=True)])
    target = label.relate(outcomes.forward_return, times, symbols).astype(np.float32)
    found = _outcome_columns(outcomes, target, np.arange(len(times)))
    time = pd.DatetimeIndex(times).tz_localize("UTC")
    return found.assign(symbol=symbols, time=time).dropna(subset="known_at")


def outcome_table(samples: Samples) -> pd.DataFrame:
    """Return symbol, time, fold, split and outcome of all validation, then all test samples."""
    rows, fold = np.concatenate([samples.split.val, samples.split.test]), samples.split.fold
    times, outcomes = samples.known(rows)
    return _outcome_columns(outcomes, samples.label[rows], np.arange(len(rows))).assign(
        symbol=pd.array(samples.symbol_of(rows), dtype="str"),
        time=pd.DatetimeIndex(times).tz_localize("UTC"),
        fold=pd.array([pd.NA if fold is None else fold] * len(rows), dtype="Int64"),
        split=pd.array(np.where(np.isin(rows, samples.split.val), *SPLITS), dtype="str"),
    )


def _outcome_columns(
    outcomes: Outcomes, label: NDArray[Any], rows: NDArray[np.int64]
) -> pd.DataFrame:
    number: Any = label[rows].astype(np.float64)
    if label.dtype.kind != "f":
        number = pd.array(label[rows], dtype="Int8")
        number[label[rows] == NULL] = pd.NA
    known_at = pd.DatetimeIndex(outcomes.known_at[rows]).tz_localize("UTC")
    ahead = outcomes.forward_return[rows]
    return pd.DataFrame({"label": number, "forward_return": ahead, "known_at": known_at})


def write_predictions(path: Path | str, frame: pd.DataFrame) -> None:
    """Write predictions as a parquet file, atomically; an existing file is replaced.

    Raises:
        PredictionsError: The frame is not a predictions table; the file is then not touched.
    """
    check_predictions(frame, f"predictions for {path}")
    write_bytes(Path(path), frame.to_parquet(None, index=False, write_page_checksum=True))


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read and check a predictions table.

    Raises:
        PredictionsError: The file is missing, damaged or not a predictions table.
    """
    return check_predictions(read_table(path), path)


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a parquet or csv file of predictions that need not be complete.

    Raises:
        PredictionsError: The file is missing or damaged.
    """
    if not Path(path).is_file():
        raise PredictionsError(
            f"{path}: there is no such file",
            expected="a parquet or csv file of predictions",
            instead="correct the path, or train the run that writes it",
        )
    try:
        if Path(path).suffix == ".csv":
            return pd.read_csv(path)
        return pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise PredictionsError(
            f"{path}: the file is damaged, or neither parquet nor csv",
            expected="a complete file that ends with .parquet or .csv",
            instead="write it again, with write_predictions(path, frame) or by training the run",
        ) from error


def check_predictions(frame: pd.DataFrame, source: object) -> pd.DataFrame:
    """Return `frame` if it is a valid predictions table.

    The columns are, in any order, and possibly among others:

    - `symbol` (str), `time` (decision time, UTC, ns), `window` (str, the name of the model);
    - `fold` (Int64, null without walk-forward), `seed` (int64), `split` ("val" or "test");
    - `label` (Int8: 1 up, 0 down, null for a neutral sample);
    - `forward_return` (float64, a fraction, from `time` to the horizon);
    - `known_at` (UTC, ns: when the label is known, after `time`);
    - `p_up` (float64 in [0, 1]).

    A table of a ranking has `score` instead of `p_up` (float64, higher for a better symbol), and
    its `label` is the target (float64, NaN for none).

    A table of several classes has `p_<class>` for each of them (float64 in [0, 1], sum 1) instead
    of `p_up`. Its `label` is a class number, in the order of these columns, or null;
    `forward_return` may be NaN, and `known_at` may be `time`, for labels that do not look ahead.

    A decision time is unique per symbol, window and fold. `complete_predictions` makes such a table
    from times and probabilities. The source, a path or a model's name, is for errors.

    Raises:
        PredictionsError: What is wrong, in how many rows, and the first of them.
    """
    probabilities = probability_columns(frame)
    missing = [name for name in (*SHARED, *(probabilities or (P_UP,))) if name not in frame.columns]
    if missing:
        raise PredictionsError(
            f"{source}: there is no column {', '.join(missing)}",
            expected=f"the columns {', '.join(COLUMNS)}",
            instead="let gc.judge or complete_predictions(frame, bars, label=...) fill it in",
        )
    types = SHARED | _label_type(probabilities) | dict.fromkeys(probabilities, "float64")
    for column, dtype in types.items():
        # text is `object` before pandas 3 and `str` since
        is_text = dtype == "str" and pd.api.types.is_string_dtype(frame[column])
        if not is_text and str(frame[column].dtype) != dtype:
            raise PredictionsError(
                f"{source}: column {column} is {frame[column].dtype}",
                expected=dtype,
                instead=f'convert it with frame["{column}"].astype("{dtype}")',
            )
    if frame.empty:
        raise PredictionsError(
            f"{source}: there are no rows",
            expected="at least one prediction",
            instead="use larger shares split.val and split.test, or more bars",
        )
    for found, column, where, expected in _faults(frame):
        bad = np.asarray(where, dtype=bool)
        if bad.any():
            first = first_row(frame, bad)
            raise PredictionsError(
                f"{source}: {found} in {int(bad.sum()):,} of {len(frame):,} rows, "
                f"first {place(first)} ({column} is {first[column]})",
                expected=expected,
                instead="correct these rows, or drop them",
            )
    return frame


def classes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a table, in the order of their numbers; () for P(up) and for scores."""
    columns = probability_columns(frame)
    return () if len(columns) < 2 else tuple(column.removeprefix("p_") for column in columns)


def probability_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of forecasts: `p_up`, one per class, or `score` of a ranking; or ()."""
    columns = tuple(column for column in frame.columns if str(column).startswith("p_"))
    if len(columns) > 1 or columns == (P_UP,):
        return columns
    return (SCORE,) if SCORE in frame.columns else ()


def forecast_columns(label: Any) -> tuple[str, ...]:
    """Return the columns that hold the forecasts of a label."""
    return (SCORE,) if task_of(label) == "ranking" else class_columns(label.classes)


def _label_type(columns: Sequence[str]) -> dict[str, str]:
    return {"label": "float64"} if tuple(columns) == (SCORE,) else {}


def class_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold probabilities: `p_up` for a direction, else `p_<class>`."""
    is_direction = tuple(classes) in ((), DIRECTIONS)
    return (P_UP,) if is_direction else tuple(f"p_{name}" for name in classes)


def folds_of(rows: pd.DataFrame) -> dict[int | None, NDArray[np.bool_]]:
    """Return which rows are in which fold; one fold, None, without walk-forward."""
    fold = rows["fold"].fillna(-1).to_numpy(np.int64)
    return {None if number == -1 else int(number): fold == number for number in np.unique(fold)}


def place(row: Mapping[Hashable, Any]) -> str:
    """Return symbol, time, fold and split of a row: `BNBUSDT 2025-06-20 00:00 UTC, fold 2, val`."""
    time = f"{row['time']}"[:19].removesuffix(":00")
    fold = f", fold {row['fold']}" if "fold" in row and pd.notna(row["fold"]) else ""
    split = f", {row['split']}" if "split" in row and pd.notna(row["split"]) else ""
    return f"{row['symbol']} {time} UTC{fold}{split}".lstrip()


def first_row(frame: pd.DataFrame, where: NDArray[np.bool_]) -> dict[Hashable, Any]:
    """Return the first row of `frame` for which `where` is true, by column."""
    return frame.iloc[int(np.argmax(where))].to_dict()


def _faults(frame: pd.DataFrame) -> Iterator[tuple[str, str, Any, str]]:
    """Yield each possible fault: its name, its column, the rows that have it, what is expected."""
    columns, classes = list(probability_columns(frame)), classes_of(frame)
    label, ahead, known = frame["label"], frame["forward_return"], frame["known_at"]
    for column in ("symbol", "time", "window", "split", "known_at"):
        yield f"{column} is missing", column, frame[column].isna(), "a value in every row"
    yield "split is unknown", "split", ~frame["split"].isin(SPLITS), "val or test"
    twice = frame.duplicated(["symbol", "time", "window", "fold"], keep=False)
    unique = "one row per symbol, time, window and fold; the mean of several seeds"
    yield "a decision time occurs more than once", "window", twice, unique
    if columns == [SCORE]:
        yield "score is not finite", SCORE, ~np.isfinite(frame[SCORE]), "a finite number"
    else:
        for column in columns:
            outside = ~frame[column].between(0.0, 1.0)
            yield f"{column} is not a probability", column, outside, "a number from 0 to 1"
        numbers = range(len(classes) or 2)
        unknown = label.notna() & ~label.isin(numbers)
        yield "label is out of range", "label", unknown, f"a class from 0 to {numbers[-1]}, or null"
    if not classes:
        infinite, early = ~np.isfinite(ahead), known <= frame["time"]
        yield "forward_return is not finite", "forward_return", infinite, "a return as a fraction"
        yield "known_at is not after the decision time", "known_at", early, "a later time"
        return
    yield "forward_return is infinite", "forward_return", np.isinf(ahead), "a fraction, or NaN"
    apart = (frame[columns].sum(axis="columns") - 1).abs() > SUM
    wrong = f"the probabilities of {len(classes)} classes do not sum to 1"
    yield wrong, columns[0], apart, "probabilities that sum to 1"
    early = known < frame["time"]
    yield "known_at is before the decision time", "known_at", early, "the same time or later"
