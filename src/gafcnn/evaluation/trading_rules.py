"""Trading rules: when to trade, what it costs, and when a trade ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from gafcnn.evaluation.costs import COSTS, CostModel, FixedCosts
from gafcnn.settings import settings


def _cost_model(costs: Any) -> Any:
    return COSTS.create(costs, "costs") if isinstance(costs, Mapping) else costs


Bps: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Coverage: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Sides: TypeAlias = Literal["both", "long", "short"]


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
    sides: Sides = "both"
    costs: Annotated[CostModel | None, BeforeValidator(_cost_model)] = None

    @property
    def cost_model(self) -> CostModel:
        """The cost model that applies: `costs`, or fixed costs of `cost_bps`."""
        return FixedCosts(self.cost_bps) if self.costs is None else self.costs
