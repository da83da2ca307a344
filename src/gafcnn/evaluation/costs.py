"""Cost models: what a trade costs per side, in basis points of the notional traded."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.errors import ConfigError
from gafcnn.registry import Registry
from gafcnn.settings import settings

Floats = NDArray[np.float64]


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
        """Return the cost of buying or selling in these bars, in basis points: shape (n,).

        Args:
            bars: Bars, indexed by close time.
            rows: Positions of the bars in which trades are entered or exited, shape (n,).
        """
        ...


COSTS: Registry[Any] = Registry("cost model", "costs.kind")
register_costs = COSTS.register
"""Register a `CostModel` under a name, which `costs.kind` then accepts."""


@register_costs("fixed")
@settings("costs")
class FixedCosts:
    """The same cost in every bar.

    Args:
        bps: Cost per side, in basis points.
    """

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
            f"{type(model).__name__}.per_side returned shape {costs.shape} for {len(rows):,} rows",
            expected="one cost for each row",
            instead="index what it computes from the bars with `[rows]`",
        )
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs >= 0)))
    if len(bad):
        raise ConfigError(
            f"{type(model).__name__}.per_side returned {costs[bad[0]]} for the bar that closes at "
            f"{bars.index[rows[bad[0]]]}, and {len(bad):,} invalid costs in all",
            expected="basis points, finite and 0 or more",
            instead="fill what is undefined, such as the first values of a rolling mean",
        )
    return costs
