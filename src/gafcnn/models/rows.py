"""What is said of a sample, whatever stands beside it in the batch.

Libraries compute the rows at the end of a batch by other instructions than those before them, and a
few rows by another algorithm than many: the same sum in another order, which differs in the last
bit. On a CPU, and where nothing is learned, both are avoided here, so that a sample predicted alone
is given the very probability that it was given in a batch:

- a network's head, and functions of each value, are computed over a whole multiple of `ROWS` rows,
  of which those that were added are dropped again (`evenly`, `EvenSequential`);
- convolutions are always oneDNN's (`gafcnn.models.convolutions`): torch would give it a batch,
  and compute a small sample alone by itself.

This is measured, not promised by those libraries; `tests/learning/test_rows.py` holds it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ROWS = 32  # the widest vectors hold 16 numbers, of which loops take two at a time


def only_predicts(x: Tensor) -> bool:
    """Whether these are computed on a CPU, for no gradient, and not traced for another machine."""
    plain = x.device.type == "cpu" and not torch.is_grad_enabled()
    return plain and not torch.compiler.is_compiling()


def evenly(compute: Callable[[Tensor], Tensor], x: Tensor, rows: int = ROWS) -> Tensor:
    """What a function that keeps rows apart makes of them, the same however many there are.

    Args:
        compute: Of a tensor of shape (n, ...), to one of n rows.
        x: Shape (n, ...).
        rows: To a whole multiple of which they are filled up.
    """
    if not only_predicts(x) or not (missing := -len(x) % rows):
        return compute(x)
    more = x.new_zeros(missing, *x.shape[1:])
    return compute(torch.cat([x, more]))[: len(x)]


class EvenSequential(nn.Sequential):
    """Layers whose rows do not depend on how many there are, see `evenly`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's signature
        """What the layers make of shape (n, ...)."""
        return evenly(super().forward, input)
