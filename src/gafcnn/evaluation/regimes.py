"""Market regimes at a decision time: volatility, trend, month. All are known at `t`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gafcnn.data.bars import interval_of, rolling_volatility
from gafcnn.durations import multiple_of

VOLATILITIES = ("low", "middle", "high")
TRENDS = ("down", "flat", "up")

TREND = 0.5
"""Standard deviations that make a trend: a random walk is flat 38 % of the time."""


def regimes(
    bars: pd.DataFrame,
    times: pd.DatetimeIndex,
    reference: pd.DatetimeIndex,
    lookback: pd.Timedelta,
) -> pd.DataFrame:
    """Return the regime at each decision time.

    Volatility is the standard deviation of the one-bar log returns between the closes of the
    `lookback` that ends at `t`; low, middle and high are terciles of the reference times. The trend
    is `z = log return over the lookback / (volatility * sqrt(number of returns))`: up above
    `TREND`, down below `-TREND`.

    Args:
        bars: Bars indexed by close time.
        times: Decision times, shape (n,).
        reference: Decision times that determine the terciles, such as those of training samples.
        lookback: At least three bars.

    Returns:
        A frame indexed by `times` with the columns `volatility` (of `VOLATILITIES`), `trend` (of
        `TRENDS`) and `month` ("2025-06", UTC). Volatility and trend are None where the lookback has
        a gap, and everywhere if no reference time has a gap-free lookback.

    Raises:
        ConfigError: The lookback is not a multiple of the bars' interval, or below three bars.
    """
    volatility = rolling_volatility(bars, "lookback", lookback)
    interval = interval_of(bars)
    length = multiple_of("lookback", lookback, interval)
    # constant prices have no trend
    z = np.zeros(len(bars))
    log_close = pd.Series(np.log(bars["close"].to_numpy(np.float64)))
    returns = log_close.diff(length - 1).to_numpy()
    np.divide(returns, volatility * np.sqrt(length - 1), out=z, where=volatility > 0)

    span = bars.index.to_series().diff(length - 1).to_numpy()
    complete = span == (interval * (length - 1)).to_timedelta64()
    rows, training = bars.index.get_indexer(times), bars.index.get_indexer(reference)
    known, training = (rows >= 0) & complete[rows], training[(training >= 0) & complete[training]]
    names = np.full((2, len(times)), None, dtype=object)
    if len(training):
        edges = np.quantile(volatility[training], [1 / 3, 2 / 3])
        tercile = np.searchsorted(edges, volatility[rows[known]], side="left")
        trend = 1 + (z[rows[known]] > TREND).astype(int) - (z[rows[known]] < -TREND)
        names[0, known], names[1, known] = np.array(VOLATILITIES)[tercile], np.array(TRENDS)[trend]
    return pd.DataFrame(
        {"volatility": names[0], "trend": names[1], "month": times.strftime("%Y-%m")}, index=times
    )
