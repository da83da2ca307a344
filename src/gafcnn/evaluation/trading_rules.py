"""The rules of trading: when one trades, what it costs, and when a trade ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real

from gafcnn.errors import ConfigError

SIDES = ("both", "long", "short")


@dataclass(frozen=True)
class Rules:
    """How probabilities become trades.

    A trade is decided at `t`, entered at the open of the next bar, and left at the close of the bar
    that closes at `t + horizon`, or at a barrier that is reached before.

    Args:
        cost_bps: Cost per side, in basis points of the notional traded, as spot takers pay it.
        threshold: The confidence |P(up) - 1/2| from which one trades, in [0, 0.5]; None to have it
            chosen on validation rows (see `choose_threshold`).
        coverages: The shares of rows, in (0, 1], among which that choice is made.
        least_trades: How many trades a share must have had on validation to be chosen.
        take_profit_bps: Distance of the barrier that ends a trade with a gain; None for none.
        stop_loss_bps: Distance of the barrier that ends a trade with a loss; None for none.
        overlapping: False for one trade at a time. True for equal slices of the equity, one per bar
            of the horizon, each of which trades one at a time.
        sides: Which trades are made: "both", "long" or "short".

    Raises:
        ConfigError: A value is out of its range.
    """

    cost_bps: float = 10.0
    threshold: float | None = None
    coverages: Sequence[float] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    least_trades: int = 20
    take_profit_bps: float | None = None
    stop_loss_bps: float | None = None
    overlapping: bool = False
    sides: str = "both"

    def __post_init__(self) -> None:
        check_sides(self.sides)
        _check_cost(self.cost_bps)
        _check_threshold(self.threshold)
        _check_coverages(self.coverages)
        _check_least_trades(self.least_trades)
        _check_barrier("take_profit_bps", self.take_profit_bps)
        _check_barrier("stop_loss_bps", self.stop_loss_bps)
        if not isinstance(self.overlapping, bool):
            raise _refusal("overlapping", self.overlapping, "true or false", "false")
        # a configuration gives a list, which would leave a frozen value open to change
        object.__setattr__(self, "coverages", tuple(self.coverages))


def check_sides(sides: object) -> None:
    """Refuse what is neither both sides nor one of them.

    Raises:
        ConfigError: `sides` is none of `SIDES`.
    """
    if sides not in SIDES:
        raise _refusal("sides", sides, "both, long or short", "both")


def check_coverage(coverage: object) -> None:
    """Refuse what is no share of rows.

    Raises:
        ConfigError: `coverage` is not in (0, 1].
    """
    if not _is_number(coverage, 0, 1) or coverage == 0:
        raise _refusal("coverages", coverage, "shares above 0 and at most 1", "[1.0,0.1,0.01]")


def _check_cost(cost_bps: object) -> None:
    if not _is_number(cost_bps, 0):
        raise _refusal("cost_bps", cost_bps, "basis points per side, 0 or more", "10.0")


def _check_threshold(threshold: object) -> None:
    if threshold is not None and not _is_number(threshold, 0, 0.5):
        raise _refusal("threshold", threshold, "a confidence from 0 to 0.5, or null", "null")


def _check_coverages(coverages: object) -> None:
    if isinstance(coverages, str) or not isinstance(coverages, Sequence) or not coverages:
        raise _refusal("coverages", coverages, "a list of shares", "[1.0,0.1,0.01]")
    for coverage in coverages:
        check_coverage(coverage)


def _check_least_trades(least: object) -> None:
    if not isinstance(least, Integral) or not _is_number(least, 1):
        raise _refusal("least_trades", least, "a whole number of trades, 1 or more", "20")


def _check_barrier(key: str, distance: object) -> None:
    if distance is not None and (not _is_number(distance, 0) or distance == 0):
        raise _refusal(key, distance, "a positive number of basis points, or null", "null")


def _is_number(value: object, least: float, most: float = float("inf")) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return isfinite(value) and least <= float(value) <= most


def _refusal(key: str, value: object, expected: str, example: str) -> ConfigError:
    return ConfigError(
        f"trading.{key} is {value}", expected=expected, instead=f"write trading.{key}={example}"
    )
