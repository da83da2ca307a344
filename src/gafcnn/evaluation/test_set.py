"""The rows that all models are judged on, at their places among the bars."""

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
from gafcnn.evaluation.statistics import Floats
from gafcnn.evaluation.trading_rules import TradingRules

_NO_FOLD = -1


@dataclass(frozen=True)
class TestSet:
    """Test rows of one symbol, and the bars on which they are traded.

    The period is the bars from the first after the first test decision to the bar that closes a
    horizon after the last. A row is placed at the bar that a trade on it would enter.

    Attributes:
        bars: Bars, indexed by close time.
        val: Validation rows, models side by side (see `join`); may be empty.
        test: Test rows, by time.
        horizon: Horizon of the label, and the longest duration of a trade.
        rules: Trading rules.
    """

    __test__ = False  # no test class of pytest's

    bars: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame
    horizon: pd.Timedelta
    rules: TradingRules

    @classmethod
    def of(
        cls, joined: pd.DataFrame, bars: pd.DataFrame, horizon: pd.Timedelta, rules: TradingRules
    ) -> TestSet:
        """Return the test set of the joined predictions of one symbol.

        Raises:
            PredictionsError: There are no test rows, or a time is in the test of several folds.
        """
        return cls(bars, *split_rows(joined), horizon, rules)

    @cached_property
    def fills(self) -> Fills:
        """What each test row would be filled at."""
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
        """Bars of the horizon, within which outcomes overlap."""
        return self.fills.ahead

    @cached_property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(self.bars)

    @property
    def periods(self) -> float:
        """Bars of a year of 365 days."""
        return YEAR / self.interval

    @cached_property
    def folds(self) -> dict[int | None, NDArray[np.bool_]]:
        """Which test rows are in which fold; one fold, None, without walk-forward."""
        return folds_of(self.test)

    def choice(self, fold: int | None, model: str) -> Choice:
        """Return the threshold at which a model is traded in a fold, chosen on validation rows.

        Only validation rows whose trades end before the fold's test begins are used: a barrier may
        be reached, and the label known, before the horizon is over. Without validation rows every
        row is traded, unless the rules set a threshold.
        """
        val = self.val if fold is None else self.val.loc[self.val["fold"] == fold]
        begins = self.test.loc[self.folds[fold], "time"].min()
        val = val.loc[(val["time"] + self.horizon < begins) & val[model].notna()]
        if val.empty:
            return Choice(self.rules.threshold or 0.0, None, 0, None)
        return choose_threshold(
            self.bars, val["time"], val[model].to_numpy(), self.horizon, self.rules
        )

    @cached_property
    def up(self) -> NDArray[np.bool_]:
        """Whether the price rose over the horizon; an unchanged price did not."""
        return self.test["forward_return"].to_numpy() > 0

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """Whether the price changed over the horizon."""
        return self.test["forward_return"].to_numpy() != 0

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether the row has a label: up or down, not neutral."""
        return self.test["label"].notna().to_numpy()

    @cached_property
    def label_up(self) -> NDArray[np.bool_]:
        """Whether the label is up; False without a label."""
        return self.test["label"].fillna(0).to_numpy(dtype=np.int8) == 1

    def on_bars(self, rows: ArrayLike) -> Floats:
        """Return values of the test rows at their bars of the period: shape (n_bars,), else 0."""
        placed = np.zeros(self.n_bars)
        placed[self.fills.decided - self.fills.decided[0]] = rows
        return placed

    def hits(self, model: str) -> Floats:
        """Return whether a model predicted each row's move, 1/2 or -1/2, as `on_bars`."""
        predicted = self.test[model].to_numpy() > 0.5
        return self.on_bars((predicted == self.up) - 0.5)


@dataclass(frozen=True)
class Traded:
    """The trades of one model.

    Attributes:
        choices: The threshold of each fold, chosen on its validation rows.
        position: Position of each test row: 1, -1 or 0, shape (n,).
        backtest: The trades that were made.
    """

    choices: Mapping[int | None, Choice]
    position: NDArray[np.int8]
    backtest: Backtest

    @classmethod
    def by(cls, rows: TestSet, model: str) -> Traded:
        """Trade a column of P(up), fold by fold at the threshold chosen on validation."""
        p = rows.test[model].to_numpy()
        choices, position = {}, np.zeros(len(p), dtype=np.int8)
        for fold, inside in rows.folds.items():
            choices[fold] = rows.choice(fold, model)
            position[inside] = positions(p[inside], choices[fold].threshold, rows.rules.sides)
        return cls(choices, position, trade(rows.bars, rows.fills, position, rows.rules))

    def of_fold(self, rows: TestSet, inside: NDArray[np.bool_]) -> Backtest:
        """Trade some of the test rows, as if there were no others."""
        times = rows.test.loc[inside, "time"]
        return backtest(rows.bars, times, self.position[inside], rows.horizon, rows.rules)


def split_rows(joined: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the validation rows and the test rows of one symbol, each by time.

    Raises:
        PredictionsError: There are no test rows, or a time is in the test of several folds.
    """
    by_time = joined.sort_values("time")
    val, test = (
        by_time.loc[by_time["split"] == name].reset_index(drop=True) for name in ("val", "test")
    )
    if test.empty:
        raise PredictionsError(
            "there are no test rows",
            expected="rows whose split is test",
            instead="use a larger split.test, or more bars",
        )
    repeated = test["time"].duplicated()
    if repeated.any():
        raise PredictionsError(
            f"{int(repeated.sum()):,} decision times are in the test of several folds, first "
            f"{test['time'][repeated].iloc[0]}",
            expected="consecutive test blocks",
            instead="train all folds with the same split.folds and split.first",
        )
    return val, test


def folds_of(rows: pd.DataFrame) -> dict[int | None, NDArray[np.bool_]]:
    """Return which rows are in which fold; one fold, None, without walk-forward."""
    fold: Any = rows["fold"].to_numpy(dtype=np.int64, na_value=_NO_FOLD)
    return {None if k == _NO_FOLD else int(k): fold == k for k in np.unique(fold)}
