"""A network: one hidden layer over all pixels."""

from torch import nn

import gafcnn as gc


@gc.register_network("two_layers", lr=1e-3, weight_decay=0.05, batch_size=256)
def two_layers(channels: int, outputs: int, size: int, hidden: int = 32) -> nn.Module:
    """Return a network from images (n, channels, size, size) to logits (n, outputs)."""
    pixels = channels * size * size
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )
