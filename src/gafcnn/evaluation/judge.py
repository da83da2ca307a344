"""The judge: evaluate any models' predictions on the same test rows, after costs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from gafcnn.data.bars import calendar_of, ensure_bars, interval_of
from gafcnn.data.labels import Direction, Label
from gafcnn.data.samples import Samples
from gafcnn.data.splits import Splitter
from gafcnn.durations import DurationLike, format_duration, parse_duration
from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.classification import judge_classes
from gafcnn.evaluation.comparisons import Study, sentences, targets
from gafcnn.evaluation.directions import ORACLE, judge_directions
from gafcnn.evaluation.ensembles import ENSEMBLE, ENSEMBLES, TWO_STAGE, combine
from gafcnn.evaluation.joining import as_predictions, is_ranking, join, join_common
from gafcnn.evaluation.portfolio import PortfolioRules
from gafcnn.evaluation.predictions import (
    classes_of,
    complete_tables,
    first_row,
    place,
    probability_columns,
)
from gafcnn.evaluation.rankings import judge_rankings
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.progress import counting
from gafcnn.settings import create

BASELINE = "xgboost"  # the model that others are compared with, if there is one of this name
_TOLERANCE = 1e-6  # of returns: tables may hold them in float32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """The result of `judge`.

    Attributes:
        metrics: Everything that was computed, as plain dicts, lists, strings and numbers.
        predictions: All models' predictions, ensembles included: one row per model, symbol, time
            and fold (see `check_predictions`).
        by_symbol: For a direction of several symbols, the judgement of each.
    """

    metrics: dict[str, Any] = field(repr=False)
    predictions: pd.DataFrame = field(repr=False)
    by_symbol: Mapping[str, Judgement] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return "\n".join(["Judgement:", *self.verdict, *self.notes])

    @property
    def task(self) -> Literal["direction", "classification", "ranking"]:
        """What was judged."""
        return self.metrics["task"]

    @property
    def verdict(self) -> list[str]:
        """What was found about the headline model, in sentences."""
        return self.metrics["verdict"]

    @property
    def notes(self) -> list[str]:
        """Which rows could not be used, and other remarks."""
        return self.metrics["notes"]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """All figures: index model, columns (figure, value | low | high | n)."""
        rows = {
            name: pd.DataFrame(figures, dtype="float64").unstack()  # noqa: PD010
            for name, figures in self.metrics["models"].items()
        }
        return pd.DataFrame(rows).T.rename_axis(index="model", columns=["figure", None])

    def to_html(self, path: str | Path, samples: Sequence[Any] = ()) -> Path:
        """Write the report as one HTML page without other files, with sample pictures."""
        report = import_module("gafcnn.report.page")  # a higher layer
        return report.write_report(path, self.metrics, samples)


def judge(
    models: Mapping[str, pd.DataFrame | str | Path],
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    cost_bps: float | None = None,
    threshold: float | None = None,
    rules: TradingRules | PortfolioRules | Mapping[str, Any] | None = None,
    label: Label | None = None,
    split: Splitter | None = None,
    horizon: DurationLike | None = None,
    samples: Samples | Iterable[Samples] = (),
    ensembles: Sequence[str] = (),
    windows: Sequence[str] | None = None,
    baseline: str | None = None,
    headline: str | None = None,
    trials: int | None = None,
    oracle: pd.Series | Mapping[str, pd.Series] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Judgement:
    """Judge predictions of several models on the test rows that all of them have.

    A table from elsewhere needs the columns `time` and `p_up` (or `p_<class>`, or a `score` that is
    higher for a more likely rise, or of a ranking for a better symbol), and `symbol` if there are
    several. Outcomes and split are filled
    in from the other tables, or from `label`, `split` and the bars. Validation rows are needed only
    to choose a threshold: without them, every row is traded unless `threshold` is given.

    Args:
        models: Predictions tables, or paths of parquet files, by the name of the model.
        bars: Bars of one symbol, or of several by their names.
        cost_bps: Cost per side, in basis points; replaces that of `rules`.
        threshold: Confidence |P(up) - 1/2| from which to trade; replaces that of `rules`.
        rules: `TradingRules`, for rankings `PortfolioRules`, or their options by name; by default
            those without options.
        label: Definition of the label, for tables without outcomes.
        split: Splitter, for tables without a split; without it all their rows are test rows.
        horizon: Longest duration of a trade; by default the label's, else that of the tables.
        samples: The samples of each fold, whose training rows determine volatility regimes; by
            default those are terciles of the bars before the test rows.
        ensembles: Ensembles of the models to add, such as "mean", "stacking" or "two_stage", which
            adds the models to the baseline; they are fitted on validation rows.
        windows: Models that ensembles combine; by default all but the baseline.
        baseline: Model that the others are compared with, and that "two_stage" is added to; by
            default "xgboost" if there is one, without "two_stage".
        headline: Model that the verdict is about; by default two_stage, else mean, else the first
            that is not the baseline.
        trials: Number of trainings that were tried, at least 1; by default the number of models.
        oracle: The true P(up) of a simulated market by close time, shown beside the models.
        resamples: Resamples of the bootstrap, at least 100; 0 for no confidence intervals.
        seed: Seed of the resamples.
        progress: Whether to show how many models are judged: a bar in a terminal, else log lines.

    Raises:
        BarsError: The bars did not pass through `as_bars`.
        PredictionsError: A table has no usable rows, the models have no test row in common, or
            their returns are not those of the bars.
        ConfigError: A name is unknown, or an option is of another type or out of its range.
    """
    _check_arguments(models, bars, label, split, ensembles, resamples, trials)
    for name in {*ensembles} - {TWO_STAGE}:
        ENSEMBLES[name]  # an unknown name is an error
    tables, foreign, notes = complete_tables(models, bars, label, split)
    joined, notes = join_common(tables, notes) if foreign else (join(tables), notes)
    first = next(iter(tables.values()))
    classes, columns = classes_of(first), probability_columns(first)
    ranking = is_ranking(joined)
    rules = _rules(rules, cost_bps, threshold, ranking=ranking)
    given, baseline = baseline, baseline or (BASELINE if BASELINE in tables else None)
    if baseline is not None:
        _check_name("baseline", baseline, tables)
    if len(foreign) == len(tables):
        foreign = []
    members = [name for name in tables if name != baseline and name not in foreign]
    if windows is not None:
        foreign = [name for name in tables if name not in (baseline, *windows)]
        members = [name for name in members if name in windows]
    if given and not classes:
        val = joined.loc[joined["split"] == "val"].dropna(subset=["label", given, *members])
        ensembles = [*ensembles, TWO_STAGE] if len(val) else ensembles
    joined, names, _ = combine(joined, members, ensembles, baseline, classes)
    others = sorted({*ensembles} - {ENSEMBLE, TWO_STAGE})
    if ranking and others and len(members) > 1:
        notes.append(f"{', '.join(others)}: skipped, as they need probabilities, not scores")
    names += [name for name in foreign if name != baseline]
    by_symbol = _by_symbol(joined, bars)
    if oracle is not None and not classes and not ranking:
        of_symbol = oracle if isinstance(oracle, Mapping) else dict.fromkeys(by_symbol, oracle)
        rows = pd.MultiIndex.from_arrays([joined["symbol"], joined["time"]])
        joined[ORACLE] = pd.concat(dict(of_symbol)).reindex(rows).to_numpy()
        names.append(ORACLE)
    # by name and not by merit
    preferred = (TWO_STAGE, ENSEMBLE, *members, *names)
    headline = headline or next(name for name in preferred if name in names)
    _check_name("headline", headline, names)
    ahead = _durations(joined, by_symbol)
    # outcomes of a halted symbol are known later than others
    length = getattr(label, "horizon", None) or (ahead.mode()[0] if ranking else ahead.max())
    if label is None and length and ahead.min() == length:  # else the tables do not tell the label
        label = Direction(length)
    if label is not None:
        _check_returns(joined, by_symbol, label)
    if horizon is not None:
        given_length = parse_duration("horizon", horizon)
        if ranking and given_length != length:
            raise ConfigError(
                f"horizon is {format_duration(given_length)} for a ranking over "
                f"{format_duration(length)}",
                expected="the horizon of its outcomes, over which a portfolio holds",
                instead="leave it out, or pass another label=gc.Relative(...)",
            )
        length = given_length
    facts: dict[str, Any] = {
        "task": "classification" if classes else "ranking" if ranking else "direction",
        "interval": format_duration(interval_of(next(iter(by_symbol.values())))),
        "horizon": format_duration(length),
        "windows": members,
        "baseline": baseline,
        "headline": headline,
        "trials": trials or len(tables),
        "simulated": any(frame.attrs.get("simulated") for frame in by_symbol.values()),
        "notes": notes,
    }
    study = Study(
        joined, by_symbol, length, members, names, baseline, foreign, headline,
        facts["trials"], resamples, seed, lambda _: None,
    )  # fmt: skip
    if isinstance(rules, TradingRules) and not classes:
        val = joined.loc[joined["split"] == "val"]
        rows = val.groupby("fold", dropna=False)[names].count()
        unchosen = [name for name in names if not rows[name].any()]
        if unchosen and rules.threshold is None:
            notes.append(
                f"{', '.join(unchosen)}: no threshold can be chosen without validation rows, so "
                "every row is traded; a threshold (trading.threshold on the command line) sets one"
            )
        facts["chosen"] = headline not in unchosen
        least = rows.drop(columns=unchosen).min().min()  # NaN without rows
        if rules.threshold is None and least < rules.least_trades:
            notes.append(
                f"validation has only {least} rows in a fold: thresholds, and models that are "
                "fitted on validation rows, are arbitrary; use more bars, or a larger split.val"
            )
    for note in notes:
        log.info("%s", note)
    of_folds = [samples] if isinstance(samples, Samples) else [*samples]

    def run(part: Study) -> Judgement:
        times = part.joined.loc[part.joined["split"] == "test", "time"]
        period = {"first": times.min().isoformat(), "last": times.max().isoformat()}
        if classes:
            found = judge_classes(part, classes)
        elif isinstance(rules, PortfolioRules):
            found = judge_rankings(part, rules, notes)
        else:
            found = judge_directions(part, rules, of_folds)
        metrics = {**facts, "symbol": ", ".join(part.bars), **period, **found}
        metrics |= {"targets": targets(metrics), "verdict": sentences(metrics)}
        return Judgement(metrics, as_predictions(part.joined, names, columns, classes))

    singles = {}
    for symbol, frame in () if classes or ranking or len(by_symbol) == 1 else by_symbol.items():
        rows, alone = joined.loc[joined["symbol"] == symbol], {symbol: frame}
        singles[symbol] = run(replace(study, joined=rows, bars=alone))
    counted = counting("judging", len(names), "models")
    with counted if progress else nullcontext(study.advance) as advance:
        result = run(replace(study, advance=advance))
    if singles:
        result.metrics["symbols"] = {
            symbol: {key: one.metrics[key] for key in ("rows", "classes", "models")}
            for symbol, one in singles.items()
        }
    return replace(result, by_symbol=singles)


def _rules(
    rules: Any, cost_bps: float | None, threshold: float | None, *, ranking: bool
) -> TradingRules | PortfolioRules:
    """Return the rules that apply, of the kind that suits the predictions."""
    kind, section = (PortfolioRules, "portfolio") if ranking else (TradingRules, "trading")
    if isinstance(rules, Mapping):
        rules = create(kind, section, rules)
    if (rules is not None and not isinstance(rules, kind)) or (ranking and threshold is not None):
        shown = rules if isinstance(rules, str | int) else f"a {type(rules).__name__}"
        raise ConfigError(
            f"rules is {shown}, and threshold is {threshold}",
            expected=f"{kind.__name__}" + " and no threshold, for scores" * ranking,
            instead='pass rules by name, as in {"cost_bps": 3}',
        )
    rules = rules or kind()
    if cost_bps is not None:
        fixed = {"costs_bps": {}} if ranking else {"costs": None}
        rules = replace(rules, cost_bps=cost_bps, **fixed)
    return rules if threshold is None else replace(rules, threshold=threshold)


def _check_arguments(
    models: Any, bars: Any, label: Any, split: Any, ensembles: Any, resamples: Any, trials: Any
) -> None:
    def has(value: Any, method: str) -> bool:
        return value is None or (hasattr(value, method) and not isinstance(value, type))

    tables = models if isinstance(models, Mapping) else {}
    named = tables and all(isinstance(name, str) for name in tables)
    wrong = [n for n in tables if not isinstance(tables[n], pd.DataFrame | str | Path)]
    table = "a table of predictions, such as model.predict(samples), or its path"
    for argument, value, valid, expected in (
        ("models", models, named, 'tables or paths by name, as in {"mine": frame}'),
        *((f"models[{name!r}]", tables[name], False, table) for name in wrong),
        ("bars", bars, isinstance(bars, pd.DataFrame | Mapping), "bars, or a dict of bars by name"),
        ("label", label, has(label, "outcomes"), 'a label, such as gc.Direction("15min")'),
        ("split", split, has(split, "embargo"), "a splitter, such as gc.Chronological()"),
        ("resamples", resamples, resamples == 0 or resamples >= 100, "0, or 100 or more"),
        ("ensembles", ensembles, not isinstance(ensembles, str), 'names, as in ["mean"]'),
        ("trials", trials, trials is None or trials >= 1, "1 or more"),
    ):
        if not valid:
            shown = repr(value) if isinstance(value, str | int) else f"a {type(value).__name__}"
            raise ConfigError(
                f"{argument} is {shown}", expected=expected, instead=f"correct {argument}="
            )


def _check_returns(
    joined: pd.DataFrame, by_symbol: Mapping[str, pd.DataFrame], label: Label
) -> None:
    """Check that returns are those of the bars, which may be of another market."""
    for symbol, of_symbol in joined.groupby("symbol"):
        bars = by_symbol[str(symbol)]
        rows = of_symbol.loc[of_symbol["time"].isin(bars.index.to_series())]
        expected = label.outcomes(bars, bars.index.get_indexer(rows["time"])).forward_return
        differ = np.abs(rows["forward_return"].to_numpy() - expected) > _TOLERANCE
        if differ.any():
            raise PredictionsError(
                f"{differ.sum():,} of {len(rows):,} forward returns differ from the bars', first "
                f"{place(first_row(rows, differ))}",
                expected="predictions of the market of these bars, by this label",
                instead="pass the bars and the label that the predictions were made from",
            )


def _durations(joined: pd.DataFrame, by_symbol: Mapping[str, pd.DataFrame]) -> Any:
    """Return how long after its decision each outcome is known, in trading time."""
    found = joined["known_at"] - joined["time"]
    for symbol, rows in joined.groupby("symbol"):
        bars = by_symbol[str(symbol)]
        if calendar_of(bars) is not None:
            moments = (pd.DatetimeIndex(rows[name]) for name in ("time", "known_at"))
            begin, end = (bars.index.searchsorted(one) for one in moments)
            found.loc[rows.index] = (end - begin) * interval_of(bars).to_timedelta64()
    return found


def _by_symbol(
    joined: pd.DataFrame, bars: pd.DataFrame | Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    symbols = set(joined["symbol"])
    if isinstance(bars, pd.DataFrame):
        # bars of one symbol need no name
        bars = dict.fromkeys(symbols, bars) if len(symbols) == 1 else {}
    if missing := sorted(symbols - set(bars)):
        raise PredictionsError(
            f"there are predictions of {len(symbols)} symbols, and no bars of {', '.join(missing)}",
            expected="bars of every symbol of the predictions",
            instead=f'pass them by name: {{"{missing[0]}": bars}}',
        )
    return {symbol: ensure_bars(frame) for symbol, frame in bars.items() if symbol in symbols}


def _check_name(option: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        found = f"{option} is {name!r}"
        expected, instead = f"one of {', '.join(known)}", "correct the name, or leave it out"
        raise ConfigError(found, expected=expected, instead=instead)
