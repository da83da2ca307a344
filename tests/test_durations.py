from __future__ import annotations

import pandas as pd
import pytest

from gafcnn.durations import format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError


@pytest.mark.parametrize("text", ["15min", "90min", "64h", "1D", "30s", "250ms", "0D"])
def test_a_length_of_time_is_spelled_as_it_was_given(text: str) -> None:
    assert format_duration(parse_duration("label.horizon", text)) == text


@pytest.mark.parametrize("value", [15, "15", "soon", "-1min", None])
def test_a_length_of_time_needs_its_unit(value: object) -> None:
    with pytest.raises(ConfigError, match=r"label.horizon is .*write label.horizon=15min"):
        parse_duration("label.horizon", value)  # pyright: ignore[reportArgumentType]


def test_what_does_not_fit_names_what_would() -> None:
    minute = pd.Timedelta("1min")
    assert multiple_of("window.span", pd.Timedelta("1h"), minute) == 60
    with pytest.raises(ConfigError, match="set window.span to 1min or 2min"):
        multiple_of("window.span", pd.Timedelta("90s"), minute)
