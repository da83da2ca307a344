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
    from gafcnn.app.runs import Run as Run
    from gafcnn.app.runs import load_run as load_run
    from gafcnn.app.studies import Study as Study
    from gafcnn.app.studies import load_study as load_study
    from gafcnn.data.bars import resample as resample
    from gafcnn.data.conversion import as_bars as as_bars
    from gafcnn.data.cross_section import AboveMedian as AboveMedian
    from gafcnn.data.cross_section import Rank as Rank
    from gafcnn.data.cross_section import Relative as Relative
    from gafcnn.data.cross_section import Universe as Universe
    from gafcnn.data.features import register_field as register_field
    from gafcnn.data.labels import Candlestick as Candlestick
    from gafcnn.data.labels import Direction as Direction
    from gafcnn.data.labels import TripleBarrier as TripleBarrier
    from gafcnn.data.labels import register_label as register_label
    from gafcnn.data.market_columns import with_market as with_market
    from gafcnn.data.reading import read_bars as read_bars
    from gafcnn.data.reading import read_markets as read_markets
    from gafcnn.data.reading import write_bars as write_bars
    from gafcnn.data.samples import Samples as Samples
    from gafcnn.data.samples import make_samples as make_samples
    from gafcnn.data.simulated import simulate as simulate
    from gafcnn.data.simulated import simulate_universe as simulate_universe
    from gafcnn.data.sources import register_source as register_source
    from gafcnn.data.splits import Chronological as Chronological
    from gafcnn.data.splits import Split as Split
    from gafcnn.data.splits import WalkForward as WalkForward
    from gafcnn.data.windows import Window as Window
    from gafcnn.evaluation.backtest import backtest as backtest
    from gafcnn.evaluation.ensembles import ensemble as ensemble
    from gafcnn.evaluation.ensembles import register_ensemble as register_ensemble
    from gafcnn.evaluation.judge import Judgement as Judgement
    from gafcnn.evaluation.judge import judge as judge
    from gafcnn.evaluation.portfolio import Portfolio as Portfolio
    from gafcnn.evaluation.portfolio import PortfolioRules as PortfolioRules
    from gafcnn.evaluation.portfolio import portfolio as portfolio
    from gafcnn.evaluation.trading_rules import TradingRules as TradingRules
    from gafcnn.evaluation.trading_rules import register_costs as register_costs
    from gafcnn.images.kinds import register_image as register_image
    from gafcnn.images.spec import ImageSpec as ImageSpec
    from gafcnn.images.spec import encode as encode
    from gafcnn.models.boosted_trees import BoostedTrees as BoostedTrees
    from gafcnn.models.classifier import GafClassifier as GafClassifier
    from gafcnn.models.momentum import Momentum as Momentum
    from gafcnn.models.networks import register_network as register_network
    from gafcnn.models.out_of_fold import out_of_fold as out_of_fold
    from gafcnn.models.rocket import MiniRocket as MiniRocket

_MODULES = {
    "app.runs": ("Run", "load_run"),
    "app.studies": ("Study", "load_study"),
    "data.bars": ("resample",),
    "data.conversion": ("as_bars",),
    "data.cross_section": ("AboveMedian", "Rank", "Relative", "Universe"),
    "data.features": ("register_field",),
    "data.labels": ("Candlestick", "Direction", "TripleBarrier", "register_label"),
    "data.market_columns": ("with_market",),
    "data.reading": ("read_bars", "read_markets", "write_bars"),
    "data.samples": ("Samples", "make_samples"),
    "data.simulated": ("simulate", "simulate_universe"),
    "data.sources": ("register_source",),
    "data.splits": ("Chronological", "Split", "WalkForward"),
    "data.windows": ("Window",),
    "evaluation.backtest": ("backtest",),
    "evaluation.ensembles": ("ensemble", "register_ensemble"),
    "evaluation.judge": ("Judgement", "judge"),
    "evaluation.portfolio": ("Portfolio", "PortfolioRules", "portfolio"),
    "evaluation.trading_rules": ("TradingRules", "register_costs"),
    "images.kinds": ("register_image",),
    "images.spec": ("ImageSpec", "encode"),
    "models.boosted_trees": ("BoostedTrees",),
    "models.classifier": ("GafClassifier",),
    "models.momentum": ("Momentum",),
    "models.networks": ("register_network",),
    "models.out_of_fold": ("out_of_fold",),
    "models.rocket": ("MiniRocket",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("gafcnn")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gafcnn.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
