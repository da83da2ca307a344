from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.evaluation.backtest import backtest, buy_and_hold, coin
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Bars = Callable[..., pd.DataFrame]


# --- holding ----------------------------------------------------------------------------------


def test_holding_by_hand(bars_of: Bars) -> None:
    bars = bars_of(
        [(90, 90, 90, 90), (100, 105, 99, 104), (120, 130, 50, 125), (110, 110, 110, 110)],
        missing=[2],
    )
    rules = Rules(cost_bps=100, stop_loss_bps=1, sides="short")  # neither applies to holding
    held = buy_and_hold(bars, bars.index[0], bars.index[-1], rules)
    assert held.equity.tolist() == pytest.approx([1.03, 1.24, 1.10 - 0.01 - 0.011])
    assert held.trades["entered"].tolist() == [bars.index[0]]
    assert held.trades["left"].tolist() == [bars.index[-1]]
    assert held.exposure.tolist() == [1, 1, 1]
    assert held.horizon == bars.index[-1] - bars.index[0]
    assert held.summary()["trades"] == 1


# --- a coin -----------------------------------------------------------------------------------


def _trades(
    bars: pd.DataFrame, position: np.ndarray, rules: Rules, draws: int = 1000
) -> dict[str, Any]:
    made = backtest(bars, bars.index[: len(position)], position, "5min", rules)
    return coin(made, bars, rules, draws=draws)


def test_a_coin_loses_the_costs(walk: Bars) -> None:
    bars = walk(2000, 0)
    free = _trades(bars, np.ones(1900), Rules(cost_bps=0))
    net = free["net_bps"]
    assert net["value"] == pytest.approx(0, abs=0.2)  # 1.2 bps is the deviation of one draw
    assert net["low"] < -1 < 1 < net["high"]
    assert free["win_rate_gross"]["value"] == pytest.approx(0.5, abs=0.01)
    dear = _trades(bars, np.ones(1900), Rules(cost_bps=10))
    # about 20 bps a round trip, and the same draws
    assert dear["net_bps"]["value"] == pytest.approx(net["value"] - 20, abs=0.01)
    assert dear["win_rate_gross"] == free["win_rate_gross"]


def test_four_trades_drawn_in_sixteen_ways(bars_of: Bars) -> None:
    """Rises of 1, 2, 4 and 8 %: the mean identifies the sides, and all are equally likely."""
    rises = [0.01, 0.02, 0.04, 0.08]
    bars = bars_of([(100, 100, 100, 100), *((100, 110, 100, 100 * (1 + rise)) for rise in rises)])
    rules = Rules(cost_bps=0)
    draws = 4000
    for rank, position in ((1, [1, 1, 1, 1]), (5, [1, 1, -1, 1]), (16, [-1, -1, -1, -1])):
        made = backtest(bars, bars.index[:4], position, "1min", rules)
        tossed = coin(made, bars, rules, draws=draws, seed=rank)
        assert tossed["p_value"] == pytest.approx(rank / 16, abs=4 * np.sqrt(0.25 / draws))
        ends = {name: (one["low"], one["high"]) for name, one in tossed.items() if name[0] != "p"}
        assert ends["net_bps"] == pytest.approx((-375, 375))
        assert ends["win_rate_net"] == (0, 1)


def test_draws_do_not_depend_on_the_sides_traded(walk: Bars) -> None:
    bars, rng = walk(500, 2), np.random.default_rng(0)
    for rules in (Rules(), Rules(overlapping=True), Rules(take_profit_bps=9)):
        position = rng.choice([-1, 0, 1], 400)
        made = backtest(bars, bars.index[:400], position, "5min", rules)
        other = replace(made, trades=made.trades.assign(side=-made.trades["side"]))
        ours, theirs = coin(made, bars, rules), coin(other, bars, rules)
        assert ours.pop("p_value") != theirs.pop("p_value")
        assert ours == theirs


def test_seed_and_no_trades(walk: Bars) -> None:
    bars = walk(300, 0)
    made = backtest(bars, bars.index[:200], np.ones(200), "5min", Rules())
    assert coin(made, bars, Rules(), draws=50) == coin(made, bars, Rules(), draws=50)
    assert coin(made, bars, Rules(), draws=50) != coin(made, bars, Rules(), draws=50, seed=1)
    idle = _trades(bars, np.zeros(200), Rules())
    assert idle.pop("p_value") is None
    assert all(one["value"] is None for one in idle.values())
