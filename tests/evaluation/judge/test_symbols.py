"""Several symbols together: rows of all, a portfolio of trades, the same resampled moments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from gafcnn.evaluation import statistics
from gafcnn.evaluation.figures import sharpe, sortino
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.test_set import TestSet, Traded
from gafcnn.evaluation.trading_rules import TradingRules

Judge = Callable[..., Judgement]
Tables = dict[str, pd.DataFrame]
MODELS = ["30m", "60m", "xgboost"]


@pytest.fixture(scope="module")
def markets(bars: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The same bars under two names; the second lacks some."""
    other = bars.drop(index=bars.index[2400:2440])
    other.attrs = bars.attrs
    return {"SIM": bars, "OTHER": other}


@pytest.fixture(scope="module")
def pair(tables: Tables, markets: dict[str, pd.DataFrame]) -> Tables:
    """Predictions of both symbols; those of the second are shuffled, and end earlier."""
    there = tables["30m"][["time", "known_at"]].isin(markets["OTHER"].index).all(axis="columns")
    rng, found = np.random.default_rng(1), {}
    for name in MODELS:
        other = tables[name][there].iloc[:-15].assign(symbol="OTHER")
        other = other.assign(p_up=rng.permutation(other["p_up"]))
        found[name] = pd.concat([tables[name], other], ignore_index=True)
    return found


@pytest.fixture(scope="module")
def pooled(pair: Tables, markets: dict[str, pd.DataFrame]) -> Judgement:
    return judge(pair, markets, rules=TradingRules(cost_bps=1.0, least_trades=5), resamples=120)


def test_rows_of_all_symbols_count_alike(pair: Tables, pooled: Judgement) -> None:
    test = pair["30m"][pair["30m"]["split"] == "test"]
    up, labelled = test["forward_return"] > 0, test["label"].notna()
    metrics = pooled.metrics
    assert metrics["rows"] == {"all": len(test), "labelled": labelled.sum()}
    assert metrics["classes"]["all"] == {"up": pytest.approx(up.mean()), "n": len(test)}
    for name in MODELS:
        p = pair[name].loc[test.index, "p_up"]
        found = metrics["models"][name]
        assert found["accuracy"]["value"] == pytest.approx(((p > 0.5) == up).mean())
        assert found["auc"]["value"] == pytest.approx(roc_auc_score(up, p))
        known = roc_auc_score(test["label"][labelled].astype(int), p[labelled])
        assert found["auc_labelled"]["value"] == pytest.approx(known)
        assert found["auc"]["n"] == len(test)
        assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
        [every] = [r for r in metrics["coverage"] if r["model"] == name and r["share"] == 1.0]
        assert every["n"] == len(test)


def test_trades_form_a_portfolio_of_equal_shares(
    pair: Tables,
    pooled: Judgement,
    markets: dict[str, pd.DataFrame],
    test_set_of: Callable[..., TestSet],
) -> None:
    table = pair["30m"].rename(columns={"p_up": "30m"})
    traded: list[Traded] = [
        test_set_of(table[table["symbol"] == symbol], bars=frame).trade("30m")
        for symbol, frame in markets.items()
    ]
    # by time, not by number: one symbol lacks bars that the other has
    each = [one.backtest.returns for one in traded]
    returns = pd.concat(each, axis=1).sort_index().fillna(0).mean(axis=1)
    periods = 365 * 24 * 60.0
    found = pooled.metrics["models"]["30m"]
    trades = pd.concat([one.backtest.trades for one in traded])
    assert {name: found[name]["value"] for name in found} | {
        "sharpe": pytest.approx(sharpe(returns.to_numpy(), periods).value),
        "sortino": pytest.approx(sortino(returns.to_numpy(), periods).value),
        "max_drawdown": pytest.approx(statistics.max_drawdown(returns.to_numpy())),
        "total_return": pytest.approx((1 + returns).prod() - 1),
        "win_rate_gross": pytest.approx((trades["gross"] > 0).mean()),
        "net_bps": pytest.approx(trades["net"].mean() * 1e4),
        "trades": len(trades),
    } == {name: found[name]["value"] for name in found}
    assert found["net_bps"]["n"] == len(trades)
    assert pooled.metrics["equity"]["30m"]["value"][-1] == pytest.approx((1 + returns).prod())


def test_each_symbol_is_judged_as_if_it_were_alone(
    pooled: Judgement, tables: Tables, judge_tables: Judge
) -> None:
    alone = judge_tables({name: tables[name] for name in MODELS}, resamples=120).metrics
    assert list(pooled.metrics["symbols"]) == list(pooled.by_symbol) == ["SIM", "OTHER"]
    single = pooled.by_symbol["SIM"]
    assert single.metrics["symbol"] == "SIM"
    assert set(single.predictions["symbol"]) == {"SIM"}
    for name, figures in pooled.metrics["symbols"]["SIM"]["models"].items():
        for figure, one in figures.items():
            assert one == pytest.approx(alone["models"][name][figure], nan_ok=True), figure
