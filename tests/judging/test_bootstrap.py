"""Intervals: equal to a bootstrap written out bar by bar, honest where bars hang together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    bins_of_figure,
    block_length,
    difference,
    estimate,
)
from gafcnn.evaluation.figures import (
    Auc,
    Drawdown,
    Figure,
    MeanRatio,
    Ratio,
    Sharpe,
    Sortino,
    value_of,
)

PERIODS = 1000.0


def some_figures(n: int, seed: int = 0) -> dict[str, Figure]:
    """Figures of every kind over n bars: few trades, few different scores."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, n) * (rng.random(n) < 0.4)
    trades = returns != 0
    score, up = rng.integers(0, 6, n) / 5, rng.random(n) < 0.5
    return {
        "win_rate": Ratio(returns > 0, trades),
        "bps": Ratio(returns, trades, 1e4),
        "profit_factor": Ratio(np.maximum(returns, 0), np.maximum(-returns, 0)),
        "sharpe": Sharpe(returns, PERIODS),
        "sortino": Sortino(returns, PERIODS),
        "drawdown": Drawdown(returns),
        "auc": Auc(score, up, np.ones(n, bool)),
        "auc_labelled": Auc(rng.random(n), up, rng.random(n) < 0.7),
        "auc_of_nothing": Auc(score, up, np.zeros(n, bool)),
    }


def bars_drawn(width: int, n: int, block: float, resamples: int, seed: int) -> list[np.ndarray]:
    """The bars of each timeline, by the indices of arch."""
    bars_of_bin = [np.arange(start, min(start + width, n)) for start in range(0, n, width)]
    draws = StationaryBootstrap(block, np.arange(len(bars_of_bin)), seed=seed)
    return [
        np.concatenate([bars_of_bin[one] for one in picks[0][0]])
        for picks in draws.bootstrap(resamples)
    ]


def of_bars(figure: Figure, bars: np.ndarray) -> float:
    """The figure of these bars by its definition, NaN where it has none."""
    match figure:
        case Ratio():
            bottom = figure.denominator[bars].sum()
            return figure.scale * figure.numerator[bars].sum() / bottom if bottom else np.nan
        case Auc():
            bars = bars[figure.counted[bars]]
            if len(set(figure.up[bars])) < 2:
                return np.nan
            return float(roc_auc_score(figure.up[bars], figure.score[bars]))
    returns = figure.returns[bars]
    if isinstance(figure, Drawdown):
        equity = np.concatenate([[1.0], np.cumprod(1 + returns)])
        return min(equity[i:].min() / equity[i] for i in range(len(equity))) - 1
    if isinstance(figure, Sharpe):
        deviation = returns.std(ddof=1) if np.ptp(returns) else 0
    else:
        deviation = np.sqrt((np.minimum(returns, 0) ** 2).mean())
    return returns.mean() / deviation * np.sqrt(PERIODS) if deviation else np.nan


@settings(max_examples=10, deadline=None)
@given(
    width=st.integers(1, 7), n=st.integers(8, 60), block=st.floats(1, 6), seed=st.integers(0, 99)
)
def test_every_figure_is_that_of_the_bars_drawn(
    width: int, n: int, block: float, seed: int
) -> None:
    figures = some_figures(n, seed)
    found = Bootstrap(width, n, block, 20, seed).distributions(figures)
    drawn = bars_drawn(width, n, block, 20, seed)
    for name, figure in figures.items():
        expected = [of_bars(figure, bars) for bars in drawn]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_batches_of_timelines_follow_each_other() -> None:
    figures, done = some_figures(50), []
    found = Bootstrap(4, 50, 2, 300, 3).distributions(figures, done.append)
    drawn = bars_drawn(4, 50, 2, 300, 3)
    for name in ("bps", "drawdown", "auc"):
        expected = [of_bars(figures[name], bars) for bars in drawn]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)
    assert sum(done) == 300
    assert len(done) > 1


def test_one_bin_drawn_again_is_the_data_itself() -> None:
    figures = some_figures(40)
    for name, values in Bootstrap(40, 40, 1, 5).distributions(figures).items():
        expected = value_of(figures[name])
        np.testing.assert_allclose(values, np.nan if expected is None else expected, rtol=1e-9)


def test_equity_that_is_lost_stays_lost() -> None:
    ruined = {"ruin": Drawdown(np.array([0.5, -1.0, 3.0, 0.0]))}
    values = Bootstrap(1, 4, 2, 50).distributions(ruined)["ruin"]
    drawn = bars_drawn(1, 4, 2, 50, 0)
    np.testing.assert_array_equal(values == -1, [1 in bars for bars in drawn])


def test_a_seed_gives_the_same_timelines_to_whatever_is_asked() -> None:
    figures = some_figures(60)
    whole = Bootstrap(5, 60, 2, 40, seed=7).distributions(figures)
    again = Bootstrap(5, 60, 2, 40, seed=7)
    for name, figure in figures.items():
        alone = again.distributions({name: figure})[name]
        np.testing.assert_allclose(alone, whole[name], rtol=1e-12)
    other = Bootstrap(5, 60, 2, 40, seed=8).distributions(figures)
    assert not np.array_equal(other["bps"], whole["bps"])


# --- intervals -------------------------------------------------------------------------------


def ends(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def autoregressive(n: int, seed: int, memory: float = 0.5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, n)
    for bar in range(1, n):
        noise[bar] += memory * noise[bar - 1]
    return noise


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 60 series that remember, 95 % intervals of the mean should hold 0 some 57 times.

    Taken bar by bar as if they were independent, they hold it far less often.
    """
    holds = {"blocks": 0, "bars": 0}
    for seed in range(60):
        mean = Ratio(autoregressive(400, seed), np.ones(400))
        for kind in holds:
            block = block_length([mean.numerator], 1) if kind == "blocks" else 1.0
            drawn = Bootstrap(1, 400, block, 200, seed).distributions({0: mean})[0]
            low, high = ends(estimate(mean, drawn, 400))
            holds[kind] += low <= 0 <= high
    assert holds["blocks"] >= 0.85 * 60
    assert holds["bars"] <= 0.8 * 60


def test_an_interval_is_made_of_percentiles() -> None:
    mean = Ratio(np.array([1.0, 3.0]), np.ones(2))
    distribution = np.arange(101.0)
    assert ends(estimate(mean, distribution, 2)) == pytest.approx((2.5, 97.5))
    assert ends(estimate(mean, distribution, 2, level=0.8)) == pytest.approx((10, 90))


def test_an_interval_needs_a_value_and_half_of_the_timelines() -> None:
    mean, undefined = Ratio(np.ones(2), np.ones(2)), Ratio(np.ones(2), np.zeros(2))
    half = np.array([1.0, np.nan])
    assert estimate(mean, half, 2) == Estimate(1.0, 1.0, 1.0, 2)
    assert estimate(mean, np.append(half, np.nan), 2) == Estimate(1.0, None, None, 2)
    assert estimate(undefined, np.ones(9), 0) == Estimate(None, None, None, 0)


def test_without_timelines_there_are_values_and_no_intervals() -> None:
    figures = some_figures(30)
    distributions = Bootstrap(5, 30, 1, resamples=0).distributions(figures)
    for name, figure in figures.items():
        assert distributions[name].shape == (0,)
        assert estimate(figure, distributions[name], 3) == Estimate(value_of(figure), None, None, 3)


def test_an_estimate_is_strict_json() -> None:
    plain = Estimate(0.5, None, None, 3).as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "value": 0.5,
        "low": None,
        "high": None,
        "n": 3,
    }


# --- differences -----------------------------------------------------------------------------


def test_a_model_differs_from_itself_by_nothing() -> None:
    # made twice, and among others: a mean of one window is that window under another name
    one = some_figures(500)
    rng = np.random.default_rng(1)
    others = {k: Ratio(rng.random(500), rng.random(500)) for k in range(7)}
    twin = {f"{name} again": figure for name, figure in some_figures(500).items()}
    drawn = Bootstrap(5, 500, 3, 300).distributions({**one, **others, **twin})
    for name in one.keys() - {"auc_of_nothing"}:
        again = f"{name} again"
        found = difference(one[name], twin[again], drawn[name], drawn[again], 500)
        assert found == Estimate(0.0, 0.0, 0.0, 500), name


def test_a_difference_is_paired() -> None:
    """Two models that share their luck differ by less than the interval of either."""
    rng = np.random.default_rng(5)
    luck, n = rng.normal(0, 1, 1000), np.ones(1000)
    a, b = Ratio(luck + 0.02, n), Ratio(luck + rng.normal(0, 0.05, 1000), n)
    drawn = Bootstrap(1, 1000, 1, 500).distributions({"a": a, "b": b})
    low, high = ends(estimate(a, drawn["a"], 1000))
    low_apart, high_apart = ends(difference(a, b, drawn["a"], drawn["b"], 1000))
    assert low < 0 < low_apart
    assert high_apart - low_apart < 0.1 * (high - low)


def test_a_difference_with_what_is_undefined_is_undefined() -> None:
    mean, undefined = Ratio(np.ones(2), np.ones(2)), Ratio(np.ones(2), np.zeros(2))
    nothing = np.full(3, np.nan)
    assert difference(mean, undefined, np.ones(3), nothing, 2) == Estimate(None, None, None, 2)


# --- blocks ----------------------------------------------------------------------------------


def test_what_overlaps_needs_longer_blocks() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 3015)
    overlapping = np.convolve(noise, np.ones(15), "valid")
    assert block_length([noise], 1) < 3
    assert block_length([overlapping], 1) > 15
    # bins as long as the overlap leave little of it
    assert block_length([overlapping], 15) < 5


def test_the_most_dependent_series_decides() -> None:
    calm, memory = autoregressive(2000, 0, 0.0), autoregressive(2000, 1, 0.9)
    assert block_length([calm, memory], 1) == block_length([memory], 1) > block_length([calm], 1)


@pytest.mark.parametrize("n", [1, 5, 11, 12, 40])
def test_a_block_is_at_least_a_bin_and_at_most_a_quarter_of_them(n: int) -> None:
    trend = np.arange(float(n))
    assert 1 <= block_length([trend], 1) <= max(1, n / 4)


def test_series_that_tell_nothing_are_passed_over() -> None:
    one_trade = np.zeros(100)
    one_trade[:2] = 1, -1
    assert block_length([np.zeros(100), one_trade], 1) >= 1
    assert block_length([np.zeros(100), np.full(100, 0.1)], 3) == 1
    assert block_length([], 1) == 1


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"bin": 0}, "bin is 0; expected 1 or more bars"),
        ({"n": 0}, "n is 0; expected 1 or more bars"),
        ({"block": 0.5}, "block is 0.5; expected 1 or more bins"),
        ({"block": np.nan}, "block is nan; expected 1 or more bins"),
        ({"resamples": -1}, "resamples is -1; expected 0 or more timelines"),
    ],
)
def test_numbers_that_make_no_bootstrap_are_refused(given: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=f"^the bootstrap's {found}"):
        Bootstrap(**{"bin": 1, "n": 10, "block": 1.0, **given})


def test_a_figure_of_another_timeline_is_refused() -> None:
    with pytest.raises(PredictionsError, match="^a Drawdown is of 9 bars; expected the 10 bars"):
        Bootstrap(1, 10, 1).distributions({"drawdown": Drawdown(np.zeros(9))})


def test_a_figure_rests_on_the_bins_that_hold_something_of_it() -> None:
    bars = np.zeros(100)
    bars[[3, 7, 55]] = 1.0  # of ten bars a bin: two of the first and one of the sixth
    nowhere = np.zeros(100)
    assert bins_of_figure(Ratio(nowhere, bars), 10) == 2
    assert bins_of_figure(Sharpe(-bars, 365.0), 10) == 2
    assert bins_of_figure(Auc(nowhere, nowhere > 0, bars > 0), 10) == 2
    assert bins_of_figure(Ratio(bars, nowhere), 10) == 0
    assert bins_of_figure(MeanRatio([bars, bars], [bars, nowhere]), 10) == 2


def test_what_rests_on_a_handful_of_bins_is_trusted_to_have_no_distribution() -> None:
    some, many = np.zeros(100), np.ones(100)
    some[:9] = 1.0
    figures = {"some": Ratio(some, some), "many": Ratio(some, many)}
    trusted = Bootstrap(1, 100, 1, resamples=50).trusted(figures)
    assert np.isnan(trusted["some"]).all()
    assert np.isfinite(trusted["many"]).all()
