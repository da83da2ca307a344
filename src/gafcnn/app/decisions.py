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

from gafcnn.app.runs import (
    BEST,
    CHECKSUMS,
    EVALUATION,
    EXPORT,
    METADATA,
    METRICS,
    damaged_files,
)
from gafcnn.app.runs import Run
from gafcnn.app.options import METHODS, EvaluateOptions
from gafcnn.atomic_io import read_sealed
from gafcnn.data.bars import ensure_bars, gaps, interval_of
from gafcnn.data.indicators import MEMORY
from gafcnn.data.labels import DIRECTIONS
from gafcnn.durations import format_duration, multiple_of
from gafcnn.errors import BarsError, RunError
from gafcnn.evaluation.comparisons import ENSEMBLE
from gafcnn.evaluation.ensembles import fit_ensembles, mean
from gafcnn.evaluation.joining import TWO_STAGE, average_seeds, join
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
        rules: The trading rules, and where they are from, as one sentence.
    """

    symbol: str
    time: pd.Timestamp
    close: float
    models: Mapping[str, Forecast]
    headline: str
    rules: str


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
        ensembles: Fitted ensembles and their members, by name.
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
        self._runs = {
            name: [run for run in runs if run.fold == self.fold]
            for name, runs in study.runs.items()
        }
        self._study, baseline = study, study.baseline
        for name, runs in self._runs.items():
            if not runs:
                raise RunError(
                    f"{name} has no run of fold {self.fold}, the newest",
                    expected="that fold for every model",
                    instead=f"evaluate.py study={study.folder.name} trains it",
                )
        self._warned = set[str | None]()
        self.interval = interval_of(next(iter(study.bars.values())))
        lookback = max(run.settings.window.lookback for [run, *_] in self._runs.values())
        self._lookback = multiple_of("window.lookback", lookback, self.interval)
        trees = study.runs[baseline][0].settings.model if baseline else None
        indicators = getattr(trees, "features", None) == "indicators"
        self.history = max(self._lookback, MEMORY if indicators else 0)
        evaluated = read_sealed(study.folder / EVALUATION / METRICS) or {}
        self.rules, methods, self.rules_text = _rules(evaluated)

        joined = join(
            {name: average_seeds(r.predictions for r in of) for name, of in self._runs.items()}
        )
        windows = [*study.windows]
        self.ensembles: dict[str, tuple[list[str], Callable[[Floats], Floats]]] = {}
        if self.classes != DIRECTIONS:
            if len(windows) > 1:
                self.ensembles[ENSEMBLE] = (windows, mean)
        else:
            if len(windows) > 1:
                fitted = fit_ensembles(joined, windows, methods)
                self.ensembles |= {name: (windows, combine) for name, combine in fitted.items()}
            if baseline and windows:
                both = [baseline, *windows]
                [stacking] = fit_ensembles(joined, both, ["stacking"]).values()
                self.ensembles[TWO_STAGE] = (both, stacking)
        combined = [name for name in self.ensembles if name != TWO_STAGE]
        self.names = [*windows, *combined]
        if baseline:
            self.names.append(baseline)
        if TWO_STAGE in self.ensembles:
            self.names.append(TWO_STAGE)
        preferred = (evaluated.get("headline"), TWO_STAGE, ENSEMBLE, *self.names)
        self.headline = next(name for name in preferred if name in self.names)
        self.thresholds = {
            symbol: self._choose(joined, symbol, bars) for symbol, bars in study.bars.items()
        }

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
        for name, (members, combine) in self.ensembles.items():
            p[name] = combine(np.stack([p[member] for member in members], axis=1))
        forecasts = {name: self._forecast(p[name][0], name, known) for name in self.names}
        time, close = bars.index[-1], float(bars["close"].iloc[-1])
        return Decision(symbol, time, close, forecasts, self.headline, self.rules_text)

    def _forecast(self, p: Any, name: str, symbol: str) -> Forecast:
        if self.classes != DIRECTIONS:
            return Forecast(dict(zip(self.classes, map(float, p), strict=True)))
        threshold = self.thresholds[symbol][name]
        position = int(positions([p], threshold, self.rules.sides)[0])
        return Forecast({"down": 1 - float(p), "up": float(p)}, threshold, position)

    def _choose(self, joined: pd.DataFrame, symbol: str, bars: pd.DataFrame) -> dict[str, float]:
        """Return the threshold of each model for a symbol, as an evaluation chooses it."""
        if self.classes != DIRECTIONS:
            return {}
        rows = joined.loc[joined["symbol"] == symbol]
        for name, (members, combine) in self.ensembles.items():
            rows = rows.assign(**{name: combine(rows[members].to_numpy(np.float64))})
        test_set = TestSet.of(rows, bars, self._study.label.horizon, self.rules)
        return {name: test_set.choice(self.fold, name).threshold for name in self.names}

    def _load(self, run: Run) -> Predict:
        if run.is_baseline:
            return run.model().predict_at
        from gafcnn.models.onnx_export import OnnxPredictor, to_onnx

        exported = self._exported(run)
        if exported is None:
            network: Any = run.model()
            exported = to_onnx(network)
        return OnnxPredictor(exported).predict_at

    @cached_property
    def _exports(self) -> dict[str, Any]:
        """The networks of the study's export by their names, if its files are intact."""
        folder = self._study.folder / EXPORT
        facts = read_sealed(folder / METADATA)
        return {} if facts is None or damaged_files(folder, METADATA) else facts["models"]

    def _exported(self, run: Run) -> bytes | None:
        """Return the network as `export` wrote it, if that was this one; it loads without torch."""
        found = self._exports.get(export_name(self._study, run))
        if found is None or found["checkpoint"] != run.metrics[CHECKSUMS][BEST]:
            return None
        return (self._study.folder / EXPORT / found["onnx"]).read_bytes()

    def _known(self, symbol: str | None) -> str:
        """Return the symbol of the study whose thresholds apply."""
        known = [*self.thresholds]
        if symbol in known or (symbol is None and len(known) == 1):
            return symbol or known[0]
        if len(known) == 1:
            if symbol not in self._warned:
                self._warned.add(symbol)
                log.warning("%s: the models were trained and evaluated on %s", symbol, known[0])
            return known[0]
        raise RunError(
            f"the symbol is {symbol}",
            expected=f"one of {', '.join(known)}, because each has its own threshold",
            instead=f'pass symbol="{known[0]}", or set market.symbol={known[0]}',
        )

    def _check(self, bars: pd.DataFrame, symbol: str) -> None:
        interval = interval_of(bars)
        if interval != self.interval:
            raise BarsError(
                f"the bars of {symbol} are of {format_duration(interval)}",
                expected=f"bars of {format_duration(self.interval)}, as in the training",
                instead=f"set market.interval={format_duration(self.interval)}",
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
    options = {
        key: value for key, value in evaluated["config"]["evaluate"].items() if value is not None
    }
    wanted = ("trading", "costs", "ensemble")
    settings = create(EvaluateOptions, "", {key: options[key] for key in wanted if key in options})
    rules = settings.rules
    costs = evaluated.get("costs") or f"{rules.cost_bps:g} bps per side"
    chosen = "set by the rules" if rules.threshold is not None else "chosen on validation rows"
    text = f"rules of the last evaluation: {costs}; thresholds are {chosen}"
    return rules, settings.ensemble.methods, text
