"""Selection of the columns of a table, and their conversion to numbers and times."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import (
    COLUMNS,
    PRICES,
    Origin,
    check_bars,
    check_calendar,
    check_count,
    check_timezone,
    interval_of,
)
from gafcnn.durations import DurationLike
from gafcnn.errors import BarsError

TIMES = ("open_time", "opentime", "date", "timestamp", "time", "datetime", "close_time")
"""Names that exchanges and tools give to the time of a bar; all but the last are open times."""

# the size of an epoch determines its unit: seconds from 1973 to 2100 are not milliseconds
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # ns
_EPOCHS = (1e8, 4.1e9)

# the end of a time with an offset; a date alone ends in a hyphen and digits as well
_OFFSET = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def select_columns(source: object, names: Sequence[str], time: str | None = None) -> dict[str, str]:
    """Return the columns of a table to use, and the standard name of each.

    Args:
        source: The file or other origin, for error messages.
        names: The table's column names; case, spaces and underscores do not matter.
        time: The column of times, which is returned as "time"; "" for none of the columns; None
            for the first of `TIMES` that the table has.

    Raises:
        BarsError: A column is missing or occurs twice.
    """
    plain = [name.strip().lower().replace(" ", "_") for name in names]
    if time:
        plain = [
            "time" if name == time else other for name, other in zip(names, plain, strict=True)
        ]
        times = ["time"]
    else:
        times = [next((name for name in TIMES if name in plain), TIMES[0])] * (time is None)
    # a volume of another name is an error, so that it is not ignored unnoticed
    has_volume = any("vol" in name for name in plain)
    wanted = (*times, *(COLUMNS if has_volume else PRICES))
    missing = [time if time and name == "time" else name for name in wanted if name not in plain]
    if missing:
        raise BarsError(
            f"{source} has no column {' or '.join(missing)}, only {reprlib.repr(list(names))}",
            expected=f"a time ({', '.join(TIMES)}) and {', '.join(COLUMNS)}",
            instead="rename the columns (volume may be absent)",
        )
    twice = [name for name in wanted if plain.count(name) > 1]
    if twice:
        raise BarsError(
            f"{source} has the column {twice[0]} twice",
            expected="each column once",
            instead="remove or rename one",
        )
    return {names[plain.index(name)]: name for name in wanted}


def convert(
    table: pd.DataFrame,
    times: pd.Series,
    origin: Origin,
    *,
    timezone: str | None,
    label: str,
    interval: DurationLike | None,
) -> pd.DataFrame:
    """Return checked bars from a table of prices and volume, and their open or close times.

    Raises:
        BarsError: See `check_bars`.
    """
    check_count(len(table), origin)
    frame = pd.DataFrame({name: to_numbers(column, origin) for name, column in table.items()})
    frame = frame.reindex(columns=list(COLUMNS)).set_axis(to_times(times, origin, timezone))
    bars = check_bars(frame, origin, interval)
    if label == "close":
        return bars
    closes = pd.DatetimeIndex(bars.index + interval_of(bars))
    check_calendar(closes, origin)
    return bars.set_axis(closes)


def to_numbers(column: pd.Series, origin: Origin) -> NDArray[np.float64]:
    """Return a column of numbers, or of texts that hold numbers, as float64, shape (n,).

    Raises:
        BarsError: A text is not a number; names the row.
    """
    numbers = _as_numbers(column).to_numpy("float64")
    # NaN in a numeric column is left to check_bars
    valid = ~np.isnan(numbers) | (column.dtype.kind in "iuf")
    origin.require(valid, lambda row: f"{column.name} is {_shown(column.iloc[row])}", "a number")
    return numbers


def to_times(column: pd.Series, origin: Origin, timezone: str | None = None) -> pd.DatetimeIndex:
    """Return a column of timestamps, epochs or ISO texts as timezone-aware times, shape (n,).

    Args:
        column: The times.
        origin: Where they come from, for error messages.
        timezone: Time zone of times without one; None if that is an error.

    Raises:
        BarsError: A cell is not a time, or has no timezone; names the row.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column)
    if column.dtype.kind == "M":
        check_timezone([timezone is not None], column.to_numpy(), origin)
        return _localized(pd.DatetimeIndex(column), str(timezone), origin)
    # the first row determines the format of all
    if _as_numbers(column.head(1)).notna().all():
        return _from_epochs(column, origin)
    return _from_iso(column, origin, timezone)


def _as_numbers(column: pd.Series) -> pd.Series:
    """Return numbers unchanged and texts as the numbers they hold, NaN for other texts."""
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


def _from_epochs(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    epochs = _as_numbers(column)
    values = epochs.to_numpy("float64")
    # per value, since Binance's klines change from ms to us with the year 2025
    scale = np.zeros(len(values), np.int64)
    for length in _UNITS.values():
        earliest, latest = (second * (10**9 // length) for second in _EPOCHS)
        scale[(values >= earliest) & (values < latest)] = length
    origin.require(
        (scale > 0) & (values == np.trunc(values)),
        lambda row: f"the time is {_shown(column.iloc[row])}",
        f"a whole epoch in {', '.join(_UNITS)}, from 1973 on",
    )
    times = epochs.to_numpy("int64") * scale
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC")


def _from_iso(column: pd.Series, origin: Origin, timezone: str | None) -> pd.DatetimeIndex:
    texts = _texts(column).str.strip()
    times = pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
    origin.require(
        times.notna(),
        lambda row: f"the time is {_shown(column.iloc[row])}",
        "an epoch in s, ms, us or ns, or a time such as 2025-05-04T00:00:00Z",
    )
    aware = texts.str.contains(_OFFSET).to_numpy(dtype=bool)
    if timezone is not None and not aware.any():
        return _localized(pd.DatetimeIndex(times).tz_localize(None), timezone, origin)
    check_timezone(aware, texts.to_numpy(), origin)
    return pd.DatetimeIndex(times)


def _localized(times: pd.DatetimeIndex, timezone: str, origin: Origin) -> pd.DatetimeIndex:
    try:
        return times.tz_localize(timezone)
    except Exception as error:  # an unknown zone, or an hour that occurs twice or never
        raise BarsError(
            f"{origin.source}: the times cannot be read with timezone={timezone!r} ({error})",
            expected='a zone such as "UTC" or "America/New_York" where each time occurs once',
            instead="convert the times to UTC",
        ) from error
