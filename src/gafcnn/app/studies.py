"""Studies: the runs of one market and label, joined into models and judged on their test rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gafcnn.app.ledger import LOOK, TRAINING, record, recorded
from gafcnn.app.loading import fingerprints, load
from gafcnn.app.run_folder import BARS, differences
from gafcnn.app.runs import Run, find_runs
from gafcnn.app.study_settings import METHODS
from gafcnn.app.train_settings import TrainSettings
from gafcnn.data.labels import DIRECTIONS, Label
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.sources import at_rest, load_oracles
from gafcnn.errors import RunError
from gafcnn.evaluation.ensembles import TWO_STAGE
from gafcnn.evaluation.joining import average_seeds, join
from gafcnn.evaluation.predictions import P_UP, classes_of, probability_columns
from gafcnn.evaluation.statistics import score_classes, score_rows

if TYPE_CHECKING:
    from gafcnn.app.decisions import Decider, Decision
    from gafcnn.evaluation.judge import Judgement

# options in which the runs of one model may differ
_SEED_OPTIONS = ("seed:", "split.fold:", "augmentation.seed:")

log = logging.getLogger(__name__)


def load_study(folder: str | Path, windows: Sequence[str] | None = None) -> Study:
    """Return a study.

    Args:
        folder: The folder of the study, such as "outputs/bnb".
        windows: The windows to use; None for all. The baseline is always used.

    Raises:
        RunError: There is no such study or window, or a run is not complete.
    """
    return Study(Path(folder), windows)


class Study:
    """The complete runs of a study.

    Args:
        folder: The folder of the study.
        windows: The windows to use; None for all.

    Attributes:
        folder: The folder of the study.
        runs: The runs of each model, by its name: windows by their span, then the baseline.
    """

    def __init__(self, folder: Path, windows: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.runs = _choose(find_runs(folder), windows, folder.name)
        self._check_folds()

    @property
    def windows(self) -> list[str]:
        """The names of the models that are not the baseline."""
        return [name for name, runs in self.runs.items() if not runs[0].is_baseline]

    @property
    def baseline(self) -> str | None:
        """The name of the baseline, if there is one.

        Raises:
            RunError: There are several.
        """
        names = [name for name, runs in self.runs.items() if runs[0].is_baseline]
        if len(names) > 1:
            raise RunError(
                f"study {self.folder.name} has {len(names)} baselines, {', '.join(names)}",
                expected="one baseline",
                instead="move one of them into another study",
            )
        return names[0] if names else None

    @property
    def settings(self) -> TrainSettings:
        """The options of the first run; all runs share market, label and split."""
        return next(iter(self.runs.values()))[0].settings

    @property
    def label(self) -> Label:
        """What the study predicts."""
        return self.settings.label

    @property
    def folds(self) -> list[int | None]:
        """The folds of a walk-forward study, or [None]."""
        found = {run.fold for runs in self.runs.values() for run in runs}
        return sorted(found, key=lambda fold: fold or 0)

    @property
    def trials(self) -> int:
        """The number of trainings in the study's ledger."""
        # a study that was copied without its ledger has at least its runs
        return max(recorded(self.folder, TRAINING), sum(map(len, self.runs.values())))

    @property
    def looks(self) -> int:
        """The number of looks at the test rows in the study's ledger."""
        return recorded(self.folder, LOOK)

    @cached_property
    def bars(self) -> dict[str, pd.DataFrame]:
        """The bars of each symbol that all runs were trained on; nothing is downloaded.

        Raises:
            RunError: The runs were trained on different bars, or these have changed.
        """
        every = [run for runs in self.runs.values() for run in runs]
        first = every[0]
        for run in every[1:]:
            if run.config[BARS] != first.config[BARS]:
                raise RunError(
                    f"{first.folder} and {run.folder} were trained on different bars",
                    expected="the same bars for all runs of a study",
                    instead="train them again on the same bars, in another study (study=...)",
                )
        bars = load(at_rest(self.settings.market))
        if fingerprints(bars) != first.config[BARS]:
            raise RunError(
                f"the bars of {', '.join(bars)} differ from those {first.folder} was trained on",
                expected="the same bars",
                instead="restore the old ones, or train again with study=...",
            )
        return bars

    def samples(self, fold: int | None = None) -> Samples:
        """Return the samples that the runs of a fold were trained and judged on."""
        [*_, run] = [run for runs in self.runs.values() for run in runs if run.fold == fold]
        options = run.settings
        lookback = options.window.lookback
        return make_samples(self.bars, label=options.label, split=options.split, lookback=lookback)

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
            count_look: Whether to record the look in the study's ledger now; otherwise call
                `count_look` before anything of the judgement is shown.
            **options: Options of `gafcnn.judge`, such as `cost_bps` and `resamples`.

        Raises:
            RunError: See `members` and `bars`.
            PredictionsError: Models are not about the same samples.
        """
        from gafcnn.evaluation.judge import judge

        oracles = load_oracles(at_rest(self.settings.market)) if self._oracle_applies else {}
        judgement = judge(
            {**self.members(), **(predictions or {})},
            self.bars,
            label=self.label,
            baseline=self.baseline,
            trials=self.trials,
            oracle=oracles or None,
            samples=[self.samples(fold) for fold in self.folds],
            ensembles=(*ensembles, TWO_STAGE),
            **options,
        )
        if count_look:
            self.count_look(judgement)
        return judgement

    def decide(self, bars: pd.DataFrame, symbol: str | None = None) -> Decision:
        """Decide on the newest bar by all models; the first call loads them.

        Args:
            bars: The newest bars of a symbol, the last one closed; the baseline's indicators need
                2,500 of them.
            symbol: The symbol; may be left out if the study has only one.

        Raises:
            BarsError: The bars are of another interval, too few, or have a gap in the lookback.
            RunError: The study has several symbols, and this is none of them.
            ConfigError: The extra `export` is not installed.
        """
        return self.decider.decide(bars, symbol)

    @cached_property
    def decider(self) -> Decider:
        """The models, loaded for decisions."""
        from gafcnn.app.decisions import Decider

        return Decider(self)

    def count_look(self, judgement: Judgement) -> None:
        """Record a look at the test rows in the study's ledger, and say so in the judgement."""
        metrics = judgement.metrics
        rules = {key: metrics.get(key) for key in ("costs", "threshold")}
        record(self.folder, LOOK, windows=self.windows, rows=metrics["rows"]["all"], **rules)
        metrics |= {"looks": self.looks, "seeds": self.seed_scores()}
        if self.looks > 1:
            metrics["verdict"].append(
                f"This is look {self.looks} at these test rows: what was changed since the first "
                "look was changed knowing them, and the confidence intervals do not allow for that."
            )

    def seed_scores(self) -> dict[str, dict[str, Any]]:
        """Return the spread over seeds of the test scores of each model with several seeds.

        Returns:
            By model: its `seeds`; `figures`, the smallest and the largest score of the single seeds
            by the name of the score; and `means`, their means.
        """
        found = {}
        for name, runs in self.runs.items():
            by_seed: dict[int, list[pd.DataFrame]] = {}
            for run in runs:
                by_seed.setdefault(run.settings.seed, []).append(run.predictions)
            if len(by_seed) > 1:
                scores = pd.DataFrame([_test_scores(pd.concat(of)) for of in by_seed.values()])
                scores = scores.select_dtypes("number").filter(regex="^(?!n|majority)")
                found[name] = {
                    "seeds": list(by_seed),
                    "figures": {
                        str(key): [float(of.min()), float(of.max())] for key, of in scores.items()
                    },
                    "means": {str(key): float(of.mean()) for key, of in scores.items()},
                }
        return found

    def train_baseline(self, model: Any) -> None:
        """Train the baseline for each fold that has none, on the samples of the windows.

        Args:
            model: Settings of the baseline, `TreesModel`.

        Raises:
            RunError: There are several baselines.
            PredictionsError: The windows are not about the same samples.
        """
        from gafcnn.app.train import train_run

        name = self.baseline or model.name
        has = {run.fold for run in self.runs.get(name, [])}
        every = [run for runs in self.runs.values() for run in runs]
        # of the longest window, which is last: features=window reads that one
        lacking = {run.fold: run for run in every if run.fold not in has}
        if lacking and self.windows:
            # before anything is trained
            join({window: self._member(window) for window in self.windows})
        for fold in sorted(lacking, key=lambda fold: fold or 0):
            like = lacking[fold].settings
            settings = replace(
                like,
                model=replace(model, name=name, class_weights=like.model.class_weights),
                market=at_rest(like.market),
                study=self.folder.name,
                paths=replace(like.paths, outputs=self.folder.parent),
                seed=0,
                overwrite=False,
                swept=(),
            )
            of_fold = "" if fold is None else f" of fold {fold}"
            log.info("study %s has no baseline%s: training it", self.folder.name, of_fold)
            self.runs.setdefault(name, []).append(train_run(settings))

    @property
    def _oracle_applies(self) -> bool:
        """Whether the true probability of a simulated market is that of the label."""
        horizon = getattr(self.settings.market, "horizon", None)
        return horizon == self.label.horizon and self.label.classes == DIRECTIONS

    def _member(self, name: str) -> pd.DataFrame:
        first, *others = self.runs[name]
        for run in others:
            found = differences(first.config, run.config)
            differing = [text for text in found if not text.startswith(_SEED_OPTIONS)]
            if differing:
                raise RunError(
                    f"{first.folder} and {run.folder} differ in {', '.join(differing[:3])}",
                    expected=f"runs of {name} that differ only in seed and fold",
                    instead="train each of them in another study, with study=...",
                )
        return average_seeds(run.predictions for run in self.runs[name])

    def _check_folds(self) -> None:
        """Check that every window has every fold, one after another.

        Raises:
            RunError: One is missing.
        """
        folds = {name: {run.fold for run in runs} for name, runs in self.runs.items()}
        numbers = [fold for found in folds.values() for fold in found if fold is not None]
        wanted = set(range(min(numbers), max(numbers) + 1)) if numbers else set()
        for name, runs in self.runs.items():
            missing = sorted(wanted - folds[name])
            # a missing baseline is trained like the windows
            if missing and (len(self.runs) == 1 or not runs[0].is_baseline):
                raise RunError(
                    f"{name} has no run of fold {missing[0]}",
                    expected="every fold for every window",
                    instead=f"train it with split.fold={missing[0]}",
                )


def _test_scores(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of the test rows of a predictions table."""
    test = table.loc[table["split"] == "test"]
    if not classes_of(test):
        scores = score_rows(test, P_UP)
        labelled = {f"{name}_labelled": value for name, value in scores["labelled"].items()}
        return {**scores["all"], **labelled}
    test = test.dropna(subset=["label"])
    return score_classes(test[[*probability_columns(test)]], test["label"])


def _choose(
    found: dict[str, list[Run]], windows: Sequence[str] | None, study: str
) -> dict[str, list[Run]]:
    """Return the runs of the wanted windows, None for all, and of the baseline.

    Raises:
        RunError: A window has no run.
    """
    for name, runs in found.items():
        if (seeds := len({run.config["seed"] for run in runs})) > 1:
            log.info("%s: predictions are averaged over %d seeds", name, seeds)
    if windows is None:
        return found
    known = [name for name, runs in found.items() if not runs[0].is_baseline]
    if absent := [name for name in windows if name not in known]:
        trained = f"windows={','.join(known)}" if known else "no window"
        raise RunError(
            f"study {study} has no run for window {absent[0]}, only for {', '.join(known) or '-'}",
            expected="a complete run for each window; the baseline is always included",
            instead=f"train it with study={study} window={absent[0]}, or set {trained}",
        )
    return {name: runs for name, runs in found.items() if name in windows or name not in known}
