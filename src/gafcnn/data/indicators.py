"""Technical indicators of every bar, each known when that bar closes.

All are independent of the level of prices and of volume: distances are measured in average true
ranges, returns in standard deviations, volumes in average volumes. Most are functions of TA-Lib
(https://ta-lib.org) and keep its names. Each gap-free stretch of bars is computed separately, so no
indicator spans a gap; it is NaN where a stretch has too few earlier bars. Periods are numbers of
bars; those of bars longer than a day are numbers of sessions, so that `sigma_60` of weekly bars is
known after 12 of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib
from numpy.typing import NDArray

from gafcnn.data.bars import COLUMNS, EXTRAS, bars_per_day, ensure_bars, stretches

Floats = NDArray[np.float64]
Columns = dict[str, Floats]

ATR = 14  # bars of the average true range that is the unit of distances (Wilder, 1978)
SIGMA = 60  # bars of the standard deviation that is the unit of returns
MEMORY = 2500
"""Bars after which no indicator depends on where its stretch began, except for rounding.

The slowest to forget is Wilder's average over 56 bars: what is n bars old has a weight of
(1 - 1/56)^n, which is below the resolution of float64 for n > 2,040.
"""
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
PATTERNS = {
    name: f"CDL{name.replace('_', '').upper()}"
    for name in ("engulfing", "harami", "hammer", "shooting_star", "doji")
}
"""Functions of TA-Lib by the name of the indicator."""


class Stretch:
    """Bars without a gap, as arrays of shape (n,), and the units of the indicators."""

    def __init__(self, bars: pd.DataFrame) -> None:
        self.open, self.high, self.low, self.close, self.volume = (
            bars[name].to_numpy(np.float64, copy=True) for name in COLUMNS
        )
        self.extras = {name: bars[name].to_numpy(np.float64) for name in EXTRAS if name in bars}
        self.times = bars.index.to_numpy("datetime64[ns]")
        self._per_period = min(1.0, bars_per_day(bars))
        self.atr: Floats = talib.ATR(self.high, self.low, self.close, self.n(ATR))
        self.returns: Floats = _change(np.log(self.close), 1)
        self.sigma = _deviation(self.returns, self.n(SIGMA))

    def n(self, period: int, least: int = 2) -> int:
        """Return a period as a number of bars."""
        return max(least, round(period * self._per_period))


def indicators(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute all indicators of bars, indexed by close time.

    Returns:
        Frame of float32, indexed like the bars, one column per indicator in the order of `GROUPS`;
        those of trades and takers only if the bars have them. NaN where there are too few earlier
        bars, or where a denominator is 0. A row depends on bars up to and including its own, and on
        no later one.

    Raises:
        BarsError: The bars did not pass through `as_bars`.
    """
    parts: list[NDArray[np.float32]] = []
    columns: Columns = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for part in stretches(ensure_bars(bars)):
            stretch = Stretch(part)
            columns = {name: values for group in GROUPS for name, values in group(stretch).items()}
            # one array with a row per indicator, as a DataFrame stores it: building a DataFrame
            # from columns takes longer than computing them
            parts.append(np.stack([*columns.values()], dtype=np.float32, casting="unsafe"))
    table = np.concatenate(parts, axis=1)
    np.copyto(table, np.nan, where=~np.isfinite(table))
    return pd.DataFrame(table.T, bars.index, list(columns))


def trend(bars: Stretch) -> Columns:
    """Distances from averages, and the strength of a trend."""
    close, high, low, atr, n = bars.close, bars.high, bars.low, bars.atr, bars.n
    averages = {length: talib.EMA(close, n(length)) for length in (8, 21, 55)}
    macd, signal, histogram = talib.MACD(close, n(12), n(26), n(9))
    return {
        **{f"ema_{length}": (close - average) / atr for length, average in averages.items()},
        "ema_8_21": (averages[8] - averages[21]) / atr,
        "ema_21_55": (averages[21] - averages[55]) / atr,
        "macd": macd / atr,
        "macd_signal": signal / atr,
        "macd_histogram": histogram / atr,
        "adx_14": talib.ADX(high, low, close, n(14)),
        "di_14": talib.PLUS_DI(high, low, close, n(14)) - talib.MINUS_DI(high, low, close, n(14)),
        "aroon_25": talib.AROONOSC(high, low, n(25)),
        **{f"slope_{length}": talib.LINEARREG_SLOPE(close, n(length)) / atr for length in (14, 48)},
        "sar": (close - talib.SAR(high, low)) / atr,
        "channel_20": _within(close, talib.MIN(low, n(20)), talib.MAX(high, n(20))),
        "channel_60": _within(close, talib.MIN(low, n(60)), talib.MAX(high, n(60))),
    }


def momentum(bars: Stretch) -> Columns:
    """Past returns and oscillators."""
    high, low, close, n = bars.high, bars.low, bars.close, bars.n
    path = np.log(close)
    slow_k, slow_d = talib.STOCH(high, low, close)
    fast_k, _ = talib.STOCHRSI(close, n(14))
    return {
        **{
            f"return_{back}": _change(path, n(back, 1)) / (bars.sigma * np.sqrt(n(back, 1)))
            for back in (1, 2, 4, 8, 16, 32, 48)
        },
        **{f"return_before_{back}": _before(bars.returns / bars.sigma, back) for back in (1, 2, 3)},
        **{f"rsi_{length}": talib.RSI(close, n(length)) for length in (7, 14, 28)},
        "stoch_k": slow_k,
        "stoch_d": slow_d,
        "stoch_rsi": fast_k,
        "cci_20": talib.CCI(high, low, close, n(20)),
        "ultosc": talib.ULTOSC(high, low, close, n(7), n(14), n(28)),
        "trix_15": talib.TRIX(close, n(15)) / bars.sigma,
    }


def volatility(bars: Stretch) -> Columns:
    """The size of price moves, now and compared with earlier."""
    n = bars.n
    upper, middle, lower = talib.BBANDS(bars.close, n(20))
    return {
        "natr_14": talib.NATR(bars.high, bars.low, bars.close, n(ATR)),
        "atr_14_56": bars.atr / talib.ATR(bars.high, bars.low, bars.close, n(56)),
        "sigma_60": bars.sigma,
        "sigma_10_60": _deviation(bars.returns, n(10)) / bars.sigma,
        "sigma_30_60": _deviation(bars.returns, n(30)) / bars.sigma,
        "bollinger_20": _within(bars.close, lower, upper),
        "bollinger_width_20": (upper - lower) / middle / bars.sigma,
        "range_1_20": np.log(bars.high / bars.low) / _mean(np.log(bars.high / bars.low), n(20)),
    }


def volume(bars: Stretch) -> Columns:
    """Traded volume, and whether it went with rising or falling prices."""
    high, low, close, traded, n = bars.high, bars.low, bars.close, bars.volume, bars.n
    average = _mean(traded, n(20))
    balance = _change(talib.OBV(close, traded), n(20)) / (n(20) * average)
    money = _mean((2 * _within(close, low, high) - 1) * traded, n(20)) / average
    paid = _mean((high + low + close) / 3 * traded, n(20)) / average
    return {
        "volume_1_20": np.log(traded / average),
        "volume_5_60": np.log(_mean(traded, n(5)) / _mean(traded, n(60))),
        "obv_20": balance,
        "mfi_14": talib.MFI(high, low, close, traded, n(14)),
        "adosc": talib.ADOSC(high, low, close, traded) / average,
        "money_flow_20": money,
        "vwap_20": (close - paid) / bars.atr,
        "price_volume_20": talib.CORREL(close, traded, n(20)),
        **_participants(bars),
    }


def _participants(bars: Stretch) -> Columns:
    """Who traded: the share of buying takers and the size of trades, as far as they are known."""
    traded, found, known, n = bars.volume, dict[str, Floats](), bars.extras, bars.n
    if "taker_buy_volume" in known:
        bought = known["taker_buy_volume"]
        found["taker_buy_share"] = bought / traded
        found["taker_buy_share_20"] = _mean(bought, n(20)) / _mean(traded, n(20))
    if "trades" in known:
        trades = known["trades"]
        usual, average = _mean(trades, n(20)), _mean(traded, n(20))
        found["trades_1_20"] = np.log(trades / usual)
        found["trade_size_1_20"] = np.log(traded / trades * usual / average)
    return found


def candle(bars: Stretch) -> Columns:
    """The shape of the last bar, and TA-Lib's patterns (1 bullish, -1 bearish, 0 none)."""
    prices = bars.open, bars.high, bars.low, bars.close
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    return {
        "body": (bars.close - bars.open) / bars.atr,
        "range": (bars.high - bars.low) / bars.atr,
        "upper_shadow": (bars.high - top) / bars.atr,
        "lower_shadow": (bottom - bars.low) / bars.atr,
        "close_in_range": _within(bars.close, bars.low, bars.high),
        "gap": (bars.open - _before(bars.close, 1)) / bars.atr,
        "bop": talib.BOP(*prices),
        **{name: getattr(talib, function)(*prices) / 100 for name, function in PATTERNS.items()},
    }


def calendar(bars: Stretch) -> Columns:
    """Time of day and time of week of the close (UTC), each as a point on a circle."""
    since = bars.times - np.datetime64(0, "ns")  # a Thursday
    return {
        f"{wave}_{name}": function(2 * np.pi * (since % period / period))
        for name, period in (("day", DAY), ("week", WEEK))
        for wave, function in (("sin", np.sin), ("cos", np.cos))
    }


GROUPS = (trend, momentum, volatility, volume, candle, calendar)
"""Functions that compute groups of indicators."""

UNRANKED = frozenset([*PATTERNS, "sin_day", "cos_day", "sin_week", "cos_week"])
"""Indicators that are not ranked: patterns, and those that are the same for all symbols."""
STATE = ("return_1", "return_4", "return_16", "return_48", "sigma_60", "sigma_10_60")
"""Indicators whose mean over all symbols is the state of the market."""


def cross_section(table: pd.DataFrame, times: NDArray[np.datetime64]) -> pd.DataFrame:
    """Return the ranks of indicators among all symbols at the same time, and the market's state.

    The k-th lowest of n known values becomes `(k - 0.5) / n - 0.5`; equal values share the mean of
    their ranks (as in Gu, Kelly and Xiu, 2020). Unknown values stay NaN, and those of `UNRANKED` as
    they are. Further columns such as `market_return_1` are the means of `STATE` over all symbols.

    Args:
        table: Indicators of n samples of all symbols, see `indicators`.
        times: Their decision times, shape (n,).
    """
    _, number = np.unique(times, return_inverse=True)
    turn = pd.Series(number).groupby(number).cumcount().to_numpy()
    # a row for each time, and a column for each symbol that is decided then
    grid = np.full((number.max(initial=-1) + 1, turn.max(initial=-1) + 1), np.nan, np.float32)
    names = [*table.columns, *(f"market_{name}" for name in STATE)]
    found = np.empty((len(table), len(names)), np.float32)
    for k, name in enumerate(table.columns):
        if name in UNRANKED:
            found[:, k] = table[name]
            continue
        grid[number, turn] = table[name]
        values = pd.DataFrame(grid)
        ranks = (values.rank(axis="columns") - 0.5).div(values.count(axis="columns"), axis="index")
        found[:, k] = ranks.to_numpy()[number, turn] - 0.5
        if name in STATE:
            market = values.mean(axis="columns").to_numpy()
            found[:, names.index(f"market_{name}")] = market[number]
    return pd.DataFrame(found, table.index, names)


def _within(value: Floats, low: Floats, high: Floats) -> Floats:
    """Position of a value between low (0) and high (1)."""
    return (value - low) / (high - low)


def _before(values: Floats, back: int) -> Floats:
    return pd.Series(values).shift(back).to_numpy()


def _change(values: Floats, back: int) -> Floats:
    return pd.Series(values).diff(back).to_numpy()


def _mean(values: Floats, length: int) -> Floats:
    return np.asarray(pd.Series(values).rolling(length).mean())


def _deviation(values: Floats, length: int) -> Floats:
    return np.asarray(pd.Series(values).rolling(length).std())
