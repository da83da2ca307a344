"""Times in the notations of exchanges and tools.

epochs          1704187800, in s, ms, us or ns, whichever the size shows
ISO 8601        2024-01-02T09:30:00Z, 2024-01-02 09:30:00-05:00, 2024-01-02
digits          20240102, 20240102 093000, 202401020930, 2024010209
dots            2024.01.02 09:30, and 02.01.2024 09:30, which has the day first
slashes         2024/01/02, and 01/02/2024, the month or the day first as the rows allow
names           Jan 02, 2024, and 02-Jan-2024
12-hour clock   2024-01-02 11-PM, 2024-01-02 09:30 AM
zones           Z, UTC, GMT, +01:00, GMT+0100, and names such as US/Eastern after any of these
"""

from __future__ import annotations

import re
import reprlib
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from gafcnn.data.bars import Origin
from gafcnn.errors import BarsError

Kind: TypeAlias = Literal["epoch", "aware", "naive", "date", "clock"]

# the size of an epoch determines its unit: seconds from 1973 to 2100 are not milliseconds
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # ns
_EPOCHS = (1e8, 4.1e9)

# notations of dates and of times of day, and their formats; the first that matches counts
_DATES = {
    r"\d{4}-\d\d-\d\d": ("%Y-%m-%d",),
    r"\d{4}\.\d\d\.\d\d": ("%Y.%m.%d",),
    r"\d{4}/\d\d?/\d\d?": ("%Y/%m/%d",),
    r"(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d": ("%Y%m%d",),
    r"\d\d?\.\d\d?\.\d{4}": ("%d.%m.%Y",),
    r"\d\d?/\d\d?/\d{4}": ("%m/%d/%Y", "%d/%m/%Y"),
    r"[A-Z]{3} \d\d?, \d{4}": ("%b %d, %Y",),
    r"\d\d?-[A-Z]{3}-\d{4}": ("%d-%b-%Y",),
}
_CLOCKS = {
    r"[0-2]\d": "%H",
    r"\d\d?:\d\d": "%H:%M",
    r"\d\d?:\d\d:\d\d": "%H:%M:%S",
    r"\d\d?:\d\d:\d\d\.\d+": "%H:%M:%S.%f",
    r"\d\d?:\d\d ?[AP]M": "%I:%M %p",
    r"\d\d?:\d\d:\d\d ?[AP]M": "%I:%M:%S %p",
    r"\d\d?-[AP]M": "%I-%p",
    r"[0-2]\d[0-5]\d": "%H%M",
    r"[0-2]\d[0-5]\d[0-5]\d": "%H%M%S",
}
_ZONE = r"Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|UTC|GMT|[A-Z]\w+/[\w/]+"
_WHOLE = re.compile(
    rf"({'|'.join(_DATES)})(?:([T ]*)({'|'.join(reversed(_CLOCKS))}))?(\s*)({_ZONE})?",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"^(\d{8,14})\.0$")  # the date 20240102.0 is one of a column of floats
_EXPECTED = "an epoch in s, ms, us or ns, or a time such as 2025-05-04T00:00:00Z"


def kind_of(value: object) -> Kind | None:
    """Return what kind of time a value is; a `date` alone, a `clock` alone; None for no time."""
    if isinstance(value, pd.Timestamp):
        return "naive" if value.tz is None else "aware"
    text = _DIGITS.sub(r"\1", str(value).strip())
    if found := _WHOLE.fullmatch(text):
        return "aware" if found[5] else "naive" if found[3] else "date"
    if any(re.fullmatch(clock, text, re.IGNORECASE) for clock in _CLOCKS):
        return "clock"
    try:
        number = float(text)
    except ValueError:
        return None
    seconds = [number * length / 10**9 for length in _UNITS.values()]
    return "epoch" if any(_EPOCHS[0] <= one < _EPOCHS[1] for one in seconds) else None


def parse_times(
    column: pd.Series, origin: Origin, timezone: str | None
) -> tuple[pd.DatetimeIndex, str]:
    """Return times in UTC, and how they were read, in words.

    Times are timestamps, epochs, or texts in one of the notations above; the timezone is that of
    times without one. A time without any, or of several possible meanings, raises a BarsError.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column).tz_convert("UTC"), "timestamps"
    if column.dtype.kind == "M":
        return _localize(pd.DatetimeIndex(column), origin, timezone)
    kind = kind_of(column.iloc[0])
    if kind == "epoch" or (column.dtype.kind in "iuf" and kind is None):
        stamps = pd.to_datetime(
            column.iloc[:1000].astype("str"), format="%y%m%d%H%M", errors="coerce"
        )
        if len(stamps) > 1 and stamps.notna().all():
            raise BarsError(
                f"{origin.source}: the times ({column.iloc[0]}) may be dates without a century",
                expected="an epoch, or a date with the year in four digits",
                instead="write them as 2024-01-31 09:30",
            )
        return from_epochs(column, origin), "epochs"
    texts = pd.Series(column.astype("str").to_numpy(), dtype="str").str.strip()
    texts = texts.str.replace(_DIGITS, r"\1", regex=True)
    found = _WHOLE.fullmatch(texts.iloc[0])
    origin.require(
        [found is not None], lambda row: f"the time is {reprlib.repr(texts.iloc[row])}", _EXPECTED
    )
    assert found is not None
    date, gap, clock, space, zone = (part or "" for part in found.groups())
    if "/" in zone:  # a name, the same in all rows
        return parse_times(texts.str.removesuffix(zone).str.strip(), origin, zone)
    if zone[:3].upper() in ("UTC", "GMT"):
        texts = texts.str.replace(r"\s*(?:UTC|GMT)(?=[+-])", "", regex=True, case=False)
        texts = texts.str.replace(r"\s*(?:UTC|GMT)$", "+00:00", regex=True, case=False)
        space = ""
    of_clock = gap + next(
        (f for notation, f in _CLOCKS.items() if re.fullmatch(notation, clock, re.IGNORECASE)), ""
    )
    formats = next(of for notation, of in _DATES.items() if re.fullmatch(notation, date, re.I))
    written = [f"{one}{of_clock}{space}{'%z' if zone else ''}" for one in formats]
    if formats == ("%Y-%m-%d",) and "M" not in clock.upper() and (clock or not zone):
        written = ["ISO8601"]  # which may vary from row to row
    parsed = [
        pd.DatetimeIndex(pd.to_datetime(texts, format=f, errors="coerce", utc=True))
        for f in written
    ]
    valid = [int(one.notna().sum()) for one in parsed]
    if valid[0] == valid[-1] and not parsed[0].equals(parsed[-1]):
        raise BarsError(
            f"{origin.source}: the dates ({texts.iloc[0]}) may have the day or the month first",
            expected="dates that only one of them fits",
            instead="write them as 2024-01-31, or use a longer file",
        )
    times = parsed[int(np.argmax(valid))]  # the only possible, or that of most rows
    origin.require(
        times.notna(), lambda row: f"the time is {reprlib.repr(texts.iloc[row])}", _EXPECTED
    )
    # a date alone ends in a hyphen and digits as well
    offset = r"[T ]\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$" if clock else r"\d(?:Z|[+-]\d\d:?\d\d)$"
    aware = texts.str.contains(offset, case=False).to_numpy(dtype=bool)
    origin.require(
        aware == bool(zone),
        lambda row: f"the time is {texts.iloc[row]}, after {texts.iloc[0]}",
        "an offset in every row, or in none",
    )
    if not zone:
        return _localize(times.tz_localize(None), origin, timezone)
    return times, "times in UTC" if zone in ("Z", "UTC", "GMT") else f"times with offsets ({zone})"


def from_epochs(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    """Return epochs in s, ms, us or ns, whichever their size shows, as times in UTC."""
    epochs = as_numbers(column)
    values = epochs.to_numpy("float64")
    # per value, since Binance's klines change from ms to us with the year 2025
    scale = np.zeros(len(values), np.int64)
    for length in _UNITS.values():
        earliest, latest = (second * (10**9 // length) for second in _EPOCHS)
        scale[(values >= earliest) & (values < latest)] = length
    if column.dtype.kind not in "iuf" and "E+" in str(column.iloc[0]).upper():
        raise BarsError(
            f"{origin.source}: the times have lost digits (the first is {column.iloc[0]})",
            expected="epochs with all digits",
            instead="export the file again without opening it in a spreadsheet",
        )
    origin.require(
        (scale > 0) & (values == np.trunc(values)),
        lambda row: f"the time is {reprlib.repr(str(column.iloc[row]))}",
        f"a whole epoch in {', '.join(_UNITS)}, from 1973 on",
    )
    times = epochs.to_numpy("int64") * scale
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC")


def as_numbers(column: pd.Series) -> pd.Series:
    """Return numbers unchanged and texts as the numbers they hold, NaN for other texts."""
    if column.dtype.kind in "iuf":
        return column
    return pd.Series(pd.to_numeric(column.astype("str"), errors="coerce"))


def _localize(
    times: pd.DatetimeIndex, origin: Origin, timezone: str | None
) -> tuple[pd.DatetimeIndex, str]:
    origin.require(
        [timezone is not None],
        lambda row: f"the time {times[row]} has no timezone",
        "UTC epochs, times with an offset, or the timezone as an option",
        'add timezone="UTC" or timezone="America/New_York" (market.timezone=UTC), for example',
    )
    try:
        # the order of the rows tells the two equal hours at the end of daylight saving time apart
        order = slice(None, None, -1 if times.asi8[0] > times.asi8[-1] else 1)
        local = times[order].tz_localize(timezone, ambiguous="infer")[order]
        return local.tz_convert("UTC"), f"times in {timezone}"
    except Exception as error:  # an unknown zone, or an hour that should occur twice or never
        raise BarsError(
            f"{origin.source}: the times cannot be read with timezone={timezone!r} "
            f"({str(error).partition('. ')[0].partition(',')[0].rstrip('.')})",
            expected='a zone such as "America/New_York", in which all of them exist',
            instead="correct the zone (UTC if all days have this hour), or remove the hours in "
            "which the clocks change",
        ) from error
