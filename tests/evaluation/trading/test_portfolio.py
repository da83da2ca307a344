"""Portfolios of a cross-section: by hand, against a plain loop, and what must not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_series_equal

from gafcnn.data.bars import check_bars
from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.portfolio import Portfolio, PortfolioRules, portfolio, slice_weights

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2025-06-20 00:00", tz="UTC")
PLAIN = {"band": 0.0, "smoothing": 0.0}
FREE = {**PLAIN, "cost_bps": 0.0}
NAN = float("nan")

Bars = dict[str, pd.DataFrame]


def hours(*numbers: int) -> list[pd.Timestamp]:
    return [START + HOUR * number for number in numbers]


def hourly(
    prices: Sequence[tuple[float, float]], rows: Sequence[int] | None = None, **more: Any
) -> pd.DataFrame:
    """Bars of (open, close), the first of which closes at midnight, or at the hours `rows`."""
    rows = [*range(len(prices))] if rows is None else rows
    frame = pd.DataFrame(prices, hours(*rows), ["open", "close"], dtype=float)
    frame["high"], frame["low"] = frame.max(axis=1), frame.min(axis=1)
    return check_bars(frame.assign(**{"volume": 100.0, **more}), "bars", HOUR)


def scored(table: Mapping[str, Sequence[float]], at: Sequence[int] = ()) -> Any:
    """Predictions of symbols at hours, by default at 0, 1, 2 and so on."""
    n = len(next(iter(table.values())))
    frame = pd.DataFrame(table, hours(*(at or range(n)))).rename_axis("time").reset_index()
    return frame.melt("time", var_name="symbol", value_name="score")


# --- by hand ----------------------------------------------------------------------------------


@pytest.fixture
def three() -> Bars:
    """From open to open, A rises by 10 %, B stays and C falls by 10 %; then A and B fall."""
    return {
        "A": hourly([(100, 100), (100, 105), (110, 99)]),
        "B": hourly([(50, 50), (50, 50), (50, 45)]),
        "C": hourly([(10, 10), (10, 10), (9, 9)], funding=[0.0, 0.01, 0.02]),
    }


def test_three_symbols_on_paper(three: Bars) -> None:
    """Long A and short C; then long B and short A."""
    table = scored({"A": [3, 1], "B": [2, 3], "C": [1, 2]})
    made = portfolio(table, three, horizon="1h", rules={**PLAIN, "cost_bps": 100})
    assert made.weights.to_numpy() == pytest.approx(np.array([[0.5, 0, -0.5], [-0.5, 0.5, 0]]))
    assert made.gross.tolist() == pytest.approx([0.1, 0.5 * 0.1 - 0.5 * 0.1])
    # the short position receives 1 % of what it is worth at the close
    assert made.funding.tolist() == pytest.approx([0.005, 0])
    # A drifts to 0.55 / 1.1, C to 0.45 / 1.1; sold at the end are 0.5 * 0.9 on each side
    turnover = [1.0, 0.5 + 0.5 + 0.5 + 0.45 / 1.1 + 0.9]
    assert made.turnover.tolist() == pytest.approx(turnover)
    assert made.costs.tolist() == pytest.approx([0.01 * one for one in turnover])
    assert made.returns.tolist() == pytest.approx([0.1 - 0.01 + 0.005, -0.01 * turnover[1]])
    assert made.returns.index.tolist() == hours(0, 1)


def test_a_decision_after_the_horizon_begins_anew() -> None:
    """Everything is sold one horizon after the decision if the next is later."""
    bars = {name: hourly([(100 + i, 101 + i) for i in range(9)]) for name in "AB"}
    table = scored({"A": [2.0] * 4, "B": [1.0] * 4}, at=[0, 1, 2, 7])
    made = portfolio(table, bars, horizon="2h", rules={**PLAIN, "sides": "long"})
    assert made.weights["A"].tolist() == pytest.approx([0.5, 1, 1, 0.5])
    # from the open of hour 3 to the close of hour 4, and of hour 8, which is the last one
    assert made.gross.tolist()[2:] == pytest.approx([105 / 103 - 1, 0.5 * (109 / 108 - 1)])
    assert made.turnover.tolist()[2] == pytest.approx(105 / 103)
    smooth = portfolio(table, bars, horizon="2h", rules={**FREE, "sides": "long", "smoothing": 0.5})
    assert smooth.weights["A"].tolist() == pytest.approx([0.25, 0.625, 0.8125, 0.25])


def test_horizon_below_the_step_is_held_for_the_horizon() -> None:
    bars = {name: hourly([(100 + i, 101 + i) for i in range(9)]) for name in "AB"}
    table = scored({"A": [2.0] * 2, "B": [1.0] * 2}, at=[0, 4])
    made = portfolio(table, bars, horizon="2h", rules={**FREE, "sides": "long"})
    assert made.gross.tolist() == pytest.approx([103 / 101 - 1, 107 / 105 - 1])


def test_gap_and_delisting() -> None:
    """A has no bar at the second entry, B ends before it, at 120."""
    bars = {
        "A": hourly([(100, 100), (100, 110), (140, 140)], rows=[0, 1, 3]),
        "B": hourly([(100, 100), (100, 120)]),
        "C": hourly([(100, 100)] * 4),
    }
    table = scored({"A": [3, 1, 3], "B": [2, 3, 1], "C": [1, 2, 2]})
    rules = {**PLAIN, "sides": "long", "quantile": 0.5, "max_weight": 0.5, "cost_bps": 100}
    made = portfolio(table, bars, horizon="1h", rules=rules)
    assert made.weights["A"].tolist() == pytest.approx([0.5, 0.5 * 1.1 / 1.05, 0.5])
    assert made.weights["B"].tolist() == [0, 0, 0]
    assert made.gross.tolist() == pytest.approx([0.05, 0.5 * 1.1 / 1.05 * (140 / 110 - 1), 0])
    table = scored({"A": [2, 2, 2], "B": [1, 1, 1], "C": [3, 3, 3]})
    made = portfolio(table, bars, horizon="1h", rules={**PLAIN, "cost_bps": 100})
    assert made.gross.iloc[0] == pytest.approx(-0.1)
    assert made.weights["B"].tolist() == [-0.5, 0, 0]
    assert made.turnover.iloc[1] == pytest.approx(0.6 / 0.9 + abs(0.5 / 0.9 - 0.5))


def test_a_portfolio_that_loses_everything_holds_nothing() -> None:
    bars = {"A": hourly([(10, 10), (10, 10), (40, 40), (40, 40)]), "B": hourly([(10, 10)] * 4)}
    made = portfolio(scored({"A": [1] * 3, "B": [2] * 3}), bars, horizon="1h", rules=FREE)
    assert made.gross.tolist() == pytest.approx([-1.5, 0, 0])
    assert not made.weights.iloc[1:].any(axis=None)


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "options", "weights"),
    [
        ([5, 1, 4, 2, 3], {}, [0.5, -0.5, 0, 0, 0]),
        ([5, 1, 4, 2, 3], {"quantile": 0.4}, [0.25, -0.25, 0.25, -0.25, 0]),
        ([5, 1, 4, 2, 3], {"sides": "long", "quantile": 0.4}, [0.5, 0, 0.5, 0, 0]),
        (range(100), {"quantile": 0.29}, [-1 / 58] * 29 + [0] * 42 + [1 / 58] * 29),
        ([5, 1, 4, 2, 3], {"weights": "rank"}, [1 / 3, -1 / 3, 1 / 6, -1 / 6, 0]),
        ([5, 1, 4, 2, 3], {"weights": "rank", "sides": "long"}, [2 / 3, 0, 1 / 3, 0, 0]),
        ([5, 1, 4, 2, 3], {"max_weight": 0.3}, [0.3, -0.3, 0, 0, 0]),
        ([5, 1, NAN, NAN, NAN], {}, [0.5, -0.5, 0, 0, 0]),
        ([5, NAN, NAN, NAN, NAN], {"sides": "long"}, [0, 0, 0, 0, 0]),
        ([NAN] * 5, {"weights": "rank"}, [0, 0, 0, 0, 0]),
        ([7, 7, 7, 7, 7], {}, [0, 0, 0, 0, 0]),
        ([7, 7, 7, 7, 7], {"weights": "rank", "sides": "long"}, [0, 0, 0, 0, 0]),
        # those that tie at the border share the places that are left
        ([5, 5, 3, 1, 2], {"quantile": 0.4}, [0.25, 0.25, 0, -0.25, -0.25]),
        ([5, 4, 4, 1, 2], {"quantile": 0.4}, [0.25, 0.125, 0.125, -0.25, -0.25]),
        ([5, 5, 3, 1, 2], {}, [0.25, 0.25, 0, -0.5, 0]),
        ([5, 5, 5, 1, 5], {"quantile": 0.4}, [0.125, 0.125, 0.125, -0.5, 0.125]),
        ([5, 5, 3, 1, 2], {"weights": "rank"}, [0.25, 0.25, 0, -1 / 3, -1 / 6]),
    ],
)
def test_weights(scores: Any, options: Any, weights: Any) -> None:
    found = slice_weights(np.array([scores], float), PortfolioRules(**options))
    assert found[0] == pytest.approx(np.array(weights, float))


def test_weights_by_volatility() -> None:
    rules = PortfolioRules(sizing="inverse_volatility", quantile=0.4)
    volatility = np.array([[1.0, 3.0, 2.0, 2.0, 1.0, NAN, 0.0]])
    scores = np.array([[5.0, 4, 3, 2, 1, 6, 0]])
    weights = slice_weights(scores, rules, volatility)[0]
    assert weights == pytest.approx([3 / 8, 1 / 8, 0, -1 / 6, -1 / 3, 0, 0])


# --- against a plain loop ---------------------------------------------------------------------


def _draw(seed: int, n_symbols: int, n: int = 60) -> tuple[Bars, Any]:
    """A random market with gaps, listings, delistings and funding, and scores that miss some."""
    rng = np.random.default_rng(seed)
    bars, tables = {}, []
    for name in "ABCDEFG"[:n_symbols]:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, n)))
        opens = close * np.exp(rng.normal(0, 0.01, n))
        funding = np.where(np.arange(n) % 8 == 0, rng.normal(0, 0.01, n), 0.0)
        frame = hourly([*zip(opens, close, strict=True)], funding=funding)
        begin, end = (rng.integers(0, 15), rng.integers(n - 15, n)) if name > "B" else (0, n)
        kept = (np.arange(n) >= begin) & (np.arange(n) < end) & (rng.random(n) > 0.1)
        bars[name] = check_bars(frame[kept], name, HOUR)
        at = bars[name].index[rng.random(kept.sum()) > 0.1]
        at = at[pd.DatetimeIndex(at).hour % 2 == 0] if seed % 2 else at
        score = rng.normal(size=len(at)).round(1)
        tables.append(pd.DataFrame({"symbol": name, "time": at, "score": score}))
    return bars, pd.concat(tables, ignore_index=True)


def _slowly(table: Any, bars: Bars, ahead: int, rules: PortfolioRules) -> list[dict[str, float]]:
    """Trade with dicts, in loops over decisions, symbols and bars, from the same slices."""
    closes = sorted(set().union(*(frame.index for frame in bars.values())))
    times = [time for time in sorted(set(table["time"])) if time < closes[-1]]
    rows = [closes.index(time) for time in times]
    step = int(np.median(np.diff(rows)))
    slices, reach = max(1, round(ahead / step)), max(ahead, step)
    wide = table.pivot_table("score", "time", "symbol").reindex(times)
    spread = {name: np.log(bars[name]["close"]).diff().rolling(4).std() for name in bars}
    volatility = pd.DataFrame(spread).reindex(times).to_numpy()
    wanted = slice_weights(wide.to_numpy(float), rules, volatility)
    prices = {name: frame.to_dict("index") for name, frame in bars.items()}

    def close(name: str, row: int) -> float:
        known = [one for one in closes[: row + 1] if one in prices[name]]
        return prices[name][known[-1]]["close"] if known else NAN

    def price(name: str, row: int) -> float:
        bar = prices[name].get(closes[row])
        return bar["open"] if bar else close(name, row - 1)

    found, held, aim = [], dict.fromkeys(bars, 0.0), dict.fromkeys(bars, 0.0)
    for k, row in enumerate(rows):
        is_last = k + 1 == len(rows) or rows[k + 1] - row > reach
        end = min(row + ahead, len(closes) - 1) if is_last else rows[k + 1]
        live = [j for j in range(max(k - slices + 1, 0), k + 1) if rows[j] > row - ahead] or [k]
        made = dict.fromkeys(("gross", "costs", "funding", "turnover"), 0.0)
        values = {}
        for i, name in enumerate(bars):
            target = sum(wanted[j, i] for j in live) / slices
            aim[name] = rules.smoothing * aim[name] + (1 - rules.smoothing) * target
            weight, selected = held[name], np.count_nonzero(wanted[k])
            width = rules.band / selected if selected else 0
            if closes[row + 1] > bars[name].index[-1]:
                weight = 0.0
            elif closes[row + 1] in prices[name] and abs(aim[name] - weight) > width:
                weight = aim[name]
            cost = rules.costs_bps.get(name, rules.cost_bps) / 1e4
            trade = abs(weight - held[name])
            values[name] = 0.0
            if weight:
                start = price(name, row + 1)
                stop = close(name, end) if is_last else price(name, end + 1)
                values[name] = weight * stop / start
                for bar in closes[row + 1 : end + 1]:
                    if bar in prices[name]:
                        one = prices[name][bar]
                        made["funding"] -= weight * one["close"] / start * one["funding"]
            trade += abs(values[name]) if is_last else 0.0
            made["turnover"] += trade
            made["costs"] += trade * cost
            made["gross"] += values[name] - weight
        found.append(made)
        if is_last:
            aim, values = dict.fromkeys(bars, 0.0), dict.fromkeys(bars, 0.0)
        held = {name: value / (1 + made["gross"]) for name, value in values.items()}
    return found


@pytest.mark.parametrize("seed", range(12))
def test_plain_loop(seed: int) -> None:
    bars, table = _draw(seed, 4 + seed % 4)
    rules = PortfolioRules(
        weights=("quantile", "rank")[seed % 2],
        quantile=0.3,
        sides=("neutral", "long")[seed // 2 % 2],
        sizing=("equal", "inverse_volatility")[seed // 6],
        volatility_over="5h",
        band=(0.0, 0.3, 0.7)[seed % 3],
        smoothing=(0.0, 0.4)[seed // 3 % 2],
        max_weight=(1.0, 0.3)[seed // 4 % 2],
        cost_bps=10,
        costs_bps={"B": 50},
    )
    ahead = (1, 4, 5, 9)[seed % 4]
    made = portfolio(table, bars, horizon=HOUR * ahead, rules=rules)
    slow = pd.DataFrame(_slowly(table, bars, ahead, rules))
    for name in slow:
        assert getattr(made, name).to_numpy() == pytest.approx(slow[name].to_numpy(), abs=1e-12)
    assert made.turnover.sum() > 1
    assert made.funding.any()


# --- what must not matter ---------------------------------------------------------------------


def _same(one: Portfolio, two: Portfolio, n: int | None = None) -> None:
    for name in ("gross", "costs", "funding", "turnover"):
        assert_series_equal(getattr(one, name).iloc[:n], getattr(two, name).iloc[:n], rtol=1e-12)


def _changed(frame: Any, since: pd.Timestamp) -> Any:
    """Bars with other values from a close time on."""
    factor = np.random.default_rng(1).uniform(0.5, 1.9, len(frame))
    factor[frame.index < since] = 1
    return check_bars(frame.mul(factor, axis=0), "changed", HOUR)


@pytest.mark.parametrize("weights", ["quantile", "rank"])
def test_order_and_names_of_symbols_do_not_matter(weights: str) -> None:
    bars, table = _draw(2, 6)
    rules = {"band": 0.3, "smoothing": 0.3, "weights": weights}
    made = portfolio(table, bars, horizon="3h", rules=rules)
    renamed = {name: f"Z{9 - i}" for i, name in enumerate(bars)}
    shuffled = table.replace({"symbol": renamed}).sample(frac=1, random_state=0)
    others = {renamed[name]: frame for name, frame in reversed(bars.items())}
    _same(made, portfolio(shuffled, others, horizon="3h", rules=rules))


def test_the_future_does_not_change_the_past() -> None:
    """Prices, funding and scores after an entry do not change what was traded until then."""
    bars, table = _draw(4, 6)
    rules = {"band": 0.3, "smoothing": 0.3}
    made = portfolio(table, bars, horizon="3h", rules=rules)
    when = made.returns.index[30]
    changed = {name: _changed(frame, when + 2 * HOUR) for name, frame in bars.items()}
    scores = table.assign(score=table["score"].where(table["time"] <= when, -table["score"]))
    other = portfolio(scores, changed, horizon="3h", rules=rules)
    _same(made, other, 30)
    pd.testing.assert_frame_equal(made.weights.iloc[:31], other.weights.iloc[:31])
    assert not np.allclose(made.gross.iloc[31:], other.gross.iloc[31:])


# --- choice on validation ---------------------------------------------------------------------


def _folds() -> tuple[Bars, Any]:
    bars, table = _draw(8, 6, 200)
    time = table["time"]
    blocks = ((0, "val", 0), (0, "test", 50), (1, "val", 50), (1, "test", 100))
    parts = [
        table[time.between(*hours(begin, begin + 49))].assign(fold=fold, split=split)
        for fold, split, begin in blocks
    ]
    return bars, pd.concat(parts, ignore_index=True).astype({"fold": "Int64"})


def test_choice_is_the_best_on_validation() -> None:
    bars, table = _folds()
    made = portfolio(
        table, bars, horizon="3h", rules={"bands": (0.0, 0.5), "smoothings": (0.0, 0.6)}
    )
    rows = table[(table["split"] == "val") & (table["fold"] == 0)]
    rows = rows[rows["time"] + HOUR * 3 < hours(50)[0]].assign(split="test")
    sharpes = {}
    for band, smoothing in product((0.0, 0.5), (0.0, 0.6)):
        rules = {"band": band, "smoothing": smoothing}
        net = portfolio(rows, bars, horizon="3h", rules=rules).returns
        sharpes[band, smoothing] = net.mean() / net.std()
    best = max(sharpes, key=lambda one: sharpes[one])
    assert made.choices[0] == (*best, pytest.approx(sharpes[best]))
    # the test is one portfolio, whose folds have their own band and smoothing
    first = {"band": best[0], "smoothing": best[1]}
    alone = portfolio(table[table["split"] == "test"], bars, horizon="3h", rules=first)
    _same(made, alone, int((made.returns.index < hours(99)[0]).sum()))


def test_what_follows_the_start_of_the_test_does_not_change_the_choice() -> None:
    bars, table = _folds()
    made = portfolio(table, bars, horizon="3h")
    changed = {name: _changed(frame, hours(50)[0]) for name, frame in bars.items()}
    other = portfolio(table, changed, horizon="3h")
    assert made.choices[0] == other.choices[0]
    assert made.choices[1] != other.choices[1]


def test_without_validation_nothing_is_chosen() -> None:
    bars, table = _draw(3, 5)
    made = portfolio(table, bars, horizon="3h")
    assert made.choices == {None: (0.0, 0.0, None)}
    _same(made, portfolio(table, bars, horizon="3h", rules=PLAIN))
    fixed = portfolio(table, bars, horizon="3h", rules={"band": 0.5})
    assert fixed.choices == {None: (0.5, 0.0, None)}


# --- capacity and errors ----------------------------------------------------------------------


def test_capacity() -> None:
    """Trades of 0.5 in bars worth 1,000, 2,000 and 4,000 are 1 % of 20, 40 and 80."""
    bars = {
        name: hourly([(100, 100)] * 3, volume=volume)
        for name, volume in {"A": 10.0, "B": 20.0, "C": 40.0}.items()
    }
    table = scored({"A": [3, 2], "B": [1, 1], "C": [2, 3]})
    made = portfolio(table, bars, horizon="1h", rules=PLAIN)
    shares = [0.5 / 1000, 0.5 / 2000, 0.5 / 1000, 0.5 / 4000]
    assert sorted(made.shares) == pytest.approx(sorted(shares))
    assert made.capacity() == pytest.approx(0.01 / (0.5 / 1000))
    assert made.capacity(0.3, share=0.05) == pytest.approx(0.05 / (0.5 / 2000))
    flat = portfolio(table.assign(score=1.0), bars, horizon="1h", rules=PLAIN)
    assert flat.capacity() is None
    assert not flat.turnover.any()


@pytest.mark.parametrize(
    ("change", "options", "fact"),
    [
        (lambda t: t[t["symbol"] == "A"], {}, "1 symbol"),
        (lambda t: t.drop(columns="score"), {}, "score"),
        (lambda t: t.replace({"symbol": {"C": "X"}}), {}, "X"),
        (lambda t: t.assign(time=t["time"] + HOUR / 2), {}, "2025-06-20T00:30"),
        (lambda t: t.assign(time=hours(2)[0], symbol=[*"ABCABC"]), {}, "0 test rows"),
        (lambda t: pd.concat([t, t]), {}, "12 rows"),
        (lambda t: t.assign(split="val"), {}, "0 test rows"),
        (None, {"horizon": "90min"}, "label.horizon"),
        (None, {"rules": {"costs_bps": {"X": 1}}}, "X"),
        (None, {"rules": {"quantile": 0.6}}, "portfolio.quantile"),
        (None, {"rules": {"smoothing": 1.0}}, "portfolio.smoothing"),
        (None, {"rules": {"sizing": "inverse_volatility", "volatility_over": "1h"}}, "volatility"),
    ],
)
def test_errors(three: Bars, change: Any, options: Any, fact: str) -> None:
    table = scored({"A": [3, 1], "B": [2, 3], "C": [1, 2]})
    with pytest.raises((PredictionsError, ConfigError), match=fact):
        portfolio(change(table) if change else table, three, **{"horizon": "1h", **options})
