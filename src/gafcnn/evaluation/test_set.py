"""The ground that all models are judged on: the same test rows, at their places among the bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.bars import interval_of
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.backtest import YEAR, Backtest, backtest, trade
from gafcnn.evaluation.fills import Fills, compute_fills
from gafcnn.evaluation.positions import Choice, choose_threshold, positions
from gafcnn.evaluation.trading_rules import TradingRules

Floats = NDArray[np.float64]

_NO_FOLD = -1


@dataclass(frozen=True)
class Ground:
    """Test rows of one symbol, and the bars on which they are traded.

    The period is the bars from the first after the first test decision to the bar that closes a
    horizon after the last. A row stands at the bar that a trade on it would enter.

    Attributes:
        bars: Bars, indexed by close time.
        val: Validation rows, models side by side (see `gafcnn.evaluation.joining.join`).
        test: Test rows, by time.
        horizon: Of the label, and the longest that a trade lasts.
        rules: How one trades.
    """

    bars: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame
    horizon: pd.Timedelta
    rules: TradingRules

    @classmethod
    def of(
        cls, joined: pd.DataFrame, bars: pd.DataFrame, horizon: pd.Timedelta, rules: TradingRules
    ) -> Ground:
        """The ground of joined predictions.

        Raises:
            PredictionsError: There are no test rows, several symbols, or a time that stands in the
                tests of several folds.
        """
        val, test = parts_of(joined)
        return cls(bars, val, test, horizon, rules)

    @cached_property
    def fills(self) -> Fills:
        """What each test row would have been filled at."""
        return compute_fills(self.bars, self.test["time"], self.horizon, self.rules)

    @cached_property
    def n_bars(self) -> int:
        """Bars of the period."""
        return int(self.fills.decided[-1] - self.fills.decided[0]) + self.fills.ahead

    @cached_property
    def period(self) -> pd.DatetimeIndex:
        """Close times of the bars of the period: shape (n_bars,)."""
        first = int(self.fills.decided[0]) + 1
        return pd.DatetimeIndex(self.bars.index[first : first + self.n_bars])

    @property
    def bin(self) -> int:
        """Bars of the horizon: within it outcomes overlap."""
        return self.fills.ahead

    @cached_property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(self.bars)

    @property
    def periods(self) -> float:
        """Bars of a year of 365 days: this market never closes."""
        return YEAR / self.interval

    @cached_property
    def folds(self) -> dict[int | None, NDArray[np.bool_]]:
        """Which test rows are of which fold; one fold, None, without walk-forward."""
        return folds_of(self.test)

    def settled(self, fold: int | None) -> pd.DataFrame:
        """Validation rows of a fold, those on which a trade ends before the fold's test begins.

        A barrier may be touched, and the label so be known, long before the horizon is over.
        """
        val = self.val if fold is None else self.val.query("fold == @fold")
        begins = self.test.loc[self.folds[fold], "time"].min()
        return val.loc[val["time"] + self.horizon < begins]

    def choice(self, fold: int | None, model: str) -> Choice:
        """The threshold at which a column of P(up) is traded in a fold, chosen on validation."""
        val = self.settled(fold)
        return choose_threshold(
            self.bars, val["time"], val[model].to_numpy(), self.horizon, self.rules
        )

    @cached_property
    def up(self) -> NDArray[np.bool_]:
        """Whether the price rose over the horizon; not to have moved is not to have risen."""
        return self.test["forward_return"].to_numpy() > 0

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """Whether the price was another one at the horizon."""
        return self.test["forward_return"].to_numpy() != 0

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether the label names the row: up or down, not neutral."""
        return self.test["label"].notna().to_numpy()

    @cached_property
    def label_up(self) -> NDArray[np.bool_]:
        """Whether the label says up; False where it says nothing."""
        return self.test["label"].fillna(0).to_numpy(dtype=np.int8) == 1

    def on_bars(self, rows: ArrayLike) -> Floats:
        """Values of the test rows, each at its bar of the period: shape (n_bars,), 0 between."""
        placed = np.zeros(self.n_bars)
        placed[self._places] = rows
        return placed

    def hits(self, model: str) -> Floats:
        """Whether a column of P(up) called each row's move, 1/2 or -1/2: as `on_bars`."""
        called_up = self.test[model].to_numpy() > 0.5
        return self.on_bars((called_up == self.up) - 0.5)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """The bar of each test row, counted in the period."""
        return self.fills.decided - self.fills.decided[0]


@dataclass(frozen=True)
class Traded:
    """What one model's forecasts come to when they are traded.

    Attributes:
        choices: The threshold of each fold, chosen on its validation rows.
        position: What each test row says: 1, -1 or 0, shape (n,).
        backtest: The trades that were made of it.
    """

    choices: Mapping[int | None, Choice]
    position: NDArray[np.int8]
    backtest: Backtest

    @classmethod
    def by(cls, ground: Ground, model: str) -> Traded:
        """Trade a column of P(up), fold by fold at the threshold that validation chose."""
        p = ground.test[model].to_numpy()
        choices, position = {}, np.zeros(len(p), dtype=np.int8)
        for fold, rows in ground.folds.items():
            choices[fold] = ground.choice(fold, model)
            position[rows] = positions(p[rows], choices[fold].threshold, ground.rules.sides)
        made = trade(ground.bars, ground.fills, position, ground.rules)
        return cls(choices, position, made)


@dataclass(frozen=True)
class RowTrades:
    """Each test row as a trade of its own, whatever its confidence: arrays of shape (n,).

    Attributes:
        side: 1, -1, or 0 where the forecast is 1/2.
        gross: Return before costs, a fraction.
        net: Return after them.
    """

    side: NDArray[np.int8]
    gross: Floats
    net: Floats

    @classmethod
    def by(cls, ground: Ground, model: str) -> RowTrades:
        """Trade every row on a column of P(up)."""
        side = positions(ground.test[model].to_numpy(), 0.0)
        trips = ground.fills.trips(side)
        return cls(side, trips.gross, trips.net)


def trade_rows(ground: Ground, position: NDArray[np.int8], rows: NDArray[np.bool_]) -> Backtest:
    """Trade some of the test rows, as if there were no others."""
    times = ground.test.loc[rows, "time"]
    return backtest(ground.bars, times, position[rows], ground.horizon, ground.rules)


def parts_of(joined: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of validation and of test, each by time.

    Raises:
        PredictionsError: There are none of a part, several symbols, or a time that stands in the
            tests of several folds.
    """
    by_time = joined.sort_values("time")
    parts = {name: by_time.query("split == @name") for name in ("val", "test")}
    _check(joined, parts)
    return parts["val"].reset_index(drop=True), parts["test"].reset_index(drop=True)


def folds_of(rows: pd.DataFrame) -> dict[int | None, NDArray[np.bool_]]:
    """Which rows are of which fold; one fold, None, without walk-forward."""
    fold = rows["fold"].to_numpy(dtype=np.int64, na_value=_NO_FOLD)
    return {None if k == _NO_FOLD else int(k): fold == k for k in np.unique(fold)}


def _check(joined: pd.DataFrame, parts: Mapping[str, Any]) -> None:
    for name, rows in parts.items():
        if rows.empty:
            raise PredictionsError(
                f"there are no {name} rows",
                expected="rows of validation to choose on and of test to judge by",
                instead=f"train with a larger split.{name}, or on more bars",
            )
    symbols = sorted(joined["symbol"].unique())
    if len(symbols) > 1:
        raise PredictionsError(
            f"there are rows of {len(symbols)} symbols, {', '.join(symbols)}",
            expected="one symbol, as its bars are traded on",
            instead="judge each symbol by itself",
        )
    twice = parts["test"]["time"].duplicated()
    if twice.any():
        raise PredictionsError(
            f"{int(twice.sum()):,} decision times are in the test of several folds, first "
            f"{parts['test']['time'][twice].iloc[0]}",
            expected="test blocks one after another",
            instead="train all folds with the same split.folds and split.first",
        )
