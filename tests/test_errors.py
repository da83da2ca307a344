from __future__ import annotations

import pickle

import pytest

from gafcnn import errors
from gafcnn.errors import BarsError, DownloadError, GafcnnError, LeakError, StoreError


def test_a_message_is_one_sentence_of_three_parts() -> None:
    error = BarsError.at(
        "bars.csv", "line 17", "close is NaN", expected="a price", instead="drop the row"
    )
    assert str(error) == "bars.csv, line 17: close is NaN; expected a price; drop the row."


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [
        (DownloadError, BarsError),
        (StoreError, errors.ImagesError),
        (LeakError, errors.SamplesError),
    ],
)
def test_the_tree_can_be_caught_at_every_height(
    error: type[GafcnnError], caught_as: type[GafcnnError]
) -> None:
    for height in (error, caught_as, GafcnnError):
        with pytest.raises(height):
            raise error("this", expected="that", instead="do so")


def test_an_error_comes_home_from_a_worker_process_as_it_was() -> None:
    error = DownloadError("no answer", expected="bars", instead="try market=simulated")
    home = pickle.loads(pickle.dumps(error))
    assert type(home) is DownloadError
    assert (str(home), home.instead) == (str(error), "try market=simulated")
