"""The newest closed bars of an exchange: what a decision is made of, and no more of them.

They are held in memory. Nothing is written, and the end that a download pinned is not moved.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from gafcnn.data.bars import check_bars, gaps
from gafcnn.data.exchange import checked_interval
from gafcnn.data.klines import Klines
from gafcnn.data.sources import check_symbol
from gafcnn.durations import DurationLike, format_duration
from gafcnn.errors import DownloadError


class NewestBars:
    """The newest bars of one pair; each reading asks for those that closed since the last one.

    Args:
        symbol: Its name, as in `BNBUSDT`.
        exchange: One of ccxt's, as in `binance`.
        pair: Base and quote, as in `BNB/USDT`.
        interval: Time between two bars; a divisor of a day that the exchange offers.
        count: How many bars are held.
        settle: How long after its close a bar is first asked for: the clocks of exchange and
            machine differ a little, and the newest bar may come a little late.
        url: Base address of a mirror of the exchange's API; by default the exchange's own.

    Raises:
        ConfigError: The symbol is no plain name, or the interval no divisor of a day.
    """

    def __init__(
        self,
        symbol: str,
        exchange: str,
        pair: str,
        interval: DurationLike,
        count: int,
        settle: pd.Timedelta,
        url: str | None = None,
    ) -> None:
        check_symbol(symbol)
        self.symbol, self.interval = symbol, checked_interval(interval)
        self._exchange, self._pair, self._url = exchange, pair, url
        self._count, self._settle = count, settle
        self._held: pd.DataFrame | None = None
        self._klines: Klines | None = None

    def read(self, now: pd.Timestamp) -> pd.DataFrame:
        """The bars up to the newest that is closed and has settled at `now`.

        A gap is asked about again as long as it is among the bars that are held: a bar may come
        late.

        Raises:
            DownloadError: The exchange cannot be reached or does not answer with bars.
            BarsError: They cannot be trusted.
        """
        until: Any = (now - self._settle).floor(self.interval)  # never NaT
        since = until - self._count * self.interval
        earlier = []
        if self._held is not None:
            missing = gaps(self._held)
            last = missing["after"].iloc[0] if len(missing) else self._held.index[-1]
            earlier = [self._held.loc[since + self.interval : last]]
            since = max(since, last)
        pages = [bars for bars, _, _ in self._client().pages(since, until)]
        found = [bars for bars in (*earlier, *pages) if len(bars)]
        if not found:
            raise DownloadError(
                f"{self._exchange} has no {self._pair} bars of {format_duration(self.interval)} from "
                f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}",
                expected="some",
                instead="see whether the exchange still trades it, or correct market.pair",
            )
        bars = pd.concat(found)
        self._held = check_bars(bars, f"{self._exchange} {self._pair}", self.interval)
        return self._held

    def _client(self) -> Klines:
        if self._klines is None:
            self._klines = Klines(self._exchange, self._pair, self.interval, self._url, kept=None)
        return self._klines
