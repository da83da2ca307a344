"""Training samples from synthetic bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.augmentation import Augmentation, Drawn, class_counts, mirrored, shuffled
from gafcnn.data.candlestick import Candlestick, patterns
from gafcnn.data.labels import Direction
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import tick_walk
from gafcnn.data.splits import Chronological
from gafcnn.errors import ConfigError

LOOKBACK = pd.Timedelta("6h")
LABEL = Candlestick()


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return tick_walk(6000, seed=3)


@pytest.fixture(scope="module")
def samples(bars: pd.DataFrame) -> Samples:
    return make_samples(
        bars, label=LABEL, split=Chronological(test=0.2, val=0.2), lookback=LOOKBACK
    )


def draw(samples: Samples, **options: Any) -> list[Drawn]:
    return list(Augmentation(**options).draw(samples))


def test_each_class_is_brought_up_to_per_class(samples: Samples) -> None:
    have = samples.counts("train")
    assert have[1:].min() < 60 < have[1:].max()
    more = class_counts(draw(samples, per_class=60, walks=2), len(have))
    assert (more[1:] == np.maximum(60 - have[1:], 0)).all()
    assert more[0] == more[1:].sum()


def test_drawn_labels_are_those_of_their_bars(samples: Samples) -> None:
    parts = draw(samples, per_class=500, shuffles=2, walks=1)
    assert len(parts) == 1 + 2 * 2 + 1  # mirrored, shuffled, shuffled and mirrored, a walk
    for part in parts:
        assert np.count_nonzero(part.label) == len(part.label) / 2 > 0
        assert (part.label == patterns(part.bars)[part.rows]).all()
        assert part.rows.min() >= LOOKBACK // pd.Timedelta("15min") - 1


def test_seed(samples: Samples) -> None:
    one, same, other = (draw(samples, per_class=100, seed=seed) for seed in (1, 1, 2))
    assert all((a.rows == b.rows).all() for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))


def test_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gafcnn.data.augmentation.BARS_PER_WALK", 500)
    interval = pd.Timedelta("5min")
    bars = tick_walk(2000, interval, seed=3)
    samples = make_samples(bars, label=LABEL, split=Chronological(0.2, 0.2), lookback="2h")
    found = [part.bars for part in draw(samples, shuffles=2, block=20, walks=2, seed=7)]
    train = bars.loc[: pd.Timestamp(samples.times[samples.labelled("train")[-1]], tz="UTC")]
    one, other = (shuffled(train, 20, seed=seed) for seed in (7, 8))
    expected = [mirrored(train), one, mirrored(one), other, mirrored(other)]
    expected += [tick_walk(500, interval, seed=seed) for seed in (7, 8)]
    assert len(found) == Augmentation(shuffles=2, walks=2).n_sources
    for ours, theirs in zip(found, expected, strict=True):
        assert_frame_equal(ours, theirs)


def test_the_next_source_makes_up_for_one_with_too_few_samples(samples: Samples) -> None:
    walk = draw(samples, mirror=True, shuffles=0, walks=1, per_class=120)
    mirrored_only = draw(samples, mirror=True, shuffles=0, walks=0, per_class=120)
    rare = 1  # morning_star: a handful in so few bars
    assert (mirrored_only[0].label == rare).sum() < 120 - samples.counts("train")[rare]
    assert class_counts(walk, 9)[rare] + samples.counts("train")[rare] == 120


def test_options_out_of_range() -> None:
    with pytest.raises(ConfigError, match="no source"):
        Augmentation(mirror=False, shuffles=0, walks=0)
    for option in ({"mirror": "perhaps"}, {"block": 1}, {"per_class": 0}, {"shuffles": -1}):
        with pytest.raises(ConfigError, match=rf"augmentation\.{next(iter(option))} is "):
            Augmentation(**option)  # pyright: ignore[reportArgumentType]


def test_a_label_that_looks_ahead_or_several_symbols(bars: pd.DataFrame, samples: Samples) -> None:
    for other in (
        make_samples(bars, label=Direction("1h")),
        make_samples({"A": bars, "B": bars}, label=LABEL),
    ):
        with pytest.raises(ConfigError, match="label=candlestick"):
            draw(other)
    assert next(Augmentation().draw(samples)).rows.size
