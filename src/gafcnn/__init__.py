"""Market bars as Gramian Angular Field images: learn from them, and evaluate honestly.

    >>> import gafcnn as gc
    >>> bars, _ = gc.simulate(20_160, seed=2)
    >>> samples = gc.make_samples(bars, label=gc.Direction("15min"))
    >>> model = gc.GafClassifier(window="30m", network="small_cnn", max_epochs=5)
    >>> result = gc.judge({"30m": model.fit(samples).predict(samples)}, bars, cost_bps=10)

Names are imported when they are first used, so that `import gafcnn` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gafcnn.app.runs import Run, load_run
    from gafcnn.app.studies import Study, load_study
    from gafcnn.data.bars import as_bars, resample
    from gafcnn.data.features import register_field
    from gafcnn.data.labels import Candlestick, Direction, TripleBarrier, register_label
    from gafcnn.data.reading import read_bars, write_bars
    from gafcnn.data.samples import Samples, make_samples
    from gafcnn.data.simulated import simulate
    from gafcnn.data.sources import register_source
    from gafcnn.data.splits import Chronological, Split, WalkForward
    from gafcnn.data.windows import Window
    from gafcnn.evaluation.backtest import backtest
    from gafcnn.evaluation.ensembles import ensemble, register_ensemble
    from gafcnn.evaluation.judge import Judgement, judge
    from gafcnn.evaluation.trading_rules import TradingRules, register_costs
    from gafcnn.images.kinds import register_image
    from gafcnn.images.spec import ImageSpec, encode
    from gafcnn.models.boosted_trees import BoostedTrees
    from gafcnn.models.classifier import GafClassifier
    from gafcnn.models.networks import register_network

_MODULES = {
    "app.runs": ("Run", "load_run"),
    "app.studies": ("Study", "load_study"),
    "data.bars": ("as_bars", "resample"),
    "data.features": ("register_field",),
    "data.labels": ("Candlestick", "Direction", "TripleBarrier", "register_label"),
    "data.reading": ("read_bars", "write_bars"),
    "data.samples": ("Samples", "make_samples"),
    "data.simulated": ("simulate",),
    "data.sources": ("register_source",),
    "data.splits": ("Chronological", "Split", "WalkForward"),
    "data.windows": ("Window",),
    "evaluation.backtest": ("backtest",),
    "evaluation.ensembles": ("ensemble", "register_ensemble"),
    "evaluation.judge": ("Judgement", "judge"),
    "evaluation.trading_rules": ("TradingRules", "register_costs"),
    "images.kinds": ("register_image",),
    "images.spec": ("ImageSpec", "encode"),
    "models.boosted_trees": ("BoostedTrees",),
    "models.classifier": ("GafClassifier",),
    "models.networks": ("register_network",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BoostedTrees",
    "Candlestick",
    "Chronological",
    "Direction",
    "GafClassifier",
    "ImageSpec",
    "Judgement",
    "Run",
    "Samples",
    "Split",
    "Study",
    "TradingRules",
    "TripleBarrier",
    "WalkForward",
    "Window",
    "as_bars",
    "backtest",
    "encode",
    "ensemble",
    "judge",
    "load_run",
    "load_study",
    "make_samples",
    "read_bars",
    "register_costs",
    "register_ensemble",
    "register_field",
    "register_image",
    "register_label",
    "register_network",
    "register_source",
    "resample",
    "simulate",
    "write_bars",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gafcnn.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
