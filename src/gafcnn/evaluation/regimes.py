"""What the market was like at a decision time: its volatility, its trend, its month.

All of it is known at `t`; the borders between low, middle and high volatility are those of the
training samples.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.durations import format_duration, multiple_of
from gafcnn.errors import ConfigError, PredictionsError

VOLATILITIES = ("low", "middle", "high")
TRENDS = ("down", "flat", "up")

TREND = 0.5
"""Standard deviations beyond which there is a trend: a random walk is flat 38 % of the time."""


def regimes(
    bars: pd.DataFrame,
    times: pd.DatetimeIndex,
    train_times: pd.DatetimeIndex,
    lookback: pd.Timedelta,
) -> pd.DataFrame:
    """The regime at each decision time.

    Volatility is the standard deviation of the one-bar log returns between the closes of the
    `lookback` that ends at `t`, and low, middle or high by the terciles of the training samples.
    The trend is `z = log return over the lookback / (volatility * sqrt(number of returns))`: up
    above `TREND`, down below `-TREND`.

    Args:
        bars: Bars indexed by close time.
        times: Decision times, shape (n,).
        train_times: Decision times of the training samples, at least one.
        lookback: At least three bars, without a gap before each decision time.

    Returns:
        A frame indexed by `times` with the columns `volatility` (of `VOLATILITIES`), `trend` (of
        `TRENDS`) and `month` ("2025-06", UTC).

    Raises:
        ConfigError: The lookback is no multiple of the bars' interval, or shorter than three bars.
        PredictionsError: There is no training sample, or a time does not end a whole lookback.
    """
    length = _bars_of(lookback, interval_of(bars))
    volatility, z = _volatility_and_trend(bars["close"].to_numpy(np.float64), length)
    edges = _terciles(volatility[_rows(bars, train_times, length)])
    rows = _rows(bars, times, length)
    tercile = np.searchsorted(edges, volatility[rows], side="left")
    trend = 1 + (z[rows] > TREND).astype(int) - (z[rows] < -TREND)
    return pd.DataFrame(
        {
            "volatility": np.array(VOLATILITIES)[tercile],
            "trend": np.array(TRENDS)[trend],
            "month": times.strftime("%Y-%m"),
        },
        index=times,
    )


def _bars_of(lookback: pd.Timedelta, interval: pd.Timedelta) -> int:
    """The bars of a lookback that holds two returns or more."""
    length = multiple_of("window.lookback", lookback, interval)
    if length < 3:
        raise ConfigError(
            f"the lookback of regimes is {format_duration(lookback)}",
            expected="at least three bars, so that there are two returns",
            instead=f"set window.lookback to {format_duration(interval * 3)} or more",
        )
    return length


def _volatility_and_trend(
    close: NDArray[np.float64], length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Volatility of the `length` closes up to each bar and z of their return: shape (n_bars,)."""
    log_close = pd.Series(np.log(close))
    returns = log_close.diff(length - 1).to_numpy()
    volatility = log_close.diff().rolling(length - 1).std().to_numpy()
    z = np.zeros(len(close))
    # prices that stood still have neither, and are flat
    np.divide(returns, volatility * np.sqrt(length - 1), out=z, where=volatility > 0)
    return volatility, z


def _rows(bars: pd.DataFrame, times: pd.DatetimeIndex, length: int) -> NDArray[np.int64]:
    """The rows of bars that close at `times`, each after `length` bars without a gap."""
    close_times = bars.index
    rows = close_times.get_indexer(times)
    firsts = rows - length + 1
    whole = (rows >= 0) & (firsts >= 0)
    spans = close_times[rows[whole]] - close_times[firsts[whole]]
    whole[whole] = spans == interval_of(bars) * (length - 1)
    if not whole.all():
        raise PredictionsError(
            f"{int((~whole).sum()):,} of {len(times):,} decision times do not end {length} bars "
            f"without a gap, first {times[~whole][0]:%Y-%m-%d %H:%M} UTC",
            expected="decision times of samples of these bars",
            instead="judge the predictions on the bars and the window.lookback of their study",
        )
    return rows.astype(np.int64)


def _terciles(volatility: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(volatility):
        raise PredictionsError(
            "there is no training sample to tell low volatility from high by",
            expected="the decision times of at least one",
            instead="give the times of the training samples of the study",
        )
    return np.quantile(volatility, [1 / 3, 2 / 3])
