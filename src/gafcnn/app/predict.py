"""Decide on the newest bar of each symbol of a study, once or at each close.

Models are loaded once, and then decide in milliseconds. Nothing is written, and no outcome of these
bars is used: a decision is not a look at test rows.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.options import Flag, Market, StudyOptions
from gafcnn.app.runs import EXPORT, METADATA, Run, damaged_files, read_metrics
from gafcnn.app.studies import Study
from gafcnn.data.bars import ensure_bars, gaps, interval_of
from gafcnn.data.exchange import ExchangeSource, NewestBars
from gafcnn.data.indicators import MEMORY
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.sources import at_rest, load_bars
from gafcnn.durations import Duration, OptionalDuration, format_duration, multiple_of
from gafcnn.errors import BarsError, ConfigError, GafcnnError, ImagesError, RunError, SamplesError
from gafcnn.evaluation.ensembles import ENSEMBLE, TWO_STAGE, combine
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.positions import positions
from gafcnn.evaluation.test_set import TestSet, split_rows
from gafcnn.report.console import decision_line, decision_table, format_age, show
from gafcnn.settings import create, settings

LATE = 400  # further bars that are requested: an exchange may lack some
REFUSED = (BarsError, SamplesError, ImagesError)  # with watch=true, the next bars may be accepted

Predict = Callable[[pd.DataFrame, NDArray[np.int64]], NDArray[np.float64]]

log = logging.getLogger(__name__)


@settings("")
class PredictOptions(StudyOptions):
    """The options of `conf/predict.yaml`."""

    market: Market = None
    max_age: OptionalDuration = None
    settle: Duration = pd.Timedelta("5s")
    json: Flag = False
    watch: Flag = False


def predict(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decide on the newest bar of each symbol by `conf/predict.yaml`, and print the predictions.

    Returns:
        The last decision of each symbol, as it is printed with `json=true`.

    Raises:
        RunError: The study has no complete runs.
        BarsError: The newest bars are too old, too few, have a gap, or are of another interval;
            with `watch`, that is logged instead.
    """
    settings = create(PredictOptions, "", options)
    if settings.json:  # keep standard output for the decisions
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(sys.stderr)
    study = Study(settings.folder, settings.windows)
    # the options of a run may name an address that is not trusted; typed ones are
    source: Any = settings.market or at_rest(study.settings.market)
    decider, max_age = study.decider, settings.max_age
    if decider.fold is not None:
        log.info("walk-forward study: its newest fold, %d, decides", decider.fold)
    newest: Mapping[str, NewestBars] = {}
    if isinstance(source, ExchangeSource):
        newest = source.newest(decider.history + LATE, settings.settle)
        max_age = max_age or 2 * decider.interval + settings.settle
    decisions: dict[str, dict[str, Any]] = {}
    with suppress(KeyboardInterrupt) if settings.watch else nullcontext():
        for _ in closes(decider.interval, settings.settle) if settings.watch else [None]:
            refused: list[GafcnnError] = []
            with _collected(refused):
                for symbol, bars in (newest or load_bars(source)).items():
                    with _collected(refused):
                        if callable(bars):
                            bars = bars(pd.Timestamp.now("UTC")).iloc[-decider.history :]
                        _check_age(symbol, bars.index[-1], max_age)
                        _add(decisions, _facts(study, decider.decide(bars, symbol)), settings)
            for error in refused:
                if not settings.watch:
                    raise error
                log.warning("%s", error)
    return list(decisions.values())


@contextmanager
def _collected(refused: list[GafcnnError]) -> Iterator[None]:
    try:
        yield
    except REFUSED as error:
        refused.append(error)


def _add(decisions: dict[str, Any], facts: dict[str, Any], settings: PredictOptions) -> None:
    """Print a decision and keep it, if its bar is a new one."""
    before = decisions.get(facts["symbol"])
    if before is not None and before["time"] >= facts["time"]:
        log.warning("no bar of %s has closed since %s", facts["symbol"], before["time"])
        return
    decisions[facts["symbol"]] = facts
    if settings.json:
        sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")
        sys.stdout.flush()
    else:
        log.info("%s", decision_line(facts))
        show(decision_table(facts))


def _check_age(symbol: str, newest: pd.Timestamp, max_age: pd.Timedelta | None) -> None:
    now, text = pd.Timestamp.now("UTC"), f"{newest:%Y-%m-%d %H:%M:%S} UTC"
    if newest > now:
        found = f"the newest bar of {symbol} closes at {text}, in the future"
        instead = "remove the open bar, or correct the clock of this machine"
        raise BarsError(found, expected="a bar that has closed", instead=instead)
    if max_age is not None and now - newest > max_age:
        age, allowed = format_age((now - newest).total_seconds()), format_duration(max_age)
        found = f"the newest bar of {symbol} closed at {text}, {age} ago"
        instead = "use newer bars, or set a longer max_age"
        raise BarsError(found, expected=f"at most {allowed}", instead=instead)


def _facts(study: Study, decision: Decision) -> dict[str, Any]:
    """Return a decision as plain data; probabilities and thresholds are not rounded."""
    models = {
        name: {"probabilities": dict(forecast.probabilities), "predicted": forecast.predicted}
        if forecast.position is None
        else {
            "p_up": forecast.p_up,
            "confidence": abs(forecast.p_up - 0.5),
            "threshold": forecast.threshold,
            "position": forecast.position,
        }
        for name, forecast in decision.models.items()
    }
    return {
        "study": study.folder.name,
        "fold": study.decider.fold,
        "symbol": decision.symbol,
        "time": decision.time.isoformat(),
        "age_seconds": round((pd.Timestamp.now("UTC") - decision.time).total_seconds(), 3),
        "close": decision.close,
        "horizon": format_duration(study.horizon) if study.horizon else None,
        "headline": decision.headline,
        "rules": decision.rules,
        "models": models,
    }


def closes(interval: pd.Timedelta, settle: pd.Timedelta) -> Iterator[None]:
    """Yield at once, then `settle` after each close of a bar, waiting for it.

    Bars close at multiples of their interval since 1970, as those of exchanges do.
    """
    while True:
        yield
        now = pd.Timestamp.now("UTC")
        closed = (now - settle).floor(interval)
        time.sleep((closed + interval + settle - now).total_seconds())


@dataclass(frozen=True)
class Forecast:
    """What one model predicts, and the position that follows.

    Attributes:
        probabilities: The probability of each class, by its name.
        threshold: The confidence |P(up) - 1/2| from which to trade; None for other classes.
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
        time: Close time of the bar, UTC: the decision time.
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

    Attributes:
        fold: The fold that decides; None without walk-forward.
        history: The number of bars that a decision needs, after which indicators have settled; at
            most those of the symbol with the fewest in training.
        ensembles: Fitted ensembles, by name.
        thresholds: The threshold of each model, by symbol and by name; empty for other classes.
        names: The models, in the order in which they are shown.

    Raises:
        PredictionsError: Models are not about the same samples, or no ensemble can be fitted.
        ConfigError: The extra `export` is not installed.
    """

    def __init__(self, study: Study) -> None:
        if study.is_ranking:
            raise ConfigError(
                f"the study {study.folder.name} ranks symbols in a cross-section",
                expected="a study of a direction or of classes, decided symbol by symbol",
                instead="predict the scores of all symbols together in Python, with "
                "load_run(folder).model().predict_samples(samples)",
            )
        self.classes, self.fold = study.label.classes, study.folds[-1]
        self._study, self._warned = study, set[str | None]()
        self.interval = interval_of(next(iter(study.bars.values())))
        options = [runs[0].settings for runs in study.runs.values()]
        lookback = max(one.window.lookback for one in options)
        self._lookback = multiple_of("window.lookback", lookback, self.interval)
        indicators = any(getattr(one.model, "features", None) == "indicators" for one in options)
        # a study of fewer bars has learned from indicators that have not settled
        settled = min(MEMORY, *(len(bars) for bars in study.bars.values())) if indicators else 0
        self.history = max(self._lookback, settled)
        direction = self.classes == DIRECTIONS
        self.rules, methods, text = study.rules
        self.rules_text = text if direction else None
        joined, classes = join(study.members()), () if direction else self.classes
        asked = study.windows, [*methods, TWO_STAGE], study.baseline, classes
        table, self.names, self.ensembles = combine(joined, *asked)
        evaluated = study.evaluation or {}
        preferred = (evaluated.get("headline"), TWO_STAGE, ENSEMBLE, *self.names)
        self.headline = next(name for name in preferred if name in self.names)
        # of each model and symbol, as an evaluation chooses it
        self.thresholds: dict[str, dict[str, float]] = {symbol: {} for symbol in study.bars}
        for symbol, bars in study.bars.items() if direction else ():
            rows = table.loc[table["symbol"] == symbol]
            test_set = TestSet(bars, *split_rows(rows), study.horizon, self.rules)
            for name in self.names:
                self.thresholds[symbol][name] = test_set.choice(self.fold, name).threshold

    @cached_property
    def members(self) -> dict[str, Sequence[Predict]]:
        """For each model, a function of bars and rows per seed."""
        return {
            name: [self._load(run) for run in runs if run.fold == self.fold]
            for name, runs in self._study.runs.items()
            if name in self.names  # momentum, for example, is in no ensemble
        }

    def decide(self, bars: pd.DataFrame, symbol: str | None = None) -> Decision:
        """Decide at the last of these bars, see `gafcnn.app.studies.Study.decide`."""
        known = self._known(symbol)
        symbol = symbol or known
        self._check(ensure_bars(bars), symbol)
        last = np.array([len(bars) - 1])
        asked = ((name, [ask(bars, last) for ask in of]) for name, of in self.members.items())
        p = {name: np.mean(found, axis=0) for name, found in asked}
        for name, one in self.ensembles.items():
            p[name] = one(np.stack([p[member] for member in one.members], axis=1))
        time, close = bars.index[-1], float(bars["close"].iloc[-1])
        found = {}
        for name in self.names:
            if self.classes == DIRECTIONS:
                up, threshold = float(p[name][0]), self.thresholds[known][name]
                position = int(positions([up], threshold, self.rules.sides)[0])
                found[name] = Forecast({"down": 1 - up, "up": up}, threshold, position)
            else:
                found[name] = Forecast(dict(zip(self.classes, p[name][0].tolist(), strict=True)))
        return Decision(symbol, time, close, found, self.headline, self.rules_text)

    def _load(self, run: Run) -> Predict:
        """Return a run's model; a network as it was exported, if it was: that needs no torch."""
        if run.is_baseline:
            return run.model().predict_at
        from gafcnn.models.onnx_export import OnnxPredictor, to_onnx

        exported = self._exports.get(self._study.name_of(run))
        if exported and exported["checkpoint"] == run.checksum:
            return OnnxPredictor(self._study.folder / EXPORT / exported["onnx"]).predict_at
        network: Any = run.model()
        return OnnxPredictor(to_onnx(network)).predict_at

    @cached_property
    def _exports(self) -> dict[str, Any]:
        """The networks of the study's export by their names, if its files are intact."""
        folder = self._study.folder / EXPORT
        return {} if damaged_files(folder, METADATA) else read_metrics(folder, METADATA)["models"]

    def _known(self, symbol: str | None) -> str:
        """Return the symbol of the study whose thresholds apply."""
        first, *others = self.thresholds
        if symbol in self.thresholds:
            return str(symbol)
        if others:
            expected = f"one of {', '.join(self.thresholds)}, each with its own threshold"
            instead = f'pass symbol="{first}", or set market.symbol={first}'
            raise RunError(f"the symbol is {symbol}", expected=expected, instead=instead)
        if symbol is not None and symbol not in self._warned:
            self._warned.add(symbol)
            log.warning("%s: the models were trained and evaluated on %s", symbol, first)
        return first

    def _check(self, bars: pd.DataFrame, symbol: str) -> None:
        interval, wanted = format_duration(interval_of(bars)), format_duration(self.interval)
        if interval != wanted:
            found, expected = f"the bars of {symbol} are of {interval}", f"{wanted}, as in training"
            instead = f"pass such bars; on the command line, set market.interval={wanted}"
            raise BarsError(found, expected=expected, instead=instead)
        if len(bars) < self.history:
            reason = "window.lookback" if self.history == self._lookback else "indicators"
            found = f"there are {len(bars):,} bars of {symbol}"
            expected = f"at least {self.history:,} (for {reason})"
            raise BarsError(found, expected=expected, instead="use more bars")
        missing = gaps(bars.iloc[-self._lookback :])
        if len(missing):
            gap = missing.iloc[-1]
            after = f"{int(gap['missing'])} after {gap['after']:%Y-%m-%d %H:%M} UTC"
            expected = f"the last {self._lookback} bars without a gap"
            instead = "fill the gap, or wait until it is older than window.lookback"
            found = f"bars of {symbol} are missing: {after}"
            raise BarsError(found, expected=expected, instead=instead)
