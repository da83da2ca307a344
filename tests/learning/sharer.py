"""A process that learns from its part of a batch, for test_batch_norm.py.

python sharer.py RANK MEETING FOLDER: leaves what it has learned in FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import torch
from torch import distributed, nn

from gafcnn.models.batch_norm import shared_batch_norm
from gafcnn.models.networks import build_network

NETWORKS = {
    "small_cnn": {"name": "small_cnn", "size": 16, "width": 4},
    "resnet18": {"name": "resnet18", "size": 32, "freeze": ["layer1"]},
}
PARTS = [slice(0, 5), slice(5, 12)]


def images(name: str) -> torch.Tensor:
    """A batch of twelve."""
    size = NETWORKS[name]["size"]
    return (
        torch.rand(12, 2, size, size, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    )


def learned(network: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of a sum over a part of a batch, the statistics that it leaves, and its logits."""
    logits = network(batch)
    logits.square().sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return {**gradients, **dict(network.named_buffers()), "logits": logits.detach()}


def new(name: str) -> nn.Module:
    """A network in training: without dropout, whose draws would differ, and in float64."""
    torch.manual_seed(0)
    network = build_network(**NETWORKS[name]).double().train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


if __name__ == "__main__":
    rank, meeting = int(sys.argv[1]), f"file://{sys.argv[2]}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    found = {}
    for name in NETWORKS:
        synced = shared_batch_norm("cpu")
        network = synced.apply(new(name))
        found[name] = learned(network, images(name)[PARTS[rank]])
        synced.revert(network)
        found[name]["after"] = network(images(name)).detach()
    torch.save(found, Path(sys.argv[3]) / f"{rank}.pt")
    distributed.destroy_process_group()
