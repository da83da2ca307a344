"""A network of one's own: a hidden layer over all pixels.

PYTHONPATH=examples python train.py 'imports=[own_network]' model=small_cnn ~model.network \
    '+model.network={name:two_layers,hidden:32}' window=15m study=layers
PYTHONPATH=examples python evaluate.py study=layers 'trust=[own_network]'
"""

from torch import nn

from gafcnn.models.networks import NETWORKS


def two_layers(channels: int, outputs: int, size: int, hidden: int) -> nn.Module:
    """Images of shape (n, channels, size, size) to logits of shape (n, outputs)."""
    pixels = channels * size * size
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


NETWORKS["two_layers"] = two_layers
