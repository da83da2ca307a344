"""A finished study on bars that are later than all it has seen. Nothing is fitted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gafcnn.data.bars import ensure_bars, interval_of
from gafcnn.data.splits import OutOfTime
from gafcnn.durations import format_duration, parse_duration
from gafcnn.errors import BarsError, ConfigError, RunError
from gafcnn.evaluation.joining import average_seeds

if TYPE_CHECKING:
    from gafcnn.app.studies import Study
    from gafcnn.evaluation.judge import Judgement

Bars = Mapping[str, pd.DataFrame]
_JUMP = 0.5  # of a log price between two bars: more than bars that fit together have

log = logging.getLogger(__name__)


def judge_later(
    study: Study,
    bars: Bars | pd.DataFrame,
    *,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Judgement:
    """Judge a study on later bars, see `gafcnn.app.studies.Study.judge_on`; no look is recorded."""
    later = _by_symbol(study, bars)
    end = max(frame.index[-1] for frame in study.bars.values())
    _check_symbols(study, later)
    for symbol, frame in later.items():
        _check_bars(study.bars, symbol, frame, end)
    extended, first = dict(study.bars), next(iter(study.bars.values()))
    for symbol, frame in later.items():
        like = study.bars.get(symbol, first)
        parts = pd.concat([like, frame] if symbol in study.bars else [frame])
        extended[symbol] = parts.reindex(columns=like.columns)
        extended[symbol].attrs = dict(like.attrs)
    fold = study.folds[-1]
    runs = {name: [run for run in every if run.fold == fold] for name, every in study.runs.items()}
    newest = [run for every in runs.values() for run in every][-1]
    embargo = parse_duration("embargo", newest.metrics["embargo"])
    split = OutOfTime(newest.settings.split, end.to_datetime64(), embargo)
    samples = replace(newest.settings, split=split).samples(extended)
    asked = replace(samples, split=replace(samples.split, val=samples.split.val[:0]))  # test only
    tables, predicted = {}, {}
    for name, trained in study.members().items():
        if not runs[name]:  # a baseline may lack the fold
            continue
        val = trained.loc[trained["split"] == "val"]
        val = val.loc[val["fold"].isna() | (val["fold"] == fold)]
        predicted[name] = pd.concat([run.model(asked).predict(asked) for run in runs[name]])
        both = [val, average_seeds([predicted[name]])]
        tables[name] = pd.concat(both, ignore_index=True)
    rules, ensembles, of_rules = study.rules
    options = {"rules": rules, "ensembles": ensembles, "resamples": resamples, "seed": seed}
    judgement = study.judge_tables(tables, extended, samples=samples, progress=progress, **options)
    judgement.metrics["later"] = True
    judgement.metrics["seeds"] = study.seed_scores(predicted)
    models = "models" if fold is None else f"models of fold {fold}"
    for note in (
        f"{models}, ensembles, thresholds and bands are as they were, of a study that ends at "
        f"{end:%Y-%m-%d %H:%M} UTC; {of_rules}",
        *study.missing_folds(),
        *_changes(study.bars, later),
    ):
        log.info("%s", note)
        judgement.notes.append(note)
    return judgement


def _by_symbol(study: Study, bars: Any) -> dict[str, pd.DataFrame]:
    """Return later bars by symbol; of the symbols of the study alone, if it is no cross-section."""
    later = {"": bars} if isinstance(bars, pd.DataFrame) else bars
    later = {k: f for k, f in later.items() if len(f)} if isinstance(later, Mapping) else {}
    if not later:
        raise ConfigError(
            "there are no later bars",
            expected="bars, or a dict of bars by symbol that has some",
            instead='set on=later.parquet, in Python pass gc.read_bars("later.parquet")',
        )
    if len(study.bars) == len(later) == 1:
        return dict(zip(study.bars, later.values(), strict=True))
    if study.is_ranking:
        return dict(later)
    return {symbol: frame for symbol, frame in later.items() if symbol in study.bars}


def _check_symbols(study: Study, later: Bars) -> None:
    """Check that the symbols that are needed have later bars: all, or of a cross-section some."""
    needed = {*study.bars}
    if study.is_ranking:
        assets = {one for run in study.all_runs for one in run.settings.images.assets}
        needed = {*assets, getattr(study.label, "market", None)} - {None}
    if not needed <= later.keys() or not study.bars.keys() & later.keys():
        raise RunError(
            f"there are later bars of {', '.join(later) or 'none of the symbols'}",
            expected=f"those of {', '.join(sorted(needed) or [*study.bars][:9])}",
            instead="name the files by these symbols; in Python, pass a dict of bars by them",
        )


def _check_bars(seen: Bars, symbol: str, frame: pd.DataFrame, end: pd.Timestamp) -> None:
    """Check that later bars continue those of a study, which end at `end`."""
    like: Any = seen.get(symbol, next(iter(seen.values())))
    begins, last = ensure_bars(frame).index[[0, -1]]
    if begins <= end:
        after = f"add after={end:%Y-%m-%dT%H:%M:%S}, in Python pass bars[bars.index > '{end}']"
        raise BarsError(
            f"bars of {symbol} close from {begins:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC",
            expected=f"only bars that close after {end:%Y-%m-%d %H:%M} UTC, as the study has seen "
            "the others",
            instead=f"drop the earlier ones: {after}" if last > end else "use later bars",
        )
    there = frame.reindex(columns=like.columns).notna().any()
    lacking = [*like.columns[like.notna().any() & ~there]]
    if lacking or interval_of(frame) != interval_of(like):
        raise BarsError(
            f"bars of {symbol} are of {format_duration(interval_of(frame))}"
            + f", without {', '.join(lacking)}" * bool(lacking),
            expected=f"bars of {format_duration(interval_of(like))}, with the columns and volumes "
            "that those of the study have",
            instead="use bars of the same source",
        )


def _changes(seen: Bars, later: Bars) -> Iterator[str]:
    """Yield which symbols come and go, and whose prices do not fit together."""
    for names, what in ((seen.keys() - later.keys(), "lost"), (later.keys() - seen.keys(), "new")):
        if names:
            yield f"{len(names)} of {len(seen)} symbols {what}: {_shown(sorted(names))}"
    moves = {
        symbol: np.log(frame["open"].iloc[0] / seen[symbol]["close"].iloc[-1])
        for symbol, frame in later.items()
        if symbol in seen
    }
    if jumps := [symbol for symbol, move in moves.items() if abs(move) > _JUMP]:
        yield (
            f"the first later open of {_shown(jumps)} is {np.exp(moves[jumps[0]]):.3g} times the "
            "last close of the study: a split, or prices that are adjusted differently?"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:9]) + ", ..." * (len(names) > 9)
