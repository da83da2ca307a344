"""Decisions of the models of a study on the newest bar: loaded once, then made in milliseconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.options import METHODS, EvaluateOptions
from gafcnn.app.runs import (
    BEST,
    CHECKSUMS,
    EVALUATION,
    EXPORT,
    METADATA,
    METRICS,
    Run,
    damaged_files,
)
from gafcnn.atomic_io import read_sealed
from gafcnn.data.bars import ensure_bars, gaps, interval_of
from gafcnn.data.indicators import MEMORY
from gafcnn.data.labels import DIRECTIONS
from gafcnn.durations import format_duration, multiple_of
from gafcnn.errors import BarsError, RunError
from gafcnn.evaluation.ensembles import ENSEMBLE, TWO_STAGE, combine
from gafcnn.evaluation.joining import average_seeds, join
from gafcnn.evaluation.positions import positions
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.app.studies import Study

Floats = NDArray[np.float64]
Predict = Callable[[pd.DataFrame, NDArray[np.int64]], Floats]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forecast:
    """What one model predicts, and the position that follows.

    Attributes:
        probabilities: The probability of each class, by its name.
        threshold: The confidence |P(up) - 1/2| from which to trade; None for other classes than
            down and up.
        position: 1 long, -1 short, 0 flat; None for other classes.
    """

    probabilities: Mapping[str, float]
    threshold: float | None = None
    position: int | None = None

    @property
    def p_up(self) -> float:
        """The probability of up, for a label of down and up."""
        return self.probabilities["up"]

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Decision:
    """What all models of a study predict at one bar.

    Attributes:
        symbol: The symbol of the bars.
        time: Close time of the bar, UTC: the decision time.
        close: Its close.
        models: Forecasts by the name of the model, in the order in which they are shown.
        headline: The model that the verdict of an evaluation is about.
        rules: The trading rules, and where they are from, as one sentence; None for other classes
            than down and up.
    """

    symbol: str
    time: pd.Timestamp
    close: float
    models: Mapping[str, Forecast]
    headline: str
    rules: str | None


class Decider:
    """The models of a study, loaded for decisions; networks run in ONNX Runtime on one thread.

    In a walk-forward study the newest fold decides. Trading rules are those of the study's last
    evaluation, `TradingRules()` if there is none; thresholds are chosen by them on validation rows.

    Args:
        study: The study.

    Attributes:
        classes: Names of the classes.
        fold: The fold that decides; None without walk-forward.
        interval: Time between two bars.
        history: The number of bars that a decision needs: with fewer, indicators that average over
            all earlier bars would not have settled.
        members: Functions of bars and rows, one per seed, by the name of the model.
        ensembles: Fitted ensembles, by name.
        thresholds: The threshold of each model, by symbol and by name; empty for other classes.
        rules: The trading rules.
        names: The models, in the order in which they are shown.

    Raises:
        RunError: The baseline has no run of the newest fold.
        PredictionsError: The models have no samples in common, or no ensemble can be fitted.
        ConfigError: The extra `export` is not installed.
    """

    def __init__(self, study: Study) -> None:
        self.classes, self.fold = study.label.classes, study.folds[-1]
        self._study, self._warned = study, set[str | None]()
        self._runs: dict[str, list[Run]] = {}
        for name, runs in study.runs.items():
            self._runs[name] = [run for run in runs if run.fold == self.fold]
            if not self._runs[name]:
                raise RunError(
                    f"{name} has no run of fold {self.fold}, the newest",
                    expected="that fold for every model",
                    instead=f"evaluate.py study={study.folder.name} trains it",
                )
        self.interval = interval_of(next(iter(study.bars.values())))
        options = [of[0].settings for of in self._runs.values()]
        lookback = max(one.window.lookback for one in options)
        self._lookback = multiple_of("window.lookback", lookback, self.interval)
        indicators = any(getattr(one.model, "features", None) == "indicators" for one in options)
        self.history = max(self._lookback, MEMORY if indicators else 0)
        evaluated = read_sealed(study.folder / EVALUATION / METRICS) or {}
        self.rules, methods, self.rules_text = _rules(evaluated)

        joined = join(
            {name: average_seeds(r.predictions for r in of) for name, of in self._runs.items()}
        )
        direction = self.classes == DIRECTIONS
        combined = combine(
            joined,
            [*study.windows],
            [*methods, TWO_STAGE],
            study.baseline,
            () if direction else self.classes,
        )
        self.names, self.ensembles = combined.names, combined.fitted
        preferred = (evaluated.get("headline"), TWO_STAGE, ENSEMBLE, *self.names)
        self.headline = next(name for name in preferred if name in self.names)
        # of each model and symbol, as an evaluation chooses it
        self.thresholds: dict[str, dict[str, float]] = {symbol: {} for symbol in study.bars}
        for symbol, bars in study.bars.items() if direction else ():
            rows = combined.table.loc[combined.table["symbol"] == symbol]
            test_set = TestSet.of(rows, bars, study.label.horizon, self.rules)
            for name in self.names:
                self.thresholds[symbol][name] = test_set.choice(self.fold, name).threshold

    @cached_property
    def members(self) -> dict[str, Sequence[Predict]]:
        """For each model, a function of bars and rows per seed."""
        return {name: [self._load(run) for run in runs] for name, runs in self._runs.items()}

    def decide(self, bars: pd.DataFrame, symbol: str | None = None) -> Decision:
        """Decide at the last of these bars.

        Args:
            bars: The newest `history` bars or more of one symbol.
            symbol: The symbol; may be left out if the study has only one.

        Raises:
            BarsError: The bars are of another interval, fewer than `history`, or have a gap in the
                lookback.
            RunError: The study has several symbols, and this is none of them.
        """
        known = self._known(symbol)
        symbol = symbol or known
        self._check(ensure_bars(bars), symbol)
        last = np.array([len(bars) - 1])
        p = {
            name: np.mean([predict(bars, last) for predict in of], axis=0)
            for name, of in self.members.items()
        }
        for name, one in self.ensembles.items():
            p[name] = one(np.stack([p[member] for member in one.members], axis=1))
        time, close = bars.index[-1], float(bars["close"].iloc[-1])
        if self.classes != DIRECTIONS:
            each = pd.DataFrame({name: p[name][0] for name in self.names}, index=[*self.classes])
            found = {name: Forecast(each[name].to_dict()) for name in self.names}
            return Decision(symbol, time, close, found, self.headline, None)
        found = {}
        for name in self.names:
            up, threshold = float(p[name][0]), self.thresholds[known][name]
            position = int(positions([up], threshold, self.rules.sides)[0])
            found[name] = Forecast({"down": 1 - up, "up": up}, threshold, position)
        return Decision(symbol, time, close, found, self.headline, self.rules_text)

    def _load(self, run: Run) -> Predict:
        """Return a run's model; a network as it was exported, if it was: that needs no torch."""
        if run.is_baseline:
            return run.model().predict_at
        from gafcnn.models.onnx_export import OnnxPredictor, to_onnx

        exported = self._exports.get(export_name(self._study, run))
        if exported and exported["checkpoint"] == run.metrics[CHECKSUMS][BEST]:
            return OnnxPredictor(self._study.folder / EXPORT / exported["onnx"]).predict_at
        network: Any = run.model()
        return OnnxPredictor(to_onnx(network)).predict_at

    @cached_property
    def _exports(self) -> dict[str, Any]:
        """The networks of the study's export by their names, if its files are intact."""
        folder = self._study.folder / EXPORT
        facts = read_sealed(folder / METADATA)
        return {} if facts is None or damaged_files(folder, METADATA) else facts["models"]

    def _known(self, symbol: str | None) -> str:
        """Return the symbol of the study whose thresholds apply."""
        first, *others = self.thresholds
        if symbol in self.thresholds:
            return str(symbol)
        if others:
            raise RunError(
                f"the symbol is {symbol}",
                expected=f"one of {', '.join(self.thresholds)}, each with its own threshold",
                instead=f'pass symbol="{first}", or set market.symbol={first}',
            )
        if symbol is not None and symbol not in self._warned:
            self._warned.add(symbol)
            log.warning("%s: the models were trained and evaluated on %s", symbol, first)
        return first

    def _check(self, bars: pd.DataFrame, symbol: str) -> None:
        interval, wanted = format_duration(interval_of(bars)), format_duration(self.interval)
        if interval != wanted:
            raise BarsError(
                f"the bars of {symbol} are of {interval}",
                expected=f"bars of {wanted}, as in the training",
                instead=f"set market.interval={wanted}",
            )
        if len(bars) < self.history:
            reason = "window.lookback" if self.history == self._lookback else "indicators"
            raise BarsError(
                f"there are {len(bars):,} bars of {symbol}",
                expected=f"at least {self.history:,} (for {reason})",
                instead="use more bars",
            )
        missing = gaps(bars.iloc[-self._lookback :])
        if len(missing):
            gap = missing.iloc[-1]
            raise BarsError(
                f"{int(gap['missing'])} bars of {symbol} are missing after "
                f"{gap['after']:%Y-%m-%d %H:%M} UTC",
                expected=f"the last {self._lookback} bars without a gap",
                instead="fill the gap, or wait until it is older than window.lookback",
            )


def export_name(study: Study, run: Run) -> str:
    """Return the name of a run's files in an export: `30m`, or `30m_seed=1_fold=2`."""
    model, *rest = run.folder.relative_to(study.folder).parts
    return model if len(study.runs[model]) == 1 else "_".join([model, *rest])


def _rules(evaluated: Mapping[str, Any]) -> tuple[TradingRules, Sequence[str], str]:
    """Return rules, names of ensembles, and a sentence about them, from an evaluation's metrics."""
    if not evaluated:
        text = "default rules, because the study has not been evaluated"
        return TradingRules(), METHODS, f"{text}; thresholds are chosen on validation rows"
    held = evaluated["config"]["evaluate"]
    options = {key: held[key] for key in ("trading", "costs", "ensemble") if held.get(key)}
    settings = create(EvaluateOptions, "", options)
    rules = settings.rules
    costs = evaluated.get("costs") or f"{rules.cost_bps:g} bps per side"
    chosen = "set by the rules" if rules.threshold is not None else "chosen on validation rows"
    text = f"rules of the last evaluation: {costs}; thresholds are {chosen}"
    return rules, settings.ensemble.methods, text
