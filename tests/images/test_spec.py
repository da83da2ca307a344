"""An image's making as a value."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gafcnn.errors import GafcnnError
from gafcnn.images.encoding import encode
from gafcnn.images.spec import ImageSpec


def test_it_knows_its_channels_in_their_order() -> None:
    spec = ImageSpec(fields=["body", "gap"], kinds=["gadf", "markov"])
    assert spec.channels == (
        ("body", "gadf"),
        ("body", "markov"),
        ("gap", "gadf"),
        ("gap", "markov"),
    )
    assert ImageSpec().channels == (("close", "gasf"), ("close", "gadf"))


def test_it_encodes_as_encode_does() -> None:
    series = np.random.default_rng(0).normal(size=(4, 2, 12))
    how: dict[str, Any] = {"kinds": ["gadf"], "range": [0, 1], "scaling": "jointly"}
    spec = ImageSpec(10, "float32", ["body", "gap"], **how)
    images = spec.encode(series)
    assert images.shape == (4, len(spec.channels), 10, 10)
    np.testing.assert_array_equal(images, encode(series, 10, "float32", **how))


def test_stored_pixels_are_scaled_back() -> None:
    series = np.random.default_rng(0).normal(size=(4, 1, 64))
    stored = ImageSpec()
    exact = replace(stored, dtype="float32").encode(series)
    np.testing.assert_allclose(stored.encode(series) * stored.scale, exact, atol=0.51 / 127)


def test_it_is_a_value_however_it_was_written() -> None:
    written = ImageSpec(np.int64(64), "int8", ["close"], ["gasf", "gadf"], [-1.0, 1.0])
    assert written == ImageSpec()
    assert hash(written) == hash(ImageSpec())
    assert written.options == {
        "size": 64,
        "dtype": "int8",
        "fields": ["close"],
        "kinds": ["gasf", "gadf"],
        "range": [-1, 1],
        "scaling": "per_field",
    }
    assert ImageSpec(**written.options) == written


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"size": 0}, "the image size is 0"),
        ({"dtype": "float64"}, "the image dtype is 'float64'"),
        ({"dtype": None}, "the image dtype is None"),
        ({"fields": []}, "the fields are []"),
        ({"fields": ["closs"]}, "the field 'closs' is unknown"),
        ({"kinds": ["gasf", "gasf"]}, "the image kind 'gasf' stands twice"),
        ({"range": [0, 2]}, "the image range is [0, 2]"),
        ({"scaling": "robust"}, "the image scaling is 'robust'"),
    ],
)
def test_what_makes_no_image_is_refused_at_once(options: dict[str, Any], found: str) -> None:
    with pytest.raises(GafcnnError, match=f"^{re.escape(found)}; expected "):
        ImageSpec(**options)
