"""Trading rules: when to trade, when a trade ends, and what it costs (cost models)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from gafcnn.errors import ConfigError
from gafcnn.evaluation.statistics import Floats
from gafcnn.registry import Registry
from gafcnn.settings import settings


@runtime_checkable
class CostModel(Protocol):
    """A settings class, registered under a name by `register_costs`.

    @gc.register_costs("half_spread")
    class HalfSpread:
        share: float = 0.1

        def per_side(self, bars, rows):
            width = ((bars["high"] - bars["low"]) / bars["close"]).to_numpy()
            return 1e4 * self.share * width[rows]
    """

    def per_side(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Floats:
        """Return the cost of buying or selling at n rows of bars, in basis points: shape (n,)."""
        ...


COSTS: Registry[Any] = Registry("cost model")
register_costs = COSTS.register
"""Register a `CostModel` under a name, which `costs.kind` then accepts."""


@register_costs("fixed")
@settings("costs")
class FixedCosts:
    """The same cost in every bar: `bps` per side, in basis points."""

    bps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0

    def per_side(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Floats:  # noqa: ARG002
        """Return the cost, once per row."""
        return np.full(len(rows), self.bps)


def cost_per_side(model: CostModel, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Floats:
    """Return the costs of a model, checked: shape (n,), float64, basis points.

    Raises:
        ConfigError: The model returns another number of costs, or one that is not finite and >= 0.
    """
    costs = np.asarray(model.per_side(bars, rows), dtype=np.float64)
    if costs.shape != rows.shape:
        raise ConfigError(
            f"{type(model).__name__} returned costs of shape {costs.shape} for {len(rows):,} rows",
            expected="one cost for each row",
            instead="index what it computes from the bars with `[rows]`",
        )
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs >= 0)))
    if len(bad):
        raise ConfigError(
            f"{type(model).__name__} returned {len(bad):,} invalid costs, first {costs[bad[0]]} "
            f"at {bars.index[rows[bad[0]]]}",
            expected="basis points, finite and 0 or more",
            instead="fill what is undefined, such as the first values of a rolling mean",
        )
    return costs


def _cost_model(costs: Any) -> Any:
    return COSTS.create(costs, "costs") if isinstance(costs, Mapping) else costs


Bps: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Coverage: TypeAlias = Annotated[float, Field(gt=0, le=1)]


@settings("trading")
class TradingRules:
    """How probabilities become trades.

    A trade is decided at `t`, entered at the open of the next bar, and exited at the close of the
    bar that closes at `t + horizon`, or at a barrier that is reached earlier.

    Args:
        cost_bps: Cost per side, in basis points of the notional traded; the default is the fee of a
            taker on a spot market.
        threshold: Confidence |P(up) - 1/2| from which to trade, in [0, 0.5]; None to choose it on
            validation rows (see `choose_threshold`).
        coverages: Shares of rows, in (0, 1], among which `choose_threshold` chooses.
        least_trades: Number of validation trades that a share needs in order to be chosen.
        take_profit_bps: Distance of the barrier that ends a trade with a gain; None for no barrier.
        stop_loss_bps: Distance of the barrier that ends a trade with a loss; None for no barrier.
        overlapping: False for one trade at a time. True to split the equity into equal slices, one
            per bar of the horizon, each of which holds one trade at a time.
        sides: Which trades to make.
        costs: Cost model, which replaces `cost_bps`: an object with the method `per_side` (see
            `CostModel`), or its options, such as `{"kind": "fixed", "bps": 5}`.

    Raises:
        ConfigError: A value is out of range.
    """

    cost_bps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    threshold: Annotated[float, Field(ge=0, le=0.5)] | None = None
    coverages: Annotated[tuple[Coverage, ...], Field(min_length=1)] = (
        1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01,
    )  # fmt: skip
    least_trades: Annotated[int, Field(ge=1)] = 20
    take_profit_bps: Bps | None = None
    stop_loss_bps: Bps | None = None
    overlapping: bool = False
    sides: Literal["both", "long", "short"] = "both"
    costs: Annotated[CostModel | None, BeforeValidator(_cost_model)] = None

    @property
    def cost_model(self) -> CostModel:
        """The cost model that applies: `costs`, or fixed costs of `cost_bps`."""
        return FixedCosts(self.cost_bps) if self.costs is None else self.costs
