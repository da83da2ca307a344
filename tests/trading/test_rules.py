from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gafcnn.errors import ConfigError
from gafcnn.evaluation.trading_rules import Rules


def test_the_defaults_are_those_of_a_spot_taker_who_lets_validation_choose() -> None:
    rules = Rules()
    assert rules.cost_bps == 10.0
    assert rules.threshold is None
    assert rules.take_profit_bps is rules.stop_loss_bps is None
    assert (rules.overlapping, rules.sides) == (False, "both")


def test_a_list_of_a_configuration_becomes_part_of_the_value() -> None:
    coverages = [1, 0.5]
    rules = Rules(coverages=coverages)
    coverages.append(2)
    assert rules.coverages == (1, 0.5)
    assert hash(rules) == hash(Rules(coverages=(1, 0.5)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cost_bps", 0),
        ("cost_bps", np.float64(7.5)),
        ("threshold", 0),
        ("threshold", 0.5),
        ("coverages", [1]),
        ("least_trades", 1),
        ("take_profit_bps", 1),
        ("take_profit_bps", 0.5),
        ("stop_loss_bps", 50.0),
        ("overlapping", True),
        ("sides", "short"),
    ],
)
def test_what_makes_sense_is_taken(key: str, value: Any) -> None:
    assert getattr(replace(Rules(), **{key: value}), key) in (value, (1,))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cost_bps", -1),
        ("cost_bps", None),
        ("cost_bps", True),
        ("cost_bps", float("nan")),
        ("cost_bps", float("inf")),
        ("cost_bps", "10"),
        ("threshold", -0.1),
        ("threshold", 0.51),
        ("threshold", False),
        ("coverages", []),
        ("coverages", "1.0"),
        ("coverages", 0.5),
        ("coverages", [0.5, 0]),
        ("coverages", [1.01]),
        ("coverages", [None]),
        ("least_trades", 0),
        ("least_trades", 2.5),
        ("least_trades", True),
        ("take_profit_bps", 0),
        ("take_profit_bps", -5.0),
        ("stop_loss_bps", 0.0),
        ("stop_loss_bps", float("inf")),
        ("overlapping", 1),
        ("overlapping", None),
        ("sides", "up"),
        ("sides", None),
        ("sides", ["long"]),
    ],
)
def test_what_makes_none_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        Rules(**{key: value})
    wrong = value[-1] if key == "coverages" and isinstance(value, list) and value else value
    assert str(error.value).startswith(f"trading.{key} is {wrong}; expected ")
    assert f"write trading.{key}=" in str(error.value)
