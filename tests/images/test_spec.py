"""ImageSpec: validation, plain data and encoding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gafcnn.errors import ConfigError
from gafcnn.images import ImageSpec, encode
from gafcnn.settings import as_plain, create


def test_channels_in_order() -> None:
    spec = ImageSpec(fields=("body", "gap"), kinds=("gadf", "markov"))
    first, second = (("body", "gadf"), ("body", "markov")), (("gap", "gadf"), ("gap", "markov"))
    assert spec.channels == first + second
    assert ImageSpec().channels == (("close", "gasf"), ("close", "gadf"))
    assert ImageSpec().outer_products
    assert not spec.outer_products


def test_encode() -> None:
    series = np.random.default_rng(0).normal(size=(4, 2, 12))
    spec = ImageSpec(10, "float32", ("body", "gap"), ("gadf",), (0, 1), "jointly")
    images = spec.encode(series)
    assert images.shape == (4, len(spec.channels), 10, 10)
    options: Any = {"kinds": ["gadf"], "range": [0, 1], "scaling": "jointly"}
    np.testing.assert_array_equal(images, encode(series, 10, "float32", **options))
    with pytest.raises(ConfigError, match=r"^images\.size is 0"):
        encode(series, 0)


def test_stored_pixels_are_scaled_back() -> None:
    series = np.random.default_rng(0).normal(size=(4, 1, 64))
    stored, shown = ImageSpec().encode(series), ImageSpec().shown(series)
    exact = replace(ImageSpec(), dtype="float32").encode(series)
    np.testing.assert_allclose(stored * ImageSpec().scale, exact, atol=0.51 / 127)
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(np.rint(shown * 127), stored)


def test_plain_data() -> None:
    options = {"size": 64, "dtype": "int8", "fields": ["close"], "kinds": ["gasf", "gadf"]}
    options |= {"range": [-1, 1], "scaling": "per_field"}
    assert as_plain(ImageSpec()) == options
    assert create(ImageSpec, "images", options) == ImageSpec()
    assert hash(create(ImageSpec, "images", options)) == hash(ImageSpec())


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"size": 0}, "images.size is 0"),
        ({"size": 64.5}, "images.size is 64.5"),
        ({"dtype": "float64"}, "images.dtype is 'float64'"),
        ({"dtype": None}, "images.dtype is None"),
        ({"fields": []}, "fields"),
        ({"fields": ["closs"]}, "did you mean close"),
        ({"kinds": ["gasf", "gasf"]}, "images.kinds is ['gasf', 'gasf']"),
        ({"kinds": []}, "images.kinds is []"),
        ({"kinds": ["markof"]}, "did you mean markov"),
        ({"kinds": "gasf"}, "images.kinds is 'gasf'"),
        ({"range": [0, 2]}, "images.range is [0, 2]"),
        ({"range": 1}, "images.range is 1"),
        ({"scaling": "robust"}, "images.scaling is 'robust'"),
        ({"sise": 3}, "did you mean size"),
    ],
)
def test_invalid_options(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ImageSpec(**options)
    assert fact in str(caught.value)
