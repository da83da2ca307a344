"""What a study says now: the newest bars, its models, one answer; or one at each bar's close.

Nothing is written and nothing is scored: no outcome of these bars is looked at, so that a decision
is no look at the test rows, and none is counted in the study's ledger.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.checks import check_prediction
from gafcnn.app.deciding import Decider, Decision
from gafcnn.app.factory import made, plain
from gafcnn.app.studies import (
    Runs,
    at_rest,
    chosen,
    classes_asked,
    fold_of,
    is_simulated,
    markets_of,
    names,
    newest_fold,
    windows_of,
)
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.multi_symbol import per_symbol
from gafcnn.data.newest import NewestBars
from gafcnn.data.sources import Market
from gafcnn.durations import format_duration, parse_duration
from gafcnn.errors import BarsError, ConfigError, GafcnnError, ImagesError, RunError, SamplesError
from gafcnn.evaluation.positions import confidence
from gafcnn.report.console import decision_line, decision_table, format_age, show

REFUSALS = (BarsError, SamplesError, ImagesError)
"""What bars may be refused for; others may be fit to decide on."""

LATE = 400  # bars that are fetched beyond those needed: an exchange lacks some, or is late

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where the newest bars of a symbol come from.

    Attributes:
        read: The symbol's market up to the moment given.
        max_age: How old its newest bar may be; None for any age.
    """

    read: Callable[[pd.Timestamp], Market]
    max_age: pd.Timedelta | None


def predict(cfg: DictConfig) -> list[dict[str, Any]]:
    """Decide on the newest bar of each symbol, once or at each close, and print what came of it.

    Args:
        cfg: `conf/predict.yaml`, composed.

    Returns:
        The last decisions, one for each symbol, as they are printed with `json=true`.

    Raises:
        RunError: The study has no finished runs, or no baseline, or recognises patterns.
        BarsError: The newest bars are stale, too few, have a gap, or are of another interval.
    """
    check_prediction(cfg)
    if cfg.json:
        _tell_on_stderr()
    torch.set_num_threads(1)  # of a single sample more of them would only wait for each other
    runs = _runs(cfg)
    market = _market(cfg, runs)
    decider = Decider(runs, markets_of(runs), made(cfg.trading), names(cfg, "ensemble.methods"))
    sources = [_source(cfg, decider, one) for one in per_symbol(market)]
    told: dict[str, dict[str, Any]] = {}
    if cfg.watch:
        with _ended_quietly():
            for _ in closes(decider.interval, parse_duration("settle", cfg.settle)):
                _decide(cfg, decider, sources, told)
    else:
        _decide(cfg, decider, sources, told)
    return list(told.values())


def _runs(cfg: DictConfig) -> Runs:
    """The study's runs that decide: of its newest fold, where it walks forward."""
    study = Path(cfg.paths.outputs, cfg.study)
    runs = newest_fold(chosen(study, None if cfg.windows is None else names(cfg, "windows")))
    _check(cfg.study, runs)
    if (fold := fold_of(next(iter(runs.values()))[0])) is not None:
        log.info("study %s walks forward: its newest fold, %d, decides", cfg.study, fold)
    return runs


def _check(study: str, runs: Runs) -> None:
    """Assert that runs can decide.

    Raises:
        RunError: They tell patterns, or there is not one baseline among them.
    """
    if classes_asked(runs) != DIRECTIONS:
        raise RunError(
            f"study {study} recognises patterns",
            expected="a study of directions, of which a position can be made",
            instead="ask its networks in a notebook, load_run(...).model(), or export them",
        )
    if (count := len(runs) - len(windows_of(runs))) != 1:
        raise RunError(
            f"study {study} has {count or 'no'} baseline{'s' * (count > 1)}",
            expected="one, of which the two stages are made",
            instead=f"evaluate it, which trains one, or give python train.py model=xgboost "
            f"study={study}"
            if not count
            else "move the other one into a study of its own",
        )


def _market(cfg: DictConfig, runs: Runs) -> dict[str, Any]:
    """Where the newest bars come from: the runs' own market, or the one that is typed.

    Raises:
        ConfigError: They are watched for and none comes.
    """
    market = next(iter(runs.values()))[0].config["market"]
    # an address that the config of a run names may come from elsewhere, one that is typed not
    typed = OmegaConf.select(cfg, "market")
    options = at_rest(market) if typed is None else plain(typed)
    if cfg.watch and is_simulated(options):
        raise ConfigError(
            "watch=true over a simulated market, of which no bar closes any more",
            expected="a market that goes on",
            instead="leave out watch=true, or give market=bnb, or market=file with a file that is "
            "written anew",
        )
    return options


def _source(cfg: DictConfig, decider: Decider, options: dict[str, Any]) -> Source:
    asked = None if cfg.max_age is None else parse_duration("max_age", cfg.max_age)
    if "exchange" not in options:
        return Source(lambda _: made(OmegaConf.create(at_rest(options)), Market), asked)
    settle = parse_duration("settle", cfg.settle)
    keys = ("symbol", "exchange", "pair", "interval", "url")
    count = decider.history + LATE
    newest = NewestBars(**{key: options[key] for key in keys}, count=count, settle=settle)
    max_age = 2 * decider.interval + settle if asked is None else asked

    def read(now: pd.Timestamp) -> Market:
        return Market(newest.symbol, newest.read(now).iloc[-decider.history :])

    return Source(read, max_age)


def _decide(
    cfg: DictConfig, decider: Decider, sources: Sequence[Source], told: dict[str, dict[str, Any]]
) -> None:
    """Decide on each symbol's newest bar, and print what was not told before.

    Args:
        cfg: `conf/predict.yaml`, composed.
        decider: The study's models.
        sources: Where bars come from, one for each symbol.
        told: The last decision of each symbol, which is brought up to date.

    Raises:
        BarsError, SamplesError, ImagesError: Bars are refused, and none are waited for.
    """
    refused: list[GafcnnError] = []
    for source in sources:
        try:
            facts = _facts(cfg.study, decider, *_decided(decider, source))
        except REFUSALS as error:  # which concerns no other symbol
            refused.append(error)
            continue
        before = told.get(facts["symbol"])
        # spelled alike, the later time is the later text
        if before is not None and before["time"] >= facts["time"]:
            log.warning("no bar of %s has closed since %s", facts["symbol"], before["time"])
            continue
        told[facts["symbol"]] = facts
        if cfg.json:
            sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")
            sys.stdout.flush()
        else:
            log.info("%s", decision_line(facts))
            show(decision_table(facts))
    if refused and not cfg.watch:
        raise refused[0]
    for error in refused:
        log.warning("%s", error)


def _decided(decider: Decider, source: Source) -> tuple[Decision, pd.Timedelta]:
    """A decision, and how old its bar is.

    Raises:
        BarsError: It is too old, or has not closed yet.
    """
    market = source.read(pd.Timestamp.now("UTC"))
    newest = market.bars.index[-1]
    age = pd.Timestamp.now("UTC") - newest
    if age < pd.Timedelta(0):
        raise BarsError(
            f"the newest bar of {market.symbol} closes at {newest:%Y-%m-%d %H:%M:%S} UTC, which is "
            "to come",
            expected="a bar that has closed",
            instead="leave out the one that is still open, or set this machine's clock right",
        )
    if source.max_age is not None and age > source.max_age:
        raise BarsError(
            f"the newest bar of {market.symbol} closed at {newest:%Y-%m-%d %H:%M:%S} UTC, "
            f"{format_age(age.total_seconds())} ago",
            expected=f"one that is no older than {format_duration(source.max_age)}",
            instead="bring newer bars, see whether the market still trades, or set a longer "
            "max_age",
        )
    decision = decider.decide(market.symbol, market.bars)
    return decision, pd.Timestamp.now("UTC") - newest  # as one is told it, decided on


def _facts(study: str, decider: Decider, decision: Decision, age: pd.Timedelta) -> dict[str, Any]:
    """A decision as strict JSON: probabilities and thresholds to the last bit."""
    return {
        "study": study,
        "fold": decider.fold,
        "symbol": decision.symbol,
        "time": decision.time.isoformat(),
        "age_seconds": round(age.total_seconds(), 3),
        "close": decision.close,
        "horizon": format_duration(decider.horizon),
        "headline": decider.headline,
        "models": {
            name: {
                "p_up": said.p_up,
                "confidence": float(confidence([said.p_up])[0]),
                "threshold": said.threshold,
                "position": said.position,
            }
            for name, said in decision.models.items()
        },
    }


# --- one after another ----------------------------------------------------------------------------


def closes(interval: pd.Timedelta, settle: pd.Timedelta) -> Iterator[pd.Timestamp]:
    """The present, then each close of a bar, a while after it; each is waited for.

    Bars close at multiples of their interval since 1970, as those of exchanges do.
    """
    yield pd.Timestamp.now("UTC")
    while True:
        time.sleep(seconds_until_next(pd.Timestamp.now("UTC"), interval, settle))
        yield pd.Timestamp.now("UTC")


def seconds_until_next(now: pd.Timestamp, interval: pd.Timedelta, settle: pd.Timedelta) -> float:
    """How long it is until the next bar has closed and settled."""
    closed = (now - settle).floor(interval)
    return (closed + interval + settle - now).total_seconds()


@contextmanager
def _ended_quietly() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what would go on for ever, as the end that it is."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_on_stderr() -> None:
    """Leave the standard output to the decisions."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
