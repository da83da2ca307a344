"""Trading calendars: which time counts as trading time.

The sessions of an exchange are those of exchange_calendars, by their ISO 10383 code, such as XNYS;
"24/5" are the weekdays, "forex" the week of currencies, from Sunday to Friday, 17:00 in New York.
Bars of a day and longer are counted in sessions, shorter ones in the time between the open and the
close of sessions, lunch breaks left out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import time
from functools import cache, cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import ConfigError, import_extra

ALWAYS = "24/7"

COMMON = (
    "XNYS", "XETR", "XLON", "XPAR", "XSWX", "XTKS", "XHKG", "XSHG", "XASX", "XTSE", "XBOM", "BVMF",
    "XAMS", "XMIL", "XMAD", "XSTO", "XWAR", "XIST", "XJSE", "XTAI", "XIDX", "XMEX",
    "CMES", "us_futures", "XEUR", "24/5", "forex", "XKRX",
)  # fmt: skip
"""The calendars that bars are compared with, if none is named."""

_DAY, _YEAR = (pd.to_timedelta(n, unit="D") for n in (1, 365))
_SATURDAY = 5
_CLEAR, _GOOD, _CERTAIN = 0.95, 0.99, 0.999  # shares of sessions and bars that fit
_RARE = 0.01  # a share of bars below which an offset is a fault

Nanoseconds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Calendar:
    """The trading time of an exchange.

    Attributes:
        name: Its code.
        opens: When each stretch of trading begins, ns since 1970, UTC.
        closes: When each ends.
        ends: The closes of sessions, which may have several stretches.
    """

    name: str
    opens: Nanoseconds
    closes: Nanoseconds
    ends: Nanoseconds

    @cached_property
    def _before(self) -> Nanoseconds:
        """Trading time before each stretch."""
        return np.r_[0, np.cumsum(self.closes - self.opens)]

    def trading_time(self, times: Nanoseconds) -> Nanoseconds:
        """Return the trading time until each moment, in ns."""
        at = np.maximum(np.searchsorted(self.opens, times, side="right") - 1, 0)
        inside = np.clip(times - self.opens[at], 0, self.closes[at] - self.opens[at])
        return self._before[at] + inside

    def numbers(self, closes: Nanoseconds, interval: pd.Timedelta) -> NDArray[np.float64]:
        """Return which bar of the calendar each one is, in bars of this length: shape (n,)."""
        if interval >= _DAY:
            return np.searchsorted(self.ends, closes, side="right") / _sessions(interval)
        return self.trading_time(closes - interval.value) / interval.value

    def apart(self, closes: Nanoseconds, interval: pd.Timedelta) -> Nanoseconds:
        """Return how many bars later each bar is than the one before it: (n - 1,).

        It is 0 for a step within a session that is shorter than a bar.
        """
        steps = np.diff(self.numbers(closes, interval))
        apart = np.maximum(np.ceil(steps - 1e-9).astype(np.int64), 1)
        if interval < _DAY:  # only the first and the last bar of a session may be shorter
            opened, short = closes[:-1] - interval.value, np.diff(closes) < interval.value
            at_edge = np.isin(opened, self.opens) | np.isin(closes[1:], self.closes)
            apart[short & self.is_open(opened) & ~at_edge] = 0
        return apart

    def is_open(self, times: Nanoseconds) -> NDArray[np.bool_]:
        """Whether each moment is in a session, its close left out."""
        at = np.searchsorted(self.opens, times, side="right") - 1
        return (at >= 0) & (times < self.closes[at])

    def rare_offsets(self, opens: Nanoseconds, interval: pd.Timedelta) -> NDArray[np.bool_]:
        """Return whether each bar's offset from the open of its session, in bars, is rare."""
        at = np.searchsorted(self.opens, opens, side="right") - 1
        phase = pd.Series((opens - self.opens[at]) % interval.value)
        return (phase.map(phase.value_counts(normalize=True)) < _RARE).to_numpy()

    def share_outside(self, closes: Nanoseconds, interval: pd.Timedelta) -> float:
        """Return the share of bars that belong to no session."""
        if interval >= _DAY:
            return float(np.mean(np.diff(self.numbers(closes, interval)) == 0))
        return float(np.mean(~self.is_open(closes - interval.value)))

    def slots(self, opens: Nanoseconds, interval: pd.Timedelta) -> tuple[Nanoseconds, Nanoseconds]:
        """Return begin and end of the coarser bar, up to a week, that each open time is in."""
        if interval < _DAY:
            at = np.maximum(np.searchsorted(self.opens, opens, side="right") - 1, 0)
            begins = self.opens[at] + (opens - self.opens[at]) // interval.value * interval.value
            return begins, np.minimum(begins + interval.value, self.closes[at])
        if interval not in (_DAY, 7 * _DAY):
            raise ConfigError(
                f"market.interval is {interval // _DAY}D in the calendar {self.name}",
                expected="a part of a day, a day or a week",
                instead="set market.interval=1D or market.interval=7D",
            )
        session = np.searchsorted(self.ends, opens, side="right")
        firsts = lasts = np.arange(len(self.ends))
        if interval > _DAY:  # 1970 began on a Thursday
            week = (self.ends // _DAY.value + 3) // 7
            firsts, lasts = (np.searchsorted(week, week, side=one) for one in ("left", "right"))
            lasts = lasts - 1
        begins = self.opens[np.searchsorted(self.opens, np.r_[0, self.ends[:-1]])]
        return begins[firsts[session]], self.ends[lasts[session]]

    def bars_per_year(self, interval: pd.Timedelta) -> float:
        """Return the number of bars in a year of 365 days."""
        years = (self.closes[-1] - self.opens[0]) / _YEAR.value
        if interval >= _DAY:
            return float(len(self.ends) / _sessions(interval) / years)
        return float(self._before[-1] / interval.value / years)

    def fit(self, closes: Nanoseconds, interval: pd.Timedelta) -> float:
        """Return how well bars fit the calendar: the lowest of shares that should be 1."""
        numbers = self.numbers(closes, interval)
        if interval >= _DAY:
            inside = np.mean(np.diff(numbers) > 0)
            return float(min(inside, len(closes) / max(numbers[-1] - numbers[0] + 1, 1)))
        opened = closes - interval.value
        within = self.is_open(opened)
        at = np.searchsorted(self.opens, opened[within], side="right") - 1
        found, firsts = np.unique(at, return_index=True)
        if not len(found):
            return 0.0
        first, last = opened[within][firsts], closes[within][np.r_[firsts[1:], 0] - 1]
        lengths = self.closes[found] - self.opens[found]
        steps = np.r_[0, np.diff(opened[within])]
        steps[firsts] = 0
        pauses = np.maximum.reduceat(steps, firsts)
        pauses[pauses < lengths / 4] = 0  # of sessions with few trades
        covered = (np.minimum(last, self.closes[found]) - first - pauses) / lengths
        traded = len(found) / (found[-1] - found[0] + 1)
        return float(min(np.mean(within), np.median(covered), traded))


@cache
def load_calendar(name: str, since: int) -> Calendar:
    """Return a calendar by its code, with the sessions from the year before `since` on.

    The first week of `since` may begin in the year before.

    Raises:
        ConfigError: There is no such calendar, or exchange_calendars is not installed.
    """
    library = import_extra("exchange_calendars", "calendars")  # takes a second to import
    library.register_calendar_type("forex", _forex(library), force=True)
    try:
        with warnings.catch_warnings():  # of pandas about the library
            warnings.simplefilter("ignore")
            found = library.get_calendar(name, start=f"{since - 1}-01-01")
    except Exception as error:  # of a library whose errors have no common type
        raise ConfigError(
            f"market.calendar is {name!r} ({str(error).splitlines()[0]})",
            expected=f"{ALWAYS}, {', '.join(COMMON)} or another code of exchange_calendars",
            instead=f"set market.calendar={ALWAYS}, or leave it out",
        ) from error
    schedule = found.schedule

    def moments(*columns: str) -> Nanoseconds:
        times = pd.concat([schedule[column].dropna() for column in columns])
        return np.sort(times.to_numpy("datetime64[ns]").astype(np.int64))

    # in order of time, the nth stretch of trading ends with the nth close
    opens, closes = moments("open", "break_end"), moments("close", "break_start")
    return Calendar(name, opens, closes, ends=moments("close"))


def detect_calendar(closes: Nanoseconds, interval: pd.Timedelta) -> str | None:
    """Return the common calendar that bars clearly follow; None if they trade on Saturdays."""
    opens = pd.Series((closes - interval.value).view("datetime64[ns]")).dt
    regular = np.diff(closes) == interval.value
    days = len(np.unique(closes // _DAY.value))  # with bars
    short = days < 4 or closes[-1] - closes[0] < 3 * _DAY.value
    on_saturdays = (opens.day_of_week == _SATURDAY).mean() > 0.01
    if short or regular.all() or on_saturdays or interval >= 2 * _DAY:
        return None
    best, fit = None, _CLEAR
    for name in COMMON:
        # the holidays of Korea take seconds to compute
        if fit > (_GOOD if name == "XKRX" else _CERTAIN):
            break
        try:
            calendar = load_calendar(name, int(opens.year.iloc[0]))
        except ConfigError:  # it does not reach so far back
            continue
        found = calendar.fit(closes, interval)
        if found > fit:
            best, fit = name, found
    return best


def _forex(library: Any) -> type:
    """Return the calendar of currencies, whose day ends at 17:00 in New York."""
    times, zone = ((None, time(17)),), ZoneInfo("America/New_York")
    hours = {"open_times": times, "close_times": times, "open_offset": -1}
    return type("Forex", (library.ExchangeCalendar,), {"name": "forex", "tz": zone, **hours})


def _sessions(interval: pd.Timedelta) -> int:
    """Return the sessions of a bar of a day and longer: 5 for a week."""
    return max(1, int(np.ceil(interval / _DAY * 5 / 7)))
