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
from gafcnn.data.labels import DIRECTIONS, Label
from gafcnn.data.samples import Samples, task_of
from gafcnn.data.sources import at_rest, load_oracles
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
        try:
            bars = load(at_rest(self.settings.market))
        except BarsError as error:
            found = f"the bars of study {self.folder.name}: {error.found}"
            instead = f"put them back as they were, or train again ({error.instead})"
            raise RunError(found, expected=error.expected, instead=instead) from error
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
        samples = [] if self.is_ranking else [self.samples(fold) for fold in self.folds]
        options |= {"oracle": oracles or None, "ensembles": ensembles, "samples": samples}
        judgement = self.judge_tables({**members, **others}, self.bars, **options)
        if count_look:
            record_look(self.folder, judgement, self.windows)
        runs = self.runs.items()
        predicted = {name: pd.concat([run.predictions for run in of]) for name, of in runs}
        judgement.metrics["seeds"] = self.seed_scores(predicted)
        for note in self.missing_folds():
            log.info("%s", note)
            judgement.notes.append(note)
        return judgement

    def judge_on(
        self,
        bars: pd.DataFrame | Mapping[str, pd.DataFrame],
        *,
        count_look: bool = True,
        resamples: int = 2000,
        seed: int = 0,
    ) -> Judgement:
        """Judge the finished study on bars that are later than all it has seen; nothing is fitted.

        Models, of a walk-forward study those of the newest fold, ensembles, thresholds and bands
        are those of the study, and rules those of its last evaluation. The lookback of the first
        decisions is in the study's bars: prices must be adjusted as they are.

        Args:
            bars: Later bars by symbol, or those of the only one. A cross-section may have lost
                symbols, or have new ones; other studies need all of theirs.
            count_look: See `judge`.
            resamples: Resamples of the bootstrap; 0 for no intervals.
            seed: Seed of the resamples.

        Raises:
            BarsError: Bars close before the study's end, have another interval or lack a column.
            RunError: A symbol is missing, the last evaluation is damaged, or see `bars`.
            SamplesError: No later decision has a known outcome.
        """
        from gafcnn.app.later import judge_later

        judgement = judge_later(self, bars, resamples=resamples, seed=seed)
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

    def seed_scores(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
        """Return the spread of the test scores of models whose table has rows of several seeds.

        Returns:
            By model: its `seeds`; `figures`, the smallest and the largest score of the single seeds
            by the name of the score; and `means`, their means.
        """
        found = {}
        for name, table in tables.items():
            by_seed: dict[Any, Any] = dict([*table.groupby("seed")])
            if len(by_seed) > 1:
                scores = pd.DataFrame([_test_scores(rows) for rows in by_seed.values()])
                scores = scores.select_dtypes("number").filter(regex="^(?!n|majority)")
                found[name] = {
                    "seeds": sorted(by_seed),
                    "figures": {k: [float(of.min()), float(of.max())] for k, of in scores.items()},
                    "means": scores.mean().to_dict(),
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
    def evaluated_options(self) -> dict[str, Any]:
        """The rules and ensembles of the last evaluation, {} for none; if damaged, an error."""
        return _rule_options(self._evaluated())

    @property
    def rules(self) -> tuple[Any, Sequence[str], str]:
        """Rules and ensembles of the last evaluation, or defaults, and a sentence about them."""
        evaluated = self._evaluated()
        settings = create(EvaluateOptions, "", _rule_options(evaluated))
        rules, text = settings.rules_of(self.label), "default rules, as there is no evaluation"
        if evaluated:
            text = f"rules of the last evaluation: {evaluated.get('costs')}"
        return rules, settings.ensemble.methods, text

    def _evaluated(self) -> dict[str, Any]:
        evaluated, path = self.evaluation, self.folder / EVALUATION / METRICS
        if evaluated is None and path.is_file():
            instead = f"run evaluate.py study={self.folder.name} with your costs and rules again"
            raise RunError(f"{path} is damaged", expected="its rules", instead=instead)
        return evaluated or {}

    @property
    def is_ranking(self) -> bool:
        """Whether the study ranks the symbols of a cross-section."""
        return task_of(self.label) == "ranking"

    def missing_folds(self) -> list[str]:
        """Return a note about the folds that are not trained, if there are any."""
        numbers = range(getattr(self.settings.split, "folds", 0))
        missing = [str(fold) for fold in numbers if fold not in self.folds]
        return [f"folds {', '.join(missing)} of the split are not trained"] if missing else []

    def judge_tables(self, members: Mapping[str, Any], bars: Any, **options: Any) -> Judgement:
        """Judge tables of the study's models, with its label, its baseline and its trials."""
        from gafcnn.evaluation.judge import judge

        options |= {
            "label": self.label,
            "baseline": self.baseline if self.baseline in members else None,
            "windows": self.windows,  # momentum, for example, is in no ensemble
            "ensembles": (*options["ensembles"], TWO_STAGE),
            # a study that was copied without its ledger has at least its runs
            "trials": max(recorded(self.folder, TRAINING), len(self.all_runs)),
        }
        return judge(members, bars, **options)

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
            f"This is look {looks} at these test rows: any change since the first look was "
            "made with knowledge of them, and the confidence intervals do not allow for that."
        )


def _rule_options(evaluated: Mapping[str, Any]) -> dict[str, Any]:
    held = evaluated["config"]["evaluate"] if evaluated else {}
    return {k: held[k] for k in ("trading", "costs", "portfolio", "ensemble") if held.get(k)}


def _test_scores(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of the test rows, by their names in an evaluation."""
    scores = score_part(table, "test")
    if "all" not in scores:
        return scores["labelled"]
    return scores["all"] | {f"{name}_labelled": of for name, of in scores["labelled"].items()}
