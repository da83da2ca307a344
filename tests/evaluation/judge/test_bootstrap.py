"""Intervals: equal to a bootstrap written out bar by bar, and honest for dependent bars."""

from __future__ import annotations

from collections.abc import Callable

import empyrical
import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from gafcnn.evaluation.bootstrap import Bootstrap, Sampled, block_length, exact
from gafcnn.evaluation.figures import Figure, auc, drawdown, mean_ratio, ratio, sharpe, sortino
from gafcnn.evaluation.statistics import Row, estimate, max_drawdown

PERIODS = 1000.0

ByHand = Callable[[np.ndarray], float]


def figures_by_hand(n: int, seed: int = 0) -> dict[str, tuple[Figure, ByHand]]:
    """Figures of every kind over n bars, with few trades and few distinct scores.

    Each is given with its definition: a function of the bars of a timeline, NaN if undefined.
    """
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, n) * (rng.random(n) < 0.4)
    trades, labelled = returns != 0, np.flatnonzero(rng.random(n) < 0.7)
    score, up, every = rng.integers(0, 6, n) / 5, rng.random(n) < 0.5, np.arange(n)
    twice = np.concatenate([every, labelled])  # rows of two symbols

    def a_ratio(top: np.ndarray, bottom: np.ndarray) -> tuple[Figure, ByHand]:
        def by_hand(bars: np.ndarray) -> float:
            whole = bottom[bars].sum()
            return top[bars].sum() / whole if whole else np.nan

        return ratio(top, bottom), by_hand

    def an_area(p: np.ndarray, went: np.ndarray, places: np.ndarray) -> tuple[Figure, ByHand]:
        def by_hand(bars: np.ndarray) -> float:
            rows = np.concatenate([np.flatnonzero(places == bar) for bar in bars])
            both = len(set(went[rows])) == 2
            return float(roc_auc_score(went[rows], p[rows])) if both else np.nan

        return auc(p, went, places, n), by_hand

    def annual(bars: np.ndarray, below: float) -> float:
        return returns[bars].mean() / below * np.sqrt(PERIODS) if below else np.nan

    def sharpe_by_hand(bars: np.ndarray) -> float:
        return annual(bars, returns[bars].std(ddof=1) if np.ptp(returns[bars]) else 0.0)

    def sortino_by_hand(bars: np.ndarray) -> float:
        return annual(bars, np.sqrt((np.minimum(returns[bars], 0) ** 2).mean()))

    return {
        "win_rate": a_ratio(returns > 0, trades),
        "bps": a_ratio(1e4 * returns, trades),
        "profit_factor": a_ratio(np.maximum(returns, 0), np.maximum(-returns, 0)),
        "sharpe": (sharpe(returns, PERIODS), sharpe_by_hand),
        "sortino": (sortino(returns, PERIODS), sortino_by_hand),
        "drawdown": (drawdown(returns), lambda bars: max_drawdown(returns[bars])),
        "auc": an_area(score, up, every),
        "auc_labelled": an_area(rng.random(len(labelled)), up[labelled], labelled),
        "auc_of_two": an_area(rng.random(len(twice)), rng.random(len(twice)) < 0.5, twice),
        "auc_of_nothing": an_area(score[:0], up[:0], every[:0]),
    }


def some_figures(n: int, seed: int = 0) -> dict[str, Figure]:
    return {name: figure for name, (figure, _) in figures_by_hand(n, seed).items()}


def bars_drawn(width: int, n: int, block: float, resamples: int, seed: int) -> list[np.ndarray]:
    """The bars of each timeline, by the indices of arch."""
    bars_of_bin = [np.arange(start, min(start + width, n)) for start in range(0, n, width)]
    draws = StationaryBootstrap(block, np.arange(len(bars_of_bin)), seed=seed)
    return [
        np.concatenate([bars_of_bin[one] for one in picks[0][0]])
        for picks in draws.bootstrap(resamples)
    ]


@settings(max_examples=8, deadline=None)
@given(
    width=st.integers(1, 7), n=st.integers(8, 60), block=st.floats(1, 6), seed=st.integers(0, 99)
)
def test_every_figure_is_that_of_the_bars_drawn(
    width: int, n: int, block: float, seed: int
) -> None:
    found = Bootstrap(width, n, block, 20, seed).distributions(some_figures(n, seed))
    drawn = bars_drawn(width, n, block, 20, seed)
    for name, (_, by_hand) in figures_by_hand(n, seed).items():
        expected = [by_hand(bars) for bars in drawn]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_batches_of_timelines_continue_each_other() -> None:
    found = Bootstrap(4, 50, 2, 300, 3).distributions(some_figures(50))
    drawn = bars_drawn(4, 50, 2, 300, 3)
    for name in ("bps", "drawdown", "auc"):
        _, by_hand = figures_by_hand(50)[name]
        expected = [by_hand(bars) for bars in drawn]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)


def test_a_seed_gives_the_same_timelines_to_all_figures() -> None:
    figures = some_figures(60)
    whole = Bootstrap(5, 60, 2, 40, seed=7).distributions(figures)
    again = Bootstrap(5, 60, 2, 40, seed=7)
    for name, figure in figures.items():
        alone = again.distributions({name: figure})[name]
        np.testing.assert_allclose(alone, whole[name], rtol=1e-12)
    other = Bootstrap(5, 60, 2, 40, seed=8).distributions(figures)
    assert not np.array_equal(other["bps"], whole["bps"])


# --- intervals -------------------------------------------------------------------------------


def ends(found: Row) -> tuple[float, float]:
    return found["low"], found["high"]


def autoregressive(n: int, seed: int, memory: float = 0.5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, n)
    for bar in range(1, n):
        noise[bar] += memory * noise[bar - 1]
    return noise


def test_coverage_of_intervals_is_about_nominal() -> None:
    """Of 60 autocorrelated series, 95 % intervals of the mean should contain 0 some 57 times.

    Intervals that assume independent bars contain it far less often.
    """
    holds = {"blocks": 0, "bars": 0}
    for seed in range(60):
        series = autoregressive(400, seed)
        mean = ratio(series, np.ones(400))
        for kind in holds:
            block = block_length([series], 1) if kind == "blocks" else 1.0
            drawn = Bootstrap(1, 400, block, 200, seed).distributions({0: mean})[0]
            low, high = ends(Sampled(mean.value, 400, drawn).estimate())
            holds[kind] += low <= 0 <= high
    assert holds["blocks"] >= 0.85 * 60
    assert holds["bars"] <= 0.8 * 60


def test_an_interval_needs_a_value_and_half_of_the_timelines() -> None:
    half = np.array([1.0, np.nan])
    assert Sampled(1.0, 2, half).estimate() == estimate(1.0, 2, 1.0, 1.0)
    assert Sampled(1.0, 2, np.append(half, np.nan)).estimate() == estimate(1.0, 2)
    assert Sampled(None, 0, np.ones(9)).estimate() == estimate(None, 0)


# --- differences -----------------------------------------------------------------------------


def test_a_model_does_not_differ_from_itself() -> None:
    # the mean of one window is that window under another name
    one = some_figures(500)
    rng = np.random.default_rng(1)
    others = {k: ratio(rng.random(500), rng.random(500)) for k in range(7)}
    twin = {f"{name} again": figure for name, figure in some_figures(500).items()}
    counted = {name: (figure, 500) for name, figure in {**one, **others, **twin}.items()}
    sampled = Bootstrap(5, 500, 3, 300).sample(counted)
    for name in one.keys() - {"auc_of_nothing"}:
        found = (sampled[name] - sampled[f"{name} again"]).estimate()
        assert found == estimate(0.0, 500, 0.0, 0.0), name


# --- blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 11, 12, 40])
def test_a_block_is_at_least_a_bin_and_at_most_a_quarter_of_them(n: int) -> None:
    trend = np.arange(float(n))
    assert 1 <= block_length([trend], 1) <= max(1, n / 4)


def test_figures_that_rest_on_few_bins_have_no_distribution() -> None:
    some, many = np.zeros(100), np.ones(100)
    some[:9] = 1.0
    figures = {"some": (ratio(some, some), 9), "many": (ratio(some, many), 100)}
    sampled = Bootstrap(1, 100, 1, resamples=100).sample(figures)
    assert np.isnan(sampled["some"].drawn).all()
    assert np.isfinite(sampled["many"].drawn).all()


def test_a_share_of_equal_rows_has_an_exact_interval() -> None:
    """Three hits of three leave 0.025 ** (1 / 3) possible."""
    found = exact(estimate(1.0, 3, 1.0, 1.0))
    assert ends(found) == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert exact(estimate(None, 0)) == estimate(None, 0)


MINUTES = 365 * 24 * 60.0
NOTHING = np.zeros(3)
EVERY = np.ones(3, bool)
PLACES = np.arange(3)


def test_a_mean_of_ratios_leaves_out_classes_that_do_not_occur() -> None:
    hits = [np.array([1, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    rows = [np.array([1, 1, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    assert mean_ratio(hits, rows).value == pytest.approx((2 / 3 + 1) / 2)
    assert mean_ratio(hits[1:2], rows[1:2]).value is None


def test_a_drawdown_begins_at_the_equity_before_the_first_bar() -> None:
    assert drawdown(np.array([-0.5, 1.0, 0.0])).value == pytest.approx(-0.5)
    assert drawdown(np.array([1.0, -0.5, -0.5, 0.1])).value == pytest.approx(-0.75)
    assert drawdown(np.array([0.1, 0.0])).value == 0.0


@given(arrays(np.float64, st.integers(3, 60), elements=st.integers(-50, 50).map(lambda x: x / 1e3)))
def test_agreement_with_empyrical(returns: np.ndarray) -> None:
    assert drawdown(returns).value == pytest.approx(empyrical.max_drawdown(returns), abs=1e-12)
    if np.ptp(returns):
        peer = empyrical.sharpe_ratio(returns, annualization=MINUTES)
        assert sharpe(returns, MINUTES).value == pytest.approx(peer, rel=1e-9, abs=1e-9)
    if (returns < 0).any():
        peer = empyrical.sortino_ratio(returns, annualization=MINUTES)
        assert sortino(returns, MINUTES).value == pytest.approx(peer, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "figure",
    [
        ratio(np.ones(3), NOTHING),
        sharpe(NOTHING, 1.0),
        sharpe(np.full(3, 0.1), 1.0),
        sortino(np.array([0.1, 0.2, 0.0]), 1.0),
        auc(np.ones(3), EVERY, PLACES, 3),
        auc(np.ones(0), EVERY[:0], PLACES[:0], 3),
    ],
)
def test_what_is_undefined_is_none(figure: Figure) -> None:
    assert figure.value is None


@pytest.mark.parametrize(
    ("figure", "bars"),
    [
        (ratio(np.ones(4), np.array([0, 1, 0, 2])), [1, 3]),
        (mean_ratio([np.ones(4)] * 2, [np.array([0, 1, 0, 0]), np.array([0, 0, 0, 1])]), [1, 3]),
        (sharpe(np.array([0, -1.0, 0, 0]), 1.0), [1]),
        (auc(np.ones(3), EVERY, np.array([0, 2, 2]), 4), [0, 2]),
    ],
)
def test_a_figure_rests_on_the_bars_that_it_is_computed_from(
    figure: Figure, bars: list[int]
) -> None:
    assert np.flatnonzero(figure.rests).tolist() == bars
