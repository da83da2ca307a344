"""Two processes with parts of a batch learn from it what one learns from the whole."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins import TorchSyncBatchNorm

from gafcnn.models.batch_norm import shared_batch_norm

SHARER = Path(__file__).with_name("sharer.py")


@pytest.mark.slow
def test_batch_norm_is_over_the_whole_batch_whoever_has_its_parts(tmp_path: Path) -> None:
    line = [sys.executable, str(SHARER)]
    where = [str(tmp_path / "meeting"), str(tmp_path)]
    sharers = [subprocess.Popen([*line, str(rank), *where]) for rank in (0, 1)]
    assert [sharer.wait(timeout=120) for sharer in sharers] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    given = runpy.run_path(str(SHARER))
    assert set(first) == set(given["NETWORKS"])
    for name, one in first.items():
        other, network = second[name], given["new"](name)
        whole = given["learned"](network, given["images"](name))
        whole["after"] = network(given["images"](name)).detach()
        assert set(one) == set(other) == set(whole)
        for key, expected in whole.items():
            if key == "logits":
                found = torch.cat([one[key], other[key]])
            elif key in dict(network.named_parameters()):
                found = one[key] + other[key]
            else:
                found = one[key]
                assert torch.equal(found, other[key])  # what is kept of one is kept of both
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_on_a_gpu_it_is_torchs_own() -> None:
    assert isinstance(shared_batch_norm("cuda"), TorchSyncBatchNorm)
