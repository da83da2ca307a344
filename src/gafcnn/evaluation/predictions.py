"""The table that every model writes, and the only thing that ensembles, trading and reports read.

One row is one forecast of one run: a decision time, what was forecast, and what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
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
COLUMNS = (*SHARED, P_UP)
SPLITS = ("val", "test")
SUM = 1e-4  # how far the probabilities of several classes may sum from 1: float32 rounds each
_TRAIN = "train that run anew with overwrite=true"


def write_predictions(path: Path | str, frame: pd.DataFrame) -> None:
    """Write predictions as parquet, whole or not at all; what stood at `path` is replaced.

    Raises:
        PredictionsError: The frame is not a table of predictions; `path` is then untouched.
    """
    path = Path(path)
    check_predictions(frame, f"predictions for {path}")
    write_bytes(path, frame.to_parquet(None, index=False, write_page_checksum=True))


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read and check a table of predictions.

    Raises:
        PredictionsError: The file is missing, not whole, or not a table of predictions.
    """
    path = Path(path)
    if not path.is_file():
        raise PredictionsError(
            f"{path}: there is no such file",
            expected="the predictions of a finished run",
            instead="train that run with `python train.py`",
        )
    try:
        frame = pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise PredictionsError(
            f"{path}: the file is damaged or was not written to its end",
            expected="a whole parquet file",
            instead=_TRAIN,
        ) from error
    return check_predictions(frame, path)


def check_predictions(frame: pd.DataFrame, source: object) -> pd.DataFrame:
    """Return `frame` if it is a table of predictions that can be believed.

    The columns are, in any order (further ones are left alone):

    - `symbol` (str), `time` (decision time, UTC, ns), `window` (str);
    - `fold` (Int64, null without walk-forward), `seed` (int64), `split` ("val" or "test");
    - `label` (Int8: 1 up, 0 down, null for a neutral sample);
    - `forward_return` (float64, a fraction, from `time` to the horizon);
    - `known_at` (UTC, ns: when the label is known, after `time`);
    - `p_up` (float64 in [0, 1]).

    A table of several classes has `p_<class>` for each of them (float64 in [0, 1], a row sums to 1)
    in place of `p_up`. Its `label` is the number of a class, in the order of these columns, or
    null; `forward_return` is NaN, and `known_at` may be `time`, where nothing was forecast.

    A decision time stands once per symbol, window and fold.

    Args:
        frame: The table.
        source: What an error calls it: a path, or a model's name.

    Raises:
        PredictionsError: What is wrong, in how many rows, and the first of them.
    """
    _check_columns(frame, source)
    if frame.empty:
        raise PredictionsError(
            f"{source}: there are no rows",
            expected="at least one forecast",
            instead="give validation and test more of the bars (`split.val`, `split.test`)",
        )
    classes = classes_of(frame)
    for fault in (*_FAULTS, *(_of_classes(classes) if classes else _OF_DIRECTIONS)):
        _refuse(fault, frame, source)
    return frame


def classes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """The classes of a table of several, in the order of their numbers; () of a direction's."""
    return () if P_UP in frame.columns else tuple(p.removeprefix("p_") for p in _given(frame))


def probability_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns of probabilities: `p_up`, or one for each class."""
    return (P_UP,) if P_UP in frame.columns else _given(frame)


def probability_column(name: str) -> str:
    """The column that holds the probabilities of a class."""
    return f"p_{name}"


def place(row: Mapping[Hashable, Any]) -> str:
    """Where a row stands, in words: `BNBUSDT 2025-06-20 00:00 UTC, fold 2, val`."""
    time = f"{row['time']}"[:19].removesuffix(":00")
    fold = "" if pd.isna(row["fold"]) else f", fold {row['fold']}"
    return f"{row['symbol']} {time} UTC{fold}, {row['split']}"


def first_row(frame: pd.DataFrame, where: NDArray[np.bool_]) -> dict[Hashable, Any]:
    """The first row of `frame` for which `where` is true, by column."""
    return frame.iloc[int(np.argmax(where))].to_dict()


def _given(frame: pd.DataFrame) -> tuple[str, ...]:
    return tuple(column for column in frame.columns if str(column).startswith("p_"))


def _check_columns(frame: pd.DataFrame, source: object) -> None:
    probabilities = probability_columns(frame)
    wanted = (*SHARED, *(probabilities if len(probabilities) > 1 else (P_UP,)))
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise PredictionsError(
            f"{source}: there is no column {', '.join(missing)}",
            expected=f"the columns {', '.join(COLUMNS)}",
            instead=_TRAIN,
        )
    for column, dtype in {**SHARED, **dict.fromkeys(probabilities, "float64")}.items():
        if not _is_of(frame[column], dtype):
            raise PredictionsError(
                f"{source}: column {column} is {frame[column].dtype}",
                expected=dtype,
                instead=f'convert it with `frame["{column}"].astype("{dtype}")`',
            )


def _is_of(column: Any, dtype: str) -> bool:
    # text is `object` before pandas 3 and `str` since
    return pd.api.types.is_string_dtype(column) if dtype == "str" else str(column.dtype) == dtype


@dataclass(frozen=True)
class _Fault:
    found: str
    column: str
    where: Callable[[pd.DataFrame], Any]
    expected: str
    instead: str = _TRAIN


def _refuse(fault: _Fault, frame: pd.DataFrame, source: object) -> None:
    bad = np.asarray(fault.where(frame), dtype=bool)
    if not bad.any():
        return
    first = first_row(frame, bad)
    raise PredictionsError(
        f"{source}: {fault.found} in {int(bad.sum()):,} of {len(frame):,} rows, "
        f"first {place(first)} ({fault.column} is {first[fault.column]})",
        expected=fault.expected,
        instead=fault.instead,
    )


def _missing(column: str) -> _Fault:
    return _Fault(
        f"{column} is missing", column, lambda frame: frame[column].isna(), "a value in every row"
    )


_FAULTS = (
    *(_missing(column) for column in ("symbol", "time", "window", "split", "known_at")),
    _Fault(
        "split is unknown",
        "split",
        lambda frame: ~frame["split"].isin(SPLITS),
        "val or test (training rows are not forecasts)",
    ),
    _Fault(
        "a decision time stands more than once in a fold",
        "window",
        lambda frame: frame.duplicated(["symbol", "time", "window", "fold"], keep=False),
        "one row per symbol, time, window and fold",
        "keep each run's predictions apart, and average seeds with `average_seeds`",
    ),
)


def _improbable(column: str) -> _Fault:
    return _Fault(
        f"{column} is not a probability",
        column,
        lambda frame: ~frame[column].between(0.0, 1.0),
        "a number from 0 to 1",
        "look for a loss that became NaN, lower `model.lr`, and train again",
    )


_OF_DIRECTIONS = (
    _Fault(
        "label is out of range",
        "label",
        lambda frame: frame["label"].notna() & ~frame["label"].isin([0, 1]),
        "1 (up), 0 (down) or null (neutral)",
    ),
    _Fault(
        "forward_return is not finite",
        "forward_return",
        lambda frame: ~np.isfinite(frame["forward_return"]),
        "a return as a fraction",
    ),
    _improbable(P_UP),
    _Fault(
        "known_at is not after the decision time",
        "known_at",
        lambda frame: frame["known_at"] <= frame["time"],
        "a label that is known later than it is forecast",
        "check the label's horizon and train again",
    ),
)


def _of_classes(classes: tuple[str, ...]) -> tuple[_Fault, ...]:
    columns = [probability_column(name) for name in classes]
    return (
        _Fault(
            "label is out of range",
            "label",
            lambda frame: frame["label"].notna() & ~frame["label"].isin(range(len(classes))),
            f"the number of one of {len(classes)} classes, from 0, or null",
        ),
        _Fault(
            "forward_return is infinite",
            "forward_return",
            lambda frame: np.isinf(frame["forward_return"]),
            "a return as a fraction, or NaN where nothing was forecast",
        ),
        *map(_improbable, columns),
        _Fault(
            f"the probabilities of {len(classes)} classes do not sum to 1",
            columns[0],
            lambda frame: (frame[columns].sum(axis="columns") - 1).abs() > SUM,
            "one for each class, all together 1",
            "write what a softmax gives, and train again",
        ),
        _Fault(
            "known_at is before the decision time",
            "known_at",
            lambda frame: frame["known_at"] < frame["time"],
            "a label that is known when it is told, or later",
            "check the label's outcomes and train again",
        ),
    )
