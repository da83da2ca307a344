"""What the models of a study say of the newest bar: loaded once, then a decision in milliseconds.

A decision is made by the code that the predictions on disk were made by, and its numbers are theirs
to the last bit where a network's were computed on a CPU like this one, in float32 and not compiled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from gafcnn.app.combining import combined, side_by_side
from gafcnn.app.factory import load_spec, load_window
from gafcnn.app.runs import Run
from gafcnn.app.studies import Runs, baseline_of, fold_of, headline_of, windows_of
from gafcnn.app.trees_learner import features_named, features_of
from gafcnn.data.bars import gaps, interval_of
from gafcnn.data.indicators import MEMORY
from gafcnn.data.sources import Market
from gafcnn.data.windows import WindowReader, close_times
from gafcnn.durations import format_duration, multiple_of, parse_duration
from gafcnn.errors import BarsError, RunError
from gafcnn.evaluation.ensembles import FittedEnsemble, fit_ensembles, mean
from gafcnn.evaluation.joining import TWO_STAGE
from gafcnn.evaluation.positions import positions
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opinion:
    """What one model says.

    Attributes:
        p_up: The probability that the label's answer is up.
        threshold: The confidence |P(up) - 1/2| from which one trades, chosen on validation.
        position: 1 long, -1 short, 0 none.
    """

    p_up: float
    threshold: float
    position: int


@dataclass(frozen=True)
class Decision:
    """What all models say of one bar.

    Attributes:
        symbol: Whose bar it is.
        time: Its close, UTC: the decision time.
        close: Its last price.
        models: In the order in which they are shown.
    """

    symbol: str
    time: pd.Timestamp
    close: float
    models: Mapping[str, Opinion]


class _Model(Protocol):
    """One model of a study, all its seeds."""

    def __call__(self, market: Market) -> float:
        """P(up) at the last bar of the market."""
        ...


class Decider:
    """The models of a study, ready to decide.

    Args:
        runs: By model, of one fold; a baseline among them.
        markets: The bars that they were made of, on which thresholds are chosen.
        rules: How one trades.
        methods: Names of the ensembles of several windows.

    Attributes:
        names: The models, in the order in which they are shown.
        headline: The one that an evaluation's verdict speaks of.
        interval: Time between two bars.
        horizon: How far the label looks ahead.
        lookback: How many bars without a gap a decision needs.
        history: How many bars let every number settle: with fewer, indicators that average over
            all that came before are still close to where they began.
        fold: Of the runs; None without walk-forward.

    Raises:
        PredictionsError: The models are not about the same samples, or no ensemble can be fitted.
        LearningError: A model cannot be read.
    """

    def __init__(
        self, runs: Runs, markets: Sequence[Market], rules: TradingRules, methods: Sequence[str]
    ) -> None:
        first = next(iter(runs.values()))[0]
        self.fold, self.interval = fold_of(first), interval_of(markets[0].bars)
        self.horizon = parse_duration("label.horizon", first.config["label"]["horizon"])
        lookback = parse_duration("window.lookback", first.config["window"]["lookback"])
        self.lookback = multiple_of("window.lookback", lookback, self.interval)
        self._rules, self._strange = rules, set[str]()
        baseline, self._windows = baseline_of(runs), windows_of(runs)
        self._models = {
            name: _Trees(found) if name == baseline else _Networks(found, markets[0])
            for name, found in runs.items()
        }
        trees = self._models[baseline]
        settled = MEMORY if isinstance(trees, _Trees) and trees.see_indicators else 0
        self.history = max(self.lookback, settled)

        joined = side_by_side(runs)
        self._combined = _combinations(joined, self._windows, baseline, methods)
        table, self.names = combined(joined, runs, methods)
        self.headline = headline_of(self.names, self._windows)
        self._thresholds = {
            market.symbol: self._thresholds_of(
                Ground.of(table.query("symbol == @market.symbol"), market.bars, self.horizon, rules)
            )
            for market in markets
        }

    def decide(self, symbol: str, bars: pd.DataFrame) -> Decision:
        """What the models say of the last of these bars.

        Args:
            symbol: One of the study's, or of a study of one symbol any.
            bars: The newest `history` bars or more, indexed by close time (see `check_bars`).

        Raises:
            BarsError: They are of another interval, fewer than `history`, or have a gap in the last
                `lookback`.
            RunError: The study has several symbols, and this is none of them.
            SamplesError, ImagesError: No image can be made of them.
        """
        thresholds = self._known(symbol)
        self._check(symbol, bars)
        market = Market(symbol, bars)
        p = {name: model(market) for name, model in self._models.items()}
        for name, (members, combine) in self._combined.items():
            p[name] = float(combine(np.array([[p[member] for member in members]]))[0])
        opinions = {
            name: Opinion(
                p[name],
                thresholds[name],
                int(positions([p[name]], thresholds[name], self._rules.sides)[0]),
            )
            for name in self.names
        }
        return Decision(symbol, bars.index[-1], float(bars["close"].iloc[-1]), opinions)

    def _thresholds_of(self, ground: Ground) -> dict[str, float]:
        return {name: ground.choice(self.fold, name).threshold for name in self.names}

    def _known(self, symbol: str) -> Mapping[str, float]:
        if len(self._thresholds) == 1:
            [(of, thresholds)] = self._thresholds.items()
            if symbol not in (of, *self._strange):
                self._strange.add(symbol)
                log.warning("%s is decided on by models of %s: not measured on it", symbol, of)
            return thresholds
        if symbol not in self._thresholds:
            raise RunError(
                f"there are bars of {symbol} for a study of {', '.join(self._thresholds)}",
                expected="one of these, by whose own validation rows its threshold was chosen",
                instead="name the market's symbols as they were in the training",
            )
        return self._thresholds[symbol]

    def _check(self, symbol: str, bars: pd.DataFrame) -> None:
        interval = interval_of(bars)
        if interval != self.interval:
            raise BarsError(
                f"the bars of {symbol} are of {format_duration(interval)}",
                expected=f"bars of {format_duration(self.interval)}, as the study's are",
                instead=f"set market.interval={format_duration(self.interval)}"
                if interval < self.interval
                else "take finer bars: these cannot be divided",
            )
        if len(bars) < self.history:
            of = "window.lookback" if self.history == self.lookback else "the indicators' memory"
            raise BarsError(
                f"there are {len(bars):,} bars of {symbol}",
                expected=f"at least the {self.history:,} of {of}",
                instead="give more of them",
            )
        missing = gaps(bars.iloc[-self.lookback :])
        if len(missing):
            gap = missing.iloc[-1]
            count = int(gap["missing"])
            raise BarsError(
                f"{count:,} bar{'s'[: count > 1]} of {symbol} {'are' if count > 1 else 'is'} "
                "missing between "
                f"{gap['after']:%Y-%m-%d %H:%M} and {gap['before']:%Y-%m-%d %H:%M} UTC",
                expected=f"the last {self.lookback} bars without a gap",
                instead=f"decide again once {self.lookback} bars have followed one another",
            )


def _combinations(
    joined: pd.DataFrame, windows: list[str], baseline: str, methods: Sequence[str]
) -> dict[str, tuple[list[str], FittedEnsemble]]:
    """What is made of the models, by name: the members, and how they become one."""
    made: dict[str, tuple[list[str], FittedEnsemble]] = {}
    if len(windows) > 1:
        made = {
            name: (windows, how) for name, how in fit_ensembles(joined, windows, methods).items()
        }
    if windows:
        members = [baseline, *windows]
        made[TWO_STAGE] = members, fit_ensembles(joined, members, ["stacking"])["stacking"]
    return made


class _Networks:
    """A window's networks, one for each seed: their mean."""

    def __init__(self, runs: Sequence[Run], market: Market) -> None:
        config = OmegaConf.create(runs[0].config)
        self._images, self._window = load_spec(config), load_window(config, market)
        self._lookback = self._window.lookback // interval_of(market.bars)
        self._modules: list[Any] = [run.model() for run in runs]
        for module in self._modules:
            module.pack()
        # now, not at the first decision, what is compiled at its first use is compiled
        points = self._window.points(interval_of(market.bars))
        self._answer(np.zeros((1, len(self._images.fields), points)))

    def __call__(self, market: Market) -> float:
        bars = market.bars.iloc[-self._lookback :]
        read = WindowReader(bars, self._window, self._images.fields)
        return self._answer(read(np.array([len(bars) - 1])))

    def _answer(self, series: NDArray[np.float64]) -> float:
        """P(up) of a series of shape (1, fields, points)."""
        images = torch.from_numpy(self._images.shown(series))
        with torch.inference_mode():
            p = [module.predict_step((images, images), 0).double() for module in self._modules]
        return float(mean(torch.stack(p, dim=1).numpy())[0])


class _Trees:
    """The baseline, one for each seed: their mean."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._config = OmegaConf.create(runs[0].config)
        self._trees: list[Any] = [run.model() for run in runs]
        self.see_indicators = features_named(self._config) == "indicators"

    def __call__(self, market: Market) -> float:
        features = features_of(self._config, market, close_times(market.bars)[-1:])
        p = [trees.predict(features) for trees in self._trees]
        return float(mean(np.stack(p, axis=1))[0])
