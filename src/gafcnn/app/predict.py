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
from contextlib import contextmanager, nullcontext
from typing import Any

import pandas as pd

from gafcnn.app.decisions import Decision
from gafcnn.app.options import Flag, Market, StudyOptions
from gafcnn.app.studies import Study
from gafcnn.data.exchange import ExchangeSource
from gafcnn.data.sources import at_rest, load_bars
from gafcnn.durations import Duration, OptionalDuration, format_duration
from gafcnn.errors import BarsError, ConfigError, GafcnnError, ImagesError, SamplesError
from gafcnn.report.console import decision_line, decision_table, format_age, show
from gafcnn.settings import as_plain, create, settings

LATE = 400  # further bars that are requested: an exchange may lack some
NEVER_NEW = ("simulated", "tick_walk")  # sources in which no further bar closes
REFUSED = (BarsError, SamplesError, ImagesError)  # with watch=true, the next bars may be accepted

log = logging.getLogger(__name__)

Newest = Callable[[], Iterator[tuple[str, pd.DataFrame | GafcnnError]]]


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

    market: Market = None
    max_age: OptionalDuration = None
    settle: Duration = pd.Timedelta("5s")
    json: Flag = False
    watch: Flag = False


def predict(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decide on the newest bar of each symbol, and print what the models predict.

    Args:
        options: The options of `conf/predict.yaml`.

    Returns:
        The last decision of each symbol, as it is printed with `json=true`.

    Raises:
        RunError: The study has no complete runs.
        BarsError: The newest bars are too old, too few, have a gap, or are of another interval.
        SamplesError, ImagesError: A model cannot be shown the bars of a symbol. With `watch`, bars
            that are refused are logged instead.
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
    decider, max_age = study.decider, settings.max_age
    if decider.fold is not None:
        log.info("walk-forward study: its newest fold, %d, decides", decider.fold)
    if max_age is None and isinstance(source, ExchangeSource):
        max_age = 2 * decider.interval + settings.settle
    newest_bars = _newest_bars(source, decider.history, settings.settle)
    decisions: dict[str, dict[str, Any]] = {}
    with _stopped_quietly() if settings.watch else nullcontext():
        for _ in closes(decider.interval, settings.settle) if settings.watch else [None]:
            refused = []
            for symbol, bars in newest_bars():
                try:
                    if isinstance(bars, GafcnnError):
                        raise bars
                    _check_age(symbol, bars.index[-1], max_age)
                    facts = _facts(study, decider.decide(bars, symbol))
                except REFUSED as error:
                    refused.append(error)
                    continue
                if symbol in decisions and decisions[symbol]["time"] >= facts["time"]:
                    before = decisions[symbol]["time"]
                    log.warning("no bar of %s has closed since %s", symbol, before)
                    continue
                decisions[symbol] = facts
                if settings.json:
                    sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")
                    sys.stdout.flush()
                else:
                    log.info("%s", decision_line(facts))
                    show(decision_table(facts))
            for error in refused:
                if not settings.watch:
                    raise error
                log.warning("%s", error)
    return list(decisions.values())


def _newest_bars(source: Any, history: int, settle: pd.Timedelta) -> Newest:
    """Return a function that yields each symbol's newest bars, or why they are refused."""
    newest = source.newest(history + LATE, settle) if isinstance(source, ExchangeSource) else None

    def bars() -> Iterator[tuple[str, pd.DataFrame | GafcnnError]]:
        if newest is None:
            try:
                yield from load_bars(source).items()
            except REFUSED as error:
                yield "", error
            return
        for symbol, reader in newest.items():
            try:
                yield symbol, reader.read(pd.Timestamp.now("UTC")).iloc[-history:]
            except REFUSED as error:
                yield symbol, error

    return bars


def _check_age(symbol: str, newest: pd.Timestamp, max_age: pd.Timedelta | None) -> None:
    now, text = pd.Timestamp.now("UTC"), f"{newest:%Y-%m-%d %H:%M:%S} UTC"
    if newest > now:
        raise BarsError(
            f"the newest bar of {symbol} closes at {text}, in the future",
            expected="a bar that has closed",
            instead="remove the bar that is still open, or correct the clock of this machine",
        )
    if max_age is not None and now - newest > max_age:
        age = format_age((now - newest).total_seconds())
        raise BarsError(
            f"the newest bar of {symbol} closed at {text}, {age} ago",
            expected=f"a bar that is at most {format_duration(max_age)} old",
            instead="use newer bars, or set a longer max_age",
        )


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
        "horizon": format_duration(study.label.horizon) if study.label.horizon else None,
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
