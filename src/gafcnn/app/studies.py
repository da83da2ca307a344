"""Studies: the runs of one market and label, joined into models and judged on their test rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gafcnn.app.options import METHODS, EvaluateOptions, TrainSettings
from gafcnn.app.prepare import fingerprints, load
from gafcnn.app.runs import (
    BARS,
    EVALUATION,
    LOOK,
    METRICS,
    TRAINING,
    Run,
    differences,
    find_runs,
    record,
    recorded,
)
from gafcnn.app.train import score_part, train_run
from gafcnn.atomic_io import read_sealed
from gafcnn.data.bars import ensure_bars, interval_of
from gafcnn.data.labels import DIRECTIONS, Label
from gafcnn.data.samples import Samples, task_of
from gafcnn.data.sources import at_rest, load_oracles
from gafcnn.data.splits import OutOfTime
from gafcnn.durations import format_duration, parse_duration
from gafcnn.errors import BarsError, ConfigError, RunError
from gafcnn.evaluation.ensembles import TWO_STAGE
from gafcnn.evaluation.joining import average_seeds, join
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.app.predict import Decider, Decision
    from gafcnn.evaluation.judge import Judgement

# options in which the runs of one model may differ
_SEED_OPTIONS = ("seed:", "split.fold:", "augmentation.seed:")

log = logging.getLogger(__name__)


class Study:
    """The complete runs of a study, by its folder, such as "outputs/bnb".

    Its `folder` is that of the study; its `runs` are those of each model, by its name. Without
    `windows` it has all of them; models without images are always used.

    Raises:
        RunError: There is no such study or window, or a run is not complete.
    """

    def __init__(self, folder: str | Path, windows: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        self.runs = find_runs(self.folder)
        for name, runs in self.runs.items():
            if (seeds := len({run.config["seed"] for run in runs})) > 1:
                log.info("%s: predictions are averaged over %d seeds", name, seeds)
        if windows is not None:
            known = self.windows
            if absent := [name for name in windows if name not in known]:
                name = self.folder.name
                found = f"study {name} has no run for window {absent[0]}"
                instead = f"correct it, or train it with study={name} window={absent[0]}"
                raise RunError(found, expected=f"some of [{','.join(known)}]", instead=instead)
            self.runs = {k: of for k, of in self.runs.items() if k in windows or k not in known}
        # every window has every fold, one after another
        numbers = {fold for fold in self.folds if fold is not None}
        wanted = set(range(min(numbers), max(numbers) + 1)) if numbers else numbers
        for name, runs in self.runs.items():
            missing = wanted - {run.fold for run in runs}
            # a missing baseline is trained like the windows
            if missing and (len(self.runs) == 1 or not runs[0].is_baseline):
                found = f"{name} has no run of fold {min(missing)}"
                instead = f"train it with split.fold={min(missing)}"
                raise RunError(found, expected="every fold for every window", instead=instead)

    @property
    def windows(self) -> list[str]:
        """The names of the networks, which see images of a window."""
        return [name for name, runs in self.runs.items() if runs[0].is_network]

    @property
    def baseline(self) -> str | None:
        """The name of the baseline, if there is one.

        Raises:
            RunError: There are several.
        """
        names = [name for name, runs in self.runs.items() if runs[0].is_baseline]
        if len(names) > 1:
            found = f"study {self.folder.name} has {len(names)} baselines, {', '.join(names)}"
            raise RunError(found, expected="one", instead="move the other into another study")
        return names[0] if names else None

    @property
    def all_runs(self) -> list[Run]:
        """The runs of all models, one after another."""
        return [run for runs in self.runs.values() for run in runs]

    @property
    def settings(self) -> TrainSettings:
        """The options of the first run; all runs share market, label and split."""
        return self.all_runs[0].settings

    @property
    def label(self) -> Label:
        """What the study predicts."""
        return self.settings.label

    @cached_property
    def horizon(self) -> pd.Timedelta:
        """How far ahead the label looks, by its own attribute or its outcomes; 0 for not at all."""
        if self.label.horizon:
            return self.label.horizon
        rows: Any = self.all_runs[0].predictions
        return (rows["known_at"] - rows["time"]).max()

    @property
    def folds(self) -> list[int | None]:
        """The folds of a walk-forward study, or [None]."""
        return sorted({run.fold for run in self.all_runs}, key=lambda fold: fold or 0)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """The metrics.json of the last evaluation; None if there is none, or it is damaged."""
        return read_sealed(self.folder / EVALUATION / METRICS)

    def name_of(self, run: Run) -> str:
        """Return the name of a run's files in an export: `30m`, or `30m_seed=1_fold=2`."""
        model, *rest = run.folder.relative_to(self.folder).parts
        return model if len(self.runs[model]) == 1 else "_".join([model, *rest])

    @cached_property
    def bars(self) -> dict[str, pd.DataFrame]:
        """The bars of each symbol that all runs were trained on; nothing is downloaded.

        Raises:
            RunError: The runs were trained on different bars, or these have changed.
        """
        bars = load(at_rest(self.settings.market))
        known = fingerprints(bars)
        for run in self.all_runs:
            if run.config[BARS] != known:
                found = f"the bars of {', '.join(bars)} differ from those of {run.folder}"
                instead = "restore the old ones, or train again with another study=..."
                raise RunError(found, expected="the same bars for all runs", instead=instead)
        return bars

    def samples(self, fold: int | None = None) -> Samples:
        """Return the samples that the runs of a fold were trained and judged on."""
        [*_, run] = [run for run in self.all_runs if run.fold == fold]
        return run.settings.samples(self.bars)

    def members(self) -> dict[str, pd.DataFrame]:
        """Return the predictions of each model: the mean over its seeds, its folds joined.

        Raises:
            RunError: Runs of a model differ in more than seed and fold.
            PredictionsError: Models are not about the same samples.
        """
        return {name: self._member(name) for name in self.runs}

    def judge(
        self,
        *,
        predictions: Mapping[str, Any] | None = None,
        ensembles: Sequence[str] = METHODS,
        count_look: bool = True,
        **options: Any,
    ) -> Judgement:
        """Judge the models on their test rows.

        Args:
            predictions: Other tables of predictions, to be judged beside the models.
            ensembles: Names of ensembles of the windows.
            count_look: Whether to record the look in the study's ledger; otherwise call
                `record_look` before anything of the judgement is shown.
            **options: Options of `gafcnn.judge`, such as `cost_bps` and `resamples`.

        Raises:
            RunError: See `members` and `bars`.
            PredictionsError: Models are not about the same samples.
        """
        members, others = self.members(), predictions or {}
        if taken := sorted(members.keys() & others.keys()):
            found = f"a table of predictions is called {taken[0]}, like a model of the study"
            raise ConfigError(found, expected="another name", instead="rename its file")
        # the true probability of a simulated market, if it is that of the label
        market, oracles = self.settings.market, {}
        ahead = getattr(market, "horizon", None)
        if ahead == self.horizon and self.label.classes == DIRECTIONS:
            oracles = load_oracles(at_rest(market))
        # training rows determine regimes; those of a ranking do not
        samples = [] if self._is_ranking else [self.samples(fold) for fold in self.folds]
        options |= {"oracle": oracles or None, "ensembles": ensembles, "samples": samples}
        judgement = self._judge({**members, **others}, self.bars, **options)
        if count_look:
            record_look(self.folder, judgement, self.windows)
        judgement.metrics["seeds"] = self.seed_scores()
        return judgement

    def judge_on(
        self,
        bars: pd.DataFrame | Mapping[str, pd.DataFrame],
        *,
        count_look: bool = True,
        **options: Any,
    ) -> Judgement:
        """Judge the finished study on bars that are later than all it has seen; nothing is fitted.

        Models, of a walk-forward study those of the newest fold, ensembles, thresholds and bands
        are those of the study, and rules those of its last evaluation. The lookback of the first
        decisions is in the study's bars: prices must be adjusted as they are.

        Args:
            bars: Later bars of each symbol, or those of the only one. A cross-section may have
                lost symbols, or have new ones.
            count_look: See `judge`.
            **options: `resamples` and `seed` of the intervals, see `gafcnn.judge`.

        Raises:
            BarsError: Bars close before the last of the study, have another interval or lack a
                column.
            RunError: A symbol is missing, or see `bars`.
        """
        extended, end = self._extended(bars)
        fold, known = self.folds[-1], self.all_runs[-1].metrics["embargo"]
        runs = {name: [run for run in of if run.fold == fold] for name, of in self.runs.items()}
        settings = [run.settings for of in runs.values() for run in of][-1]
        split = OutOfTime(settings.split, end.to_datetime64(), parse_duration("embargo", known))
        samples, members = replace(settings, split=split).samples(extended), {}
        for name in (name for name, of in runs.items() if of):  # a baseline may lack the fold
            predicted = average_seeds(run.model(samples).predict(samples) for run in runs[name])
            held = self._member(name)
            chosen_on = (held["split"] == "val") & (held["fold"].isna() | (held["fold"] == fold))
            later = predicted.loc[predicted["split"] == "test"]
            members[name] = pd.concat([held.loc[chosen_on], later], ignore_index=True)
        options["rules"], options["ensembles"], _ = self.rules
        judgement = self._judge(members, extended, samples=samples, **options)
        judgement.notes.append(
            f"the models{'' if fold is None else f' of fold {fold}'}, their ensembles and their "
            f"thresholds are those of the study, whose last bar closes at {end:%Y-%m-%d %H:%M} UTC"
        )
        if count_look:
            record_look(self.folder, judgement, self.windows)
        return judgement

    def decide(self, bars: pd.DataFrame, symbol: str | None = None) -> Decision:
        """Decide on the newest bar by all models; the first call loads them.

        Args:
            bars: The newest bars of a symbol, the last one closed; the baseline's indicators need
                2,500 of them, or as many as the study has.
            symbol: The symbol; may be left out if the study has only one.

        Raises:
            BarsError: The bars are of another interval, too few, or have a gap in the lookback.
            RunError: The study has several symbols, and this is not one of them.
            ConfigError: The extra `export` is not installed.
        """
        return self.decider.decide(bars, symbol)

    @cached_property
    def decider(self) -> Decider:
        """The models, loaded for decisions."""
        from gafcnn.app.predict import Decider

        return Decider(self)

    def seed_scores(self) -> dict[str, dict[str, Any]]:
        """Return the spread over seeds of the test scores of each model with several seeds.

        Returns:
            By model: its `seeds`; `figures`, the smallest and the largest score of the single seeds
            by the name of the score; and `means`, their means.
        """
        found = {}
        for name, runs in self.runs.items():
            by_seed = dict([*pd.concat([run.predictions for run in runs]).groupby("seed")])
            if len(by_seed) > 1:
                table = pd.DataFrame([_test_scores(rows) for rows in by_seed.values()])
                table = table.select_dtypes("number").filter(regex="^(?!n|majority)")
                found[name] = {
                    "seeds": sorted({run.settings.seed for run in runs}),
                    "figures": {k: [float(of.min()), float(of.max())] for k, of in table.items()},
                    "means": table.mean().to_dict(),
                }
        return found

    def train_baseline(self, model: Any) -> None:
        """Train a baseline, `TreesModel`, for each fold without one, on the samples of the windows.

        Raises:
            RunError: There are several baselines.
            PredictionsError: The windows are not about the same samples.
        """
        name = self.baseline or model.name
        has = {run.fold for run in self.runs.get(name, [])}
        # like the longest window, which is last: features=window reads that one
        runs = sorted(self.all_runs, key=lambda run: run.is_network)
        lacking = {run.fold: run.settings for run in runs if run.fold not in has}
        if lacking and self.windows:
            # before anything is trained
            join({window: self._member(window) for window in self.windows})
        for fold, like in sorted(lacking.items(), key=lambda item: item[0] or 0):
            weights = getattr(like.model, "class_weights", None)
            own: dict[str, Any] = {"seed": 0, "offset": None, "overwrite": False, "swept": ()}
            settings = replace(
                replace(like, study=self.folder.name, **own),
                model=replace(model, name=name, class_weights=weights),
                market=at_rest(like.market),
                paths=replace(like.paths, outputs=self.folder.parent),
            )
            of_fold = "" if fold is None else f" of fold {fold}"
            log.info("study %s has no baseline%s: training it", self.folder.name, of_fold)
            self.runs.setdefault(name, []).append(train_run(settings, self.bars))

    @property
    def rules(self) -> tuple[Any, Sequence[str], str]:
        """The rules and the ensembles of the last evaluation, and a sentence about them.

        They are the defaults if there is none.
        """
        evaluated = self.evaluation or {}
        held = evaluated["config"]["evaluate"] if evaluated else {}
        sections = ("trading", "costs", "portfolio", "ensemble")
        options = {key: held[key] for key in sections if held.get(key)}
        settings = create(EvaluateOptions, "", options)
        rules, text = settings.rules_of(self.label), "default rules, as there is no evaluation"
        if evaluated:
            text = f"rules of the last evaluation: {evaluated.get('costs')}"
        return rules, settings.ensemble.methods, text

    @property
    def _is_ranking(self) -> bool:
        return task_of(self.label) == "ranking"

    def _judge(self, members: Mapping[str, Any], bars: Any, **options: Any) -> Judgement:
        from gafcnn.evaluation.judge import judge

        options |= {
            "label": self.label,
            "baseline": self.baseline if self.baseline in members else None,
            "windows": self.windows or None,
            "ensembles": (*options["ensembles"], TWO_STAGE),
            # a study that was copied without its ledger has at least its runs
            "trials": max(recorded(self.folder, TRAINING), len(self.all_runs)),
        }
        return judge(members, bars, **options)

    def _extended(
        self, later: pd.DataFrame | Mapping[str, pd.DataFrame]
    ) -> tuple[dict[str, pd.DataFrame], pd.Timestamp]:
        """Return the study's bars with later ones, and the end of its own."""
        bars = dict(self.bars)
        given = {"": later} if isinstance(later, pd.DataFrame) else dict(later)
        if len(bars) == len(given) == 1:
            given = dict(zip(bars, given.values(), strict=True))
        first, end = next(iter(bars.values())), max(frame.index[-1] for frame in bars.values())
        if not self._is_ranking and given.keys() != bars.keys():
            found = f"the later bars are of {', '.join(given)}"
            instead = "pass a dict of bars by these names"
            raise RunError(found, expected=f"those of {', '.join(bars)}", instead=instead)
        for symbol, frame in given.items():
            begins, like = ensure_bars(frame).index.min(), bars.get(symbol, first)
            if begins <= end:
                raise BarsError(
                    f"bars of {symbol or 'the symbol'} close from {begins:%Y-%m-%d %H:%M} UTC on",
                    expected=f"only bars that close after {end:%Y-%m-%d %H:%M} UTC, as the study "
                    "has seen the others",
                    instead=f'in Python, pass bars.loc[bars.index > "{end}"] to judge_on',
                )
            lacking = [name for name in like if name not in frame]
            if lacking or interval_of(frame) != interval_of(like):
                text = format_duration(interval_of(like))
                raise BarsError(
                    f"bars of {symbol} are of {format_duration(interval_of(frame))}"
                    + f", without {', '.join(lacking)}" * bool(lacking),
                    expected=f"bars of {text} with the columns {', '.join(like)}, as in training",
                    instead="use bars of the same source",
                )
            parts: Any = pd.concat([bars[symbol], frame] if symbol in bars else [frame])
            bars[symbol] = parts[[*like]]
            bars[symbol].attrs = dict(like.attrs)
        return bars, end

    def _member(self, name: str) -> pd.DataFrame:
        first, *others = self.runs[name]
        for run in others:
            found = differences(first.config, run.config)
            if differing := [text for text in found if not text.startswith(_SEED_OPTIONS)]:
                text = f"{first.folder} and {run.folder} differ in {', '.join(differing[:3])}"
                expected = f"runs of {name} that differ only in seed and fold"
                raise RunError(text, expected=expected, instead="use another study=... for each")
        return average_seeds(run.predictions for run in self.runs[name])

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}: {', '.join(self.runs)})"


load_study = Study
"""Return a study by its folder, see `Study`."""


def record_look(folder: Path, judgement: Judgement, windows: Sequence[str]) -> None:
    """Record a look at test rows in the ledger of a folder, and say so in the judgement."""
    metrics = judgement.metrics
    facts = {key: metrics.get(key) for key in ("costs", "threshold")}
    facts["period"] = [metrics["first"], metrics["last"]]  # of the test rows
    record(folder, LOOK, windows=[*windows], rows=metrics["rows"]["all"], **facts)
    metrics["looks"] = looks = recorded(folder, LOOK, facts["period"])
    if looks > 1:
        metrics["verdict"].append(
            f"This is look {looks} at these test rows: what was changed since the first look was "
            "changed knowing them, and the confidence intervals do not allow for that."
        )


def _test_scores(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of the test rows, by their names in an evaluation."""
    scores = score_part(table, "test")
    if "all" not in scores:
        return scores["labelled"]
    return scores["all"] | {f"{name}_labelled": of for name, of in scores["labelled"].items()}
