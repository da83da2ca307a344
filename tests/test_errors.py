"""Errors: one sentence, a tree, and pickles."""

from __future__ import annotations

import pickle

from gafcnn import errors


def test_message() -> None:
    error = errors.BarsError.at(
        "bars.csv", "line 17", "close is NaN", expected="a price", instead="drop the row"
    )
    assert str(error) == "bars.csv, line 17: close is NaN; expected a price; drop the row."


def test_tree() -> None:
    assert issubclass(errors.DownloadError, errors.BarsError)
    assert issubclass(errors.StoreError, errors.ImagesError)
    assert issubclass(errors.LeakError, errors.SamplesError)
    kinds = [one for name, one in vars(errors).items() if name.endswith("Error")]
    assert all(issubclass(kind, errors.GafcnnError) for kind in kinds)


def test_pickle() -> None:
    error = errors.DownloadError("no answer", expected="bars", instead="try market=simulated")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.DownloadError
    assert (str(copy), copy.instead) == (str(error), "try market=simulated")
