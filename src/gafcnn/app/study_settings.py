"""The options of the commands that work on a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from gafcnn.app.train_settings import MODELS, Name, Paths, Seed, registered
from gafcnn.data.labels import LABELS
from gafcnn.data.sources import SOURCES
from gafcnn.data.splits import SPLITS
from gafcnn.errors import ConfigError
from gafcnn.evaluation.trading_rules import COSTS, TradingRules
from gafcnn.settings import settings

METHODS = ("mean", "weighted", "vote", "stacking")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("expected a list of names, each once")
    return names


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value or ()


Names: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_distinct)]
Files: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_as_tuple)]


@settings("judging")
class Judging:
    """Confidence intervals.

    Attributes:
        resamples: Resamples of the bootstrap, 100 or more; 0 for no intervals.
        seed: Seed of the resamples.
    """

    resamples: Literal[0] | Annotated[int, Field(ge=100, strict=True)] = 2000
    seed: Seed = 0


@settings("ensemble")
class EnsembleOptions:
    """How windows are combined.

    Attributes:
        methods: Names of ensembles.
    """

    methods: Names = METHODS


@settings("")
class StudyOptions:
    """The options that all commands on a study share.

    Attributes:
        study: The folder of the study under `paths.outputs`.
        windows: The windows to use; None for all.
        paths: Where files are.
        imports: The user's own modules, which the command imports.
    """

    study: Name | None = None
    windows: Names | None = None
    paths: Paths = Field(default_factory=Paths)
    imports: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the study.

        Raises:
            ConfigError: No study is named.
        """
        if self.study is None:
            raise ConfigError(
                "study has no value", expected="the name of a study", instead="set study=..."
            )
        return self.paths.outputs / self.study


@settings("")
class EvaluateOptions(StudyOptions):
    """The options of an evaluation.

    Attributes:
        trading: When to trade, and what it costs.
        costs: A cost model in place of `trading.cost_bps`.
        ensemble: How windows are combined.
        judging: Confidence intervals.
        baseline: What is trained if a study has no baseline.
        pattern_baseline: The same, for a label that does not look ahead.
        receipts: Whether to audit the study for look-ahead.
        predictions: Tables of predictions, to evaluate alone or beside a study.
        market: Bars for `predictions` alone.
        label: Label for `predictions` alone.
        split: Test rows for `predictions` alone.
    """

    baseline: Annotated[Any, registered(MODELS, "baseline")] = None
    pattern_baseline: Annotated[Any, registered(MODELS, "pattern_baseline")] = None
    trading: TradingRules = Field(default_factory=TradingRules)
    costs: Annotated[Any, registered(COSTS, "costs")] = None
    ensemble: EnsembleOptions = Field(default_factory=EnsembleOptions)
    judging: Judging = Field(default_factory=Judging)
    receipts: bool = False
    predictions: Files = ()
    market: Annotated[Any, registered(SOURCES, "market")] = None
    label: Annotated[Any, registered(LABELS, "label")] = None
    split: Annotated[Any, registered(SPLITS, "split")] = None

    @property
    def rules(self) -> TradingRules:
        """The trading rules with their cost model."""
        return self.trading if self.costs is None else replace(self.trading, costs=self.costs)

    @property
    def tables(self) -> Mapping[str, Path]:
        """The files of `predictions` by their names."""
        return {path.stem: path for path in self.predictions}
