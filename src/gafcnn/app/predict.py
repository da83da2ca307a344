"""Decide on the newest bar of each symbol of a study, once or at each close.

Nothing is written, and no outcome of these bars is used: a decision is not a look at test rows.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import pandas as pd

from gafcnn.app.decisions import Decider, Decision
from gafcnn.app.studies import Study
from gafcnn.app.study_settings import StudyOptions
from gafcnn.app.train_settings import registered
from gafcnn.data.exchange import ExchangeSource
from gafcnn.data.sources import SOURCES, Source, at_rest, load_bars
from gafcnn.durations import Duration, OptionalDuration, format_duration
from gafcnn.errors import BarsError, ConfigError, GafcnnError, ImagesError, SamplesError
from gafcnn.report.console import decision_line, decision_table, format_age, show
from gafcnn.settings import as_plain, create, settings

LATE = 400  # further bars that are requested: an exchange may lack some
NEVER_NEW = ("simulated", "tick_walk")  # sources in which no further bar closes
REFUSED = (BarsError, SamplesError, ImagesError)  # with watch=true, the next bars may be accepted

log = logging.getLogger(__name__)

Reader = Callable[[], pd.DataFrame]


@settings("")
class PredictOptions(StudyOptions):
    """The options of predict.

    Attributes:
        market: A source of the newest bars, in place of the study's.
        max_age: How old the newest bar may be; None for two bars of an exchange, and for any age of
            other sources.
        settle: How long after its close a bar is requested.
        json: Whether to print one line of JSON per decision.
        watch: Whether to decide at each bar's close.
    """

    market: Annotated[Any, registered(SOURCES, "market")] = None
    max_age: OptionalDuration = None
    settle: Duration = pd.Timedelta("5s")
    json: bool = False
    watch: bool = False


def predict(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decide on the newest bar of each symbol, and print what the models predict.

    Args:
        options: The options of `conf/predict.yaml`.

    Returns:
        The last decision of each symbol, as it is printed with `json=true`.

    Raises:
        RunError: The study has no complete runs.
        BarsError: The newest bars are too old, too few, have a gap, or are of another interval.
    """
    settings = create(PredictOptions, "", options)
    if settings.json:
        _log_to_stderr()
    study = Study(settings.folder, settings.windows)
    # the options of a run may name an address that is not trusted; typed ones are
    source = settings.market or at_rest(study.settings.market)
    if settings.watch and as_plain(source).get("kind") in NEVER_NEW:
        raise ConfigError(
            "watch=true for a simulated market, in which no further bar closes",
            expected="a market that goes on",
            instead="remove watch=true, or set market=bnb, or market=file market.path=...",
        )
    decider = study.decider
    if decider.fold is not None:
        log.info("walk-forward study: its newest fold, %d, decides", decider.fold)
    latest = _Latest(settings, study)
    readers = _readers(source, decider, settings)
    if settings.watch:
        with _stopped_quietly():
            for _ in closes(decider.interval, settings.settle):
                latest.update(readers)
    else:
        latest.update(readers)
    return list(latest.decisions.values())


def _readers(
    source: Any, decider: Decider, settings: PredictOptions
) -> Callable[[], dict[str, Reader]]:
    """Return a function that returns, for each symbol, a function that reads its newest bars."""
    if not isinstance(source, ExchangeSource):
        return lambda: {
            symbol: lambda bars=bars: bars for symbol, bars in load_bars(source).items()
        }
    newest = source.newest(decider.history + LATE, settings.settle)

    def reader(symbol: str) -> Reader:
        return lambda: newest[symbol].read(pd.Timestamp.now("UTC")).iloc[-decider.history :]

    return lambda: {symbol: reader(symbol) for symbol in newest}


class _Latest:
    """Makes and prints decisions, each once.

    Attributes:
        decisions: The last decision of each symbol, as plain data.
    """

    def __init__(self, options: PredictOptions, study: Study) -> None:
        self._options, self._study, self._decider = options, study, study.decider
        self.decisions: dict[str, dict[str, Any]] = {}

    def update(self, find_readers: Callable[[], Mapping[str, Reader]]) -> None:
        """Decide on the newest bar of each symbol, and print what is new.

        Args:
            find_readers: Function that returns the reader of each symbol.

        Raises:
            BarsError, SamplesError, ImagesError: A symbol's bars are refused, or a file cannot be
                read; with `watch` they are logged instead.
        """
        refused: list[GafcnnError] = []
        readers: Mapping[str, Reader] = {}
        try:
            readers = find_readers()
        except REFUSED as error:
            refused.append(error)
        for symbol, read in readers.items():
            try:
                facts = self._decide(symbol, read())
            except REFUSED as error:
                refused.append(error)
                continue
            before = self.decisions.get(symbol)
            if before is not None and before["time"] >= facts["time"]:
                log.warning("no bar of %s has closed since %s", symbol, before["time"])
                continue
            self.decisions[symbol] = facts
            if self._options.json:
                sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")
                sys.stdout.flush()
            else:
                log.info("%s", decision_line(facts))
                show(decision_table(facts))
        if refused and not self._options.watch:
            raise refused[0]
        for error in refused:
            log.warning("%s", error)

    def _decide(self, symbol: str, bars: pd.DataFrame) -> dict[str, Any]:
        newest, now = bars.index[-1], pd.Timestamp.now("UTC")
        if newest > now:
            raise BarsError(
                f"the newest bar of {symbol} closes at {newest:%Y-%m-%d %H:%M:%S} UTC, in the "
                "future",
                expected="a bar that has closed",
                instead="remove the bar that is still open, or correct the clock of this machine",
            )
        max_age = self._options.max_age
        if max_age is None and isinstance(self._options.market or self._market, ExchangeSource):
            max_age = 2 * self._decider.interval + self._options.settle
        if max_age is not None and now - newest > max_age:
            raise BarsError(
                f"the newest bar of {symbol} closed at {newest:%Y-%m-%d %H:%M:%S} UTC, "
                f"{format_age((now - newest).total_seconds())} ago",
                expected=f"a bar that is at most {format_duration(max_age)} old",
                instead="use newer bars, or set a longer max_age",
            )
        return self._facts(self._decider.decide(bars, symbol))

    @property
    def _market(self) -> Source:
        return self._study.settings.market

    def _facts(self, decision: Decision) -> dict[str, Any]:
        """Return a decision as plain data; probabilities and thresholds are not rounded."""
        age = pd.Timestamp.now("UTC") - decision.time
        models = {}
        for name, forecast in decision.models.items():
            if forecast.position is None:
                models[name] = {
                    "probabilities": dict(forecast.probabilities),
                    "predicted": forecast.predicted,
                }
            else:
                models[name] = {
                    "p_up": forecast.p_up,
                    "confidence": abs(forecast.p_up - 0.5),
                    "threshold": forecast.threshold,
                    "position": forecast.position,
                }
        return {
            "study": self._study.folder.name,
            "fold": self._decider.fold,
            "symbol": decision.symbol,
            "time": decision.time.isoformat(),
            "age_seconds": round(age.total_seconds(), 3),
            "close": decision.close,
            "horizon": format_duration(self._study.label.horizon),
            "headline": decision.headline,
            "rules": decision.rules,
            "models": models,
        }


def closes(interval: pd.Timedelta, settle: pd.Timedelta) -> Iterator[pd.Timestamp]:
    """Yield the present, then each close of a bar, `settle` after it, waiting for each.

    Bars close at multiples of their interval since 1970, as those of exchanges do.
    """
    yield pd.Timestamp.now("UTC")
    while True:
        time.sleep(seconds_until_next(pd.Timestamp.now("UTC"), interval, settle))
        yield pd.Timestamp.now("UTC")


def seconds_until_next(now: pd.Timestamp, interval: pd.Timedelta, settle: pd.Timedelta) -> float:
    """Return the time until `settle` after the next bar has closed."""
    closed = (now - settle).floor(interval)
    return (closed + interval + settle - now).total_seconds()


@contextmanager
def _stopped_quietly() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the body normally."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_to_stderr() -> None:
    """Keep standard output for the decisions."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
