"""A network for those who have no gafcnn: ONNX for any runtime, safetensors for any torch.

ONNX holds all from images to probabilities, BatchNorms folded into the convolutions before them;
safetensors hold the weights as they were learned, under the network's own names, and no code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from gafcnn.errors import LearningError
from gafcnn.models.module import GafModule

OPSET = 18  # the least that torch's exporter writes
INPUT, P_UP, PROBABILITIES = "images", "p_up", "probabilities"
TOLERANCE = 1e-5  # of a probability: another runtime sums in another order

_EXAMPLE = 2  # images; of one alone the exporter would think that a batch is always of one


class _Answer(nn.Module):
    """A network and what its outputs mean, as `GafModule.predict_step` gives it."""

    def __init__(self, module: GafModule) -> None:
        super().__init__()
        self.network, self.task = module.network, module.task

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of shape (n,), or (n, classes)."""
        return self.task.probabilities(self.task.logits(self.network(images)))


def output_of(module: GafModule) -> str:
    """What the exported network calls its answer: `p_up`, or `probabilities` of several classes."""
    return P_UP if _network(module)["outputs"] == 1 else PROBABILITIES


def input_shape(module: GafModule) -> tuple[int, int, int]:
    """Channels, height and width of the images that a network takes."""
    network = _network(module)
    return network["channels"], network["size"], network["size"]


def to_onnx(module: GafModule, told: Mapping[str, str]) -> bytes:
    """The network from images to probabilities as ONNX, for any number of images at a time.

    Args:
        module: The network, ready to predict; it is folded, see `GafModule.fold`.
        told: What the file is to say of itself, by key.
    """
    import onnx  # takes a second, and only an export needs it

    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of each node removed
    module.fold()
    example = torch.zeros(_EXAMPLE, *input_shape(module))
    program = torch.onnx.export(
        _Answer(module).eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[output_of(module)],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, dict(told))
    return model.SerializeToString()


def answers(model: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What an ONNX model says of images, by onnxruntime on the CPU.

    Args:
        model: See `to_onnx`.
        images: Shape (n, channels, height, width).
    """
    from onnxruntime import InferenceSession, SessionOptions  # pyright: ignore[reportAttributeAccessIssue]

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: images})[0])


def checked(
    model: bytes, module: GafModule, batches: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """How far the probabilities of an ONNX model are from the network's own.

    Args:
        model: See `to_onnx`.
        module: The network, as it was trained.
        batches: Images to compare them on, by what they are.

    Returns:
        The largest difference of each batch.

    Raises:
        LearningError: One is larger than `TOLERANCE`, or no number.
    """
    apart = {}
    for name, images in batches.items():
        batch = torch.from_numpy(images)
        with torch.inference_mode():
            expected = module.predict_step((batch, batch), 0).numpy()
        apart[name] = float(np.abs(answers(model, images) - expected).max())
        if not apart[name] <= TOLERANCE:
            raise LearningError(
                f"the exported network differs by {apart[name]:.2g} from the trained one on {name}",
                expected=f"probabilities within {TOLERANCE:g}",
                instead="update onnxruntime and torch, or take the safetensors",
            )
    return apart


def weights_of(module: GafModule, told: Mapping[str, str]) -> bytes:
    """The network's state dict as safetensors.

    Args:
        module: The network, as it was trained.
        told: What the file is to say of itself, by key.
    """
    # the file's layout is the plain one; in memory convolutions are channels_last
    state = {name: value.contiguous() for name, value in module.network.state_dict().items()}
    return save(state, metadata=dict(told))


def _network(module: GafModule) -> dict[str, Any]:
    """The network's name and options, as `build_network` takes them."""
    return {"channels": 2, "outputs": 1, "size": 64} | dict(module.hparams["network"])
