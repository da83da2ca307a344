"""Training rows from bars that never were: labelled as any, and drawn where they lack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.augmentation import Augmentation, Drawn, class_counts
from gafcnn.data.candlestick import Candlestick, patterns
from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.splits import Chronological
from gafcnn.data.synthetic import mirrored, shuffled, tick_walk
from gafcnn.errors import ConfigError

LOOKBACK = pd.Timedelta("6h")
LABEL = Candlestick()


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return tick_walk(6000, seed=3)


@pytest.fixture(scope="module")
def samples(bars: pd.DataFrame) -> LabelledSamples:
    return LabelledSamples.make(bars, LOOKBACK, LABEL, Chronological(test=0.2, val=0.2))


def drawn(bars: pd.DataFrame, samples: LabelledSamples, **options: object) -> list[Drawn]:
    return list(Augmentation(**options).draw(bars, samples, LOOKBACK, LABEL))


def test_each_class_is_brought_up_to_what_is_asked_for_and_no_further(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    there = samples.counts("train")
    asked = 60
    more = class_counts(drawn(bars, samples, per_class=asked, walks=2), len(there))
    assert there[1:].min() < asked < there[1:].max()
    assert (more[1:] == np.maximum(asked - there[1:], 0)).all()
    # as many of class 0 as of all others together
    assert more[0] == more[1:].sum()


def test_no_more_of_none_are_drawn_than_of_patterns_however_many_are_asked_for(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    asked = 2 * int(samples.counts("train")[0])
    for part in drawn(bars, samples, per_class=asked, shuffles=1, walks=0):
        more = class_counts([part], 9)
        assert more[0] == more[1:].sum()
        assert (np.diff(part.rows) > 0).all()


def test_what_is_drawn_is_what_its_bars_say_with_all_the_bars_it_needs(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    parts = drawn(bars, samples, per_class=500, shuffles=2, walks=1)
    assert len(parts) == 1 + 2 * 2 + 1  # mirrored, shuffled, shuffled and mirrored, a walk
    for part in parts:
        assert len(part.label)
        assert (part.label == patterns(part.bars)[part.rows]).all()
        assert part.rows.min() >= LOOKBACK // pd.Timedelta("15min") - 1


def test_no_bar_after_the_training_is_looked_at(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    end = int(samples.split.train[-1]) + LOOKBACK // pd.Timedelta("15min")
    later = bars.copy()
    later.attrs = bars.attrs
    later.iloc[end:, :4] *= 3
    options = {"per_class": 300, "shuffles": 2, "walks": 1}
    ours, others = (drawn(these, samples, **options) for these in (bars, later))
    for one, other in zip(ours, others, strict=True):
        pd.testing.assert_frame_equal(one.bars, other.bars)
        assert (one.rows == other.rows).all()


def test_the_same_seed_draws_the_same_and_another_seed_other_samples(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    one, same, other = (drawn(bars, samples, per_class=100, seed=seed) for seed in (1, 1, 2))
    assert all((a.rows == b.rows).all() for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))


def test_each_source_is_made_by_its_options_and_by_a_seed_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gafcnn.data.augmentation.BARS_A_WALK", 500)
    interval = pd.Timedelta("5min")
    bars = tick_walk(2000, interval, seed=3)
    samples = LabelledSamples.make(bars, pd.Timedelta("2h"), LABEL, Chronological(0.2, 0.2))
    options = {"mirror": True, "shuffles": 2, "block": 20, "walks": 2, "seed": 7}
    found = [
        part.bars for part in Augmentation(**options).draw(bars, samples, pd.Timedelta("2h"), LABEL)
    ]
    train = bars.loc[: pd.Timestamp(samples.times[samples.labelled("train")[-1]], tz="UTC")]
    train.attrs = bars.attrs
    one, other = (shuffled(train, 20, seed=seed) for seed in (7, 8))
    expected = [mirrored(train), one, mirrored(one), other, mirrored(other)]
    expected += [tick_walk(500, interval, seed=seed) for seed in (7, 8)]
    for ours, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_a_source_that_has_too_few_leaves_the_rest_to_the_next(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    walk = drawn(bars, samples, mirror=True, shuffles=0, walks=1, per_class=120)
    mirrored_only = drawn(bars, samples, mirror=True, shuffles=0, walks=0, per_class=120)
    rare = 1  # morning_star: a handful in so few bars
    assert (mirrored_only[0].label == rare).sum() < 120 - samples.counts("train")[rare]
    assert class_counts(walk, 9)[rare] + samples.counts("train")[rare] == 120


@pytest.mark.parametrize(
    "options",
    [
        {"per_class": 1},
        {"block": 2},
        {"mirror": False, "shuffles": 1, "walks": 0},
        {"mirror": False, "shuffles": 0, "walks": 1},
        {"shuffles": 0, "walks": 0},
    ],
)
def test_the_least_of_each_option_and_any_one_source_will_do(options: dict[str, int]) -> None:
    assert len(Augmentation(**options)) >= 1


def test_without_a_source_or_with_a_label_that_looks_ahead_it_refuses(
    bars: pd.DataFrame, samples: LabelledSamples
) -> None:
    with pytest.raises(ConfigError, match="augmentation has no source"):
        Augmentation(mirror=False, shuffles=0, walks=0)
    with pytest.raises(ConfigError, match="^augmentation.mirror is 1; expected true or false; "):
        Augmentation(mirror=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="^augmentation.block is 1; expected a whole num"):
        Augmentation(block=1)
    with pytest.raises(ConfigError, match="augmentation.per_class is 0"):
        Augmentation(per_class=0)
    with pytest.raises(ConfigError, match="a label that looks ahead"):
        list(Augmentation().draw(bars, samples, LOOKBACK, Direction("1h")))
