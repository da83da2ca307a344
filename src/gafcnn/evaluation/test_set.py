"""The rows that all models are judged on, at their places among the bars, and their trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.bars import bars_per_year
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.backtest import Backtest, Fills, compute_fills, trade
from gafcnn.evaluation.positions import Choice, choose_threshold, positions
from gafcnn.evaluation.predictions import SPLITS, folds_of
from gafcnn.evaluation.statistics import Floats
from gafcnn.evaluation.trading_rules import TradingRules


@dataclass(frozen=True)
class TestSet:
    """Test rows of one symbol, and the bars on which they are traded.

    The period is the bars from the first after the first test decision to the bar that closes a
    horizon after the last.
    """

    __test__ = False  # not a test class of pytest

    bars: pd.DataFrame  # bars, indexed by close time
    val: pd.DataFrame  # validation rows, models side by side (see `split_rows`); may be empty
    test: pd.DataFrame  # test rows, by time
    horizon: pd.Timedelta  # horizon of the label, and the longest duration of a trade
    rules: TradingRules  # trading rules

    @cached_property
    def fills(self) -> Fills:
        """What each test row would be filled at."""
        return compute_fills(self.bars, self.test["time"], self.horizon, self.rules)

    @cached_property
    def period(self) -> pd.DatetimeIndex:
        """Close times of the bars of the period."""
        first, last = self.fills.decided[[0, -1]]
        return pd.DatetimeIndex(self.bars.index[first + 1 : last + self.fills.ahead + 1])

    @cached_property
    def folds(self) -> dict[int | None, NDArray[np.bool_]]:
        """Which test rows are in which fold; one fold, None, without walk-forward."""
        return folds_of(self.test)

    def choice(self, fold: int | None, model: str) -> Choice:
        """Return the threshold at which a model is traded in a fold, chosen on validation rows.

        Only validation rows whose trades end before the fold's test begins, and by the time that
        the last of their labels is known, are used: a barrier may be reached, and the label known,
        before the horizon is over. Without validation rows every row is traded, unless the rules
        set a threshold.
        """
        val = self.val if fold is None else self.val.loc[self.val["fold"] == fold]
        closes, begins = self.bars.index, self.test.loc[self.folds[fold], "time"].min()
        ends = closes.get_indexer(pd.DatetimeIndex(val["time"])) + self.fills.ahead
        known = closes.searchsorted(val["known_at"].max(), "right") if len(val) else 0
        over = (val["time"] < begins) & (ends < min(known, closes.searchsorted(begins)))
        val = val.loc[over & val[model].notna()]
        if val.empty:
            return Choice(self.rules.threshold or 0.0, None)
        return choose_threshold(self.bars, val["time"], val[model], self.horizon, self.rules)

    def trade(self, model: str) -> Traded:
        """Trade a column of P(up), fold by fold at the threshold chosen on validation."""
        p = self.test[model].to_numpy()
        choices, position = {}, np.zeros(len(p), dtype=np.int8)
        for fold, inside in self.folds.items():
            choices[fold] = self.choice(fold, model)
            position[inside] = positions(p[inside], choices[fold].threshold, self.rules.sides)
        return Traded(choices, position, trade(self.bars, self.fills, position, self.rules))

    def of_fold(self, fold: int | None, traded: Traded) -> tuple[TestSet, Traded]:
        """Return the test rows of one fold and their trades, as if there were no others."""
        inside = self.folds[fold]
        rows = replace(self, test=self.test.loc[inside])
        position = traded.position[inside]
        backtest = trade(self.bars, rows.fills, position, self.rules)
        return rows, Traded({fold: traded.choices[fold]}, position, backtest)


@dataclass(frozen=True)
class Traded:
    """The trades of one model on the test rows of one symbol."""

    choices: Mapping[int | None, Choice]  # threshold of each fold, chosen on its validation rows
    position: NDArray[np.int8]  # position of each test row: 1, -1 or 0, shape (n,)
    backtest: Backtest  # the trades that were made


class Panel:
    """The test rows of one or more symbols on one timeline, symbol after symbol.

    A row is placed at the bar that a trade on it would enter. Arrays have shape (n,), a value per
    row, unless stated otherwise. All sets have the same interval, horizon and rules.
    """

    def __init__(self, sets: Sequence[TestSet]) -> None:
        self.sets = sets
        self.periods = bars_per_year(sets[0].bars)  # bars of a year of trading
        self.test = pd.concat([one.test for one in sets], ignore_index=True)
        # close times of the bars of any symbol's period, shape (bars,), and the bar of each row
        self.times = pd.DatetimeIndex(reduce(pd.Index.union, (one.period for one in sets)))
        self._bars = [self.times.get_indexer(one.period) for one in sets]
        entered = [one.bars.index[one.fills.decided + 1] for one in sets]
        self.places = np.concatenate([self.times.get_indexer(pd.DatetimeIndex(t)) for t in entered])
        forward_return, label = self.test["forward_return"].to_numpy(), self.test["label"]
        # whether the price rose over the horizon; an unchanged price did not
        self.up = forward_return > 0
        # whether rows went up or are labelled up, and which rows that is asked of
        self.outcomes = {
            "all": (self.up, np.ones(len(self.up), dtype=bool)),
            "moved": (self.up, forward_return != 0),
            "labelled": (label.fillna(0).to_numpy(np.int8) == 1, label.notna().to_numpy()),
        }

    def on_bars(self, rows: ArrayLike) -> Floats:
        """Return the sums of values of the rows at their bars: shape (bars,)."""
        return np.bincount(self.places, np.asarray(rows, float), len(self.times)).astype(float)

    def add(self, series: Iterable[NDArray[Any]]) -> Floats:
        """Return the sum of series over the bars of each symbol's period: shape (bars,)."""
        total = np.zeros(len(self.times))
        for bars, values in zip(self._bars, series, strict=True):
            total[bars] += values
        return total

    def mean_return(self, backtests: Iterable[Backtest]) -> Floats:
        """Return the return of equal shares of all symbols: shape (bars,)."""
        return self.add(one.returns.to_numpy() for one in backtests) / len(self.sets)


class Candidate:
    """One model, a column of P(up), on a panel: its forecasts and its trades of each symbol."""

    def __init__(self, panel: Panel, name: str, traded: Sequence[Traded]) -> None:
        self.panel, self.name, self.traded = panel, name, traded
        self.p = panel.test[name].to_numpy(np.float64)  # P(up) of each row, shape (n,)
        # position of each row: 1, -1 or 0, shape (n,)
        self.position = np.concatenate([one.position for one in traded])
        choices = [choice for one in traded for choice in one.choices.values()]
        # what it is traded at; None if folds or symbols have different thresholds
        self.threshold, self.coverage = choices[0] if len(choices) == 1 else (None, None)
        self.trades = sum(len(one.backtest.trades) for one in traded)
        # return of equal shares of all symbols, shape (bars,)
        self.returns = panel.mean_return(one.backtest for one in traded)

    @cached_property
    def row_returns(self) -> tuple[Floats, Floats]:
        """Gross and net return of each row as a trade of its own, shape (n,) each."""
        sets = self.panel.sets
        each = [one.fills.trips(positions(one.test[self.name], 0.0)) for one in sets]
        return np.concatenate([t.gross for t in each]), np.concatenate([t.net for t in each])


def split_rows(joined: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the validation rows and the test rows, each by time.

    Raises:
        PredictionsError: There are no test rows, or a time of a symbol is in several test blocks.
    """
    by_time = joined.sort_values("time", kind="stable")
    val, test = (by_time.loc[by_time["split"] == name].reset_index(drop=True) for name in SPLITS)
    repeated = test.duplicated(["symbol", "time"])
    if test.empty or repeated.any():
        found, instead = "there are no test rows", "pass all rows, or use a larger split.test"
        if not test.empty:
            first = test["time"][repeated].iloc[0]
            found = f"{repeated.sum():,} decision times are in several folds, first {first}"
            instead = "use the same split.folds and split.first for all"
        raise PredictionsError(found, expected="test rows, in consecutive blocks", instead=instead)
    return val, test
