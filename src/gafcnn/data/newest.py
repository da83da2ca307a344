"""The newest closed bars of an exchange, for live decisions. They are held in memory only."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gafcnn.data.bars import check_bars, gaps
from gafcnn.data.klines import Klines
from gafcnn.durations import format_duration
from gafcnn.errors import DownloadError


class NewestBars:
    """The newest bars of a pair. Each call of `read` requests those that closed since the last.

    Args:
        exchange: An exchange that ccxt supports.
        pair: Base and quote, such as BNB/USDT.
        interval: Time between two bars.
        count: Number of bars.
        settle: How long after its close a bar is requested.
        url: Base address of a mirror of the exchange's API; by default the exchange's own.
    """

    def __init__(
        self,
        exchange: str,
        pair: str,
        interval: pd.Timedelta,
        count: int,
        settle: pd.Timedelta,
        url: str | None = None,
    ) -> None:
        self.exchange, self.pair, self.interval, self.url = exchange, pair, interval, url
        self.count, self.settle = count, settle
        self._held: pd.DataFrame | None = None
        self._klines: Klines | None = None

    def read(self, now: pd.Timestamp) -> pd.DataFrame:
        """Return the bars up to the newest one that closed `settle` before `now`.

        Bars that are missing are requested again with the next call, since they may be late.

        Raises:
            DownloadError: The exchange cannot be reached or does not answer with bars.
            BarsError: The bars are invalid.
        """
        until: Any = (now - self.settle).floor(self.interval)
        since = until - self.count * self.interval
        found = []
        if self._held is not None:
            missing = gaps(self._held)
            last = missing["after"].iloc[0] if len(missing) else self._held.index[-1]
            found = [self._held.loc[since + self.interval : last]]
            since = max(since, last)
        if self._klines is None:
            self._klines = Klines(self.exchange, self.pair, self.interval, self.url)
        found = [*found, *(bars for bars, _, _ in self._klines.pages([(since, until)]))]
        if not any(map(len, found)):
            raise DownloadError(
                f"{self.exchange} has no {self.pair} bars of {format_duration(self.interval)} from "
                f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}",
                expected="at least two",
                instead="check market.pair",
            )
        bars = pd.concat([bars for bars in found if len(bars)])
        self._held = check_bars(bars, f"{self.exchange} {self.pair}", self.interval)
        return self._held
