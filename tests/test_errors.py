"""Errors: one sentence, a tree, and pickles."""

from __future__ import annotations

import pickle

import pytest

from gafcnn import errors
from gafcnn.errors import BarsError, DownloadError, GafcnnError, LeakError, StoreError


def test_message() -> None:
    error = BarsError.at(
        "bars.csv", "line 17", "close is NaN", expected="a price", instead="drop the row"
    )
    assert str(error) == "bars.csv, line 17: close is NaN; expected a price; drop the row."


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (DownloadError, BarsError),
        (StoreError, errors.ImagesError),
        (LeakError, errors.SamplesError),
    ],
)
def test_tree(error: type[GafcnnError], parent: type[GafcnnError]) -> None:
    for caught in (error, parent, GafcnnError):
        with pytest.raises(caught):
            raise error("this", expected="that", instead="do so")


def test_pickle() -> None:
    error = DownloadError("no answer", expected="bars", instead="try market=simulated")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is DownloadError
    assert (str(copy), copy.instead) == (str(error), "try market=simulated")
