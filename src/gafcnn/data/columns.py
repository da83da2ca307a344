"""Columns of a file, of whatever type they come, as numbers and as times."""

from __future__ import annotations

import reprlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import REPAIR, Origin, no_timezone

# an epoch's unit is told by its size: the seconds from 1973 to 2100 are no milliseconds since 1970
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # ns
_EPOCHS = (1e8, 4.1e9)

# the end of a time with an offset, and not of a date, which ends in a hyphen and digits as well
_OFFSET = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def to_numbers(column: pd.Series, origin: Origin) -> NDArray[np.float64]:
    """The numbers that a column holds, or that its texts say, shape (n,).

    Raises:
        BarsError: A text says none; the row is named.
    """
    numbers = _as_numbers(column).to_numpy("float64")
    # a NaN that was one in the file is judged as any other price or volume, by check_bars
    wrong = np.isnan(numbers) & (column.dtype.kind not in "iuf")
    if wrong.any():
        row = int(wrong.argmax())
        raise origin.fault(
            row,
            f"{column.name} is {_shown(column.iloc[row])}",
            expected="a number",
            instead=REPAIR,
        )
    return numbers


def _as_numbers(column: pd.Series) -> pd.Series:
    """Numbers as they are; of everything else, what its text says (NaN where that is none)."""
    if column.dtype.kind in "iuf":
        return column
    return pd.Series(pd.to_numeric(_texts(column), errors="coerce"))


def _shown(cell: object) -> str:
    text = str(cell)
    return reprlib.repr(text) if text.strip() else "empty"


def _texts(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.StringDtype):
        return column
    return pd.Series([str(cell) for cell in column], dtype="str")


def to_times(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    """The times that a column holds, whole epochs or ISO texts, tz-aware, shape (n,).

    Raises:
        BarsError: A cell says no time, or one without its timezone; the row is named.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column)
    if column.dtype.kind == "M":
        raise no_timezone(origin, 0, column.iloc[0])
    # the first row tells what all of them should be
    if _as_numbers(column.head(1)).notna().all():
        return _from_epochs(column, origin)
    return _from_iso(column, origin)


def _from_epochs(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    epochs = _as_numbers(column)
    values = epochs.to_numpy("float64")
    scale = _nanoseconds(values)
    wrong = (scale == 0) | (values != np.trunc(values))
    if wrong.any():
        row = int(wrong.argmax())
        raise origin.fault(
            row,
            f"the time is {_shown(column.iloc[row])}",
            expected=f"a whole epoch in {', '.join(_UNITS)}, from 1973 on",
            instead="write all times in ms since 1970",
        )
    times = epochs.to_numpy("int64") * scale
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC")


def _nanoseconds(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How long the unit of each epoch is, 0 where it is none: shape (n,).

    Each value tells its own unit, since Binance's klines change from ms to us with the year 2025.
    """
    scale = np.zeros(len(values), np.int64)
    for length in _UNITS.values():
        earliest, latest = (second * (10**9 // length) for second in _EPOCHS)
        scale[(values >= earliest) & (values < latest)] = length
    return scale


def _from_iso(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    texts = _texts(column).str.strip()
    times = pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
    unread = times.isna().to_numpy()
    if unread.any():
        row = int(unread.argmax())
        raise origin.fault(
            row,
            f"the time is {_shown(column.iloc[row])}",
            expected="an epoch in s, ms, us or ns, or a time such as 2025-05-04T00:00:00Z",
            instead=REPAIR,
        )
    naive = ~texts.str.contains(_OFFSET).to_numpy(dtype=bool)
    if naive.any():
        row = int(naive.argmax())
        raise no_timezone(origin, row, texts.iloc[row])
    return pd.DatetimeIndex(times)
