"""Networks as files for other programs: ONNX for any runtime, safetensors for PyTorch.

ONNX holds everything from images to probabilities; safetensors hold the weights under the names of
the network, and no code. Both need the extra: pip install 'gafcnn[export]'.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.windows import Window, WindowReader
from gafcnn.errors import LearningError, import_extra
from gafcnn.images.spec import ImageSpec
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.estimator import DESCRIPTION
from gafcnn.settings import create

OPSET = 18  # the lowest that torch's exporter writes
INPUT, P_UP, PROBABILITIES = "images", "p_up", "probabilities"
TOLERANCE = 1e-5  # of a probability: another runtime sums in another order


def to_onnx(model: GafClassifier, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a fitted network as ONNX, from any number of images to probabilities.

    The metadata are further texts to store in the file, by key.

    Raises:
        ConfigError: onnx is not installed.
        LearningError: The model has an offset, or networks of several seeds.
    """
    onnx = import_extra("onnx", "export")
    import_extra("onnxscript", "export")
    import torch
    from torch import nn

    module, output, last = _module_of(model).eval(), PROBABILITIES, [nn.Softmax(dim=1)]
    if module.outputs == 1:
        output, last = P_UP, [nn.Flatten(0), nn.Sigmoid()]
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log each node that they remove
    # from a single image the exporter would infer that a batch has always one
    program = torch.onnx.export(
        nn.Sequential(module.network, *last).eval(),
        (torch.zeros(2, *module.image_shape),),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[output],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    proto, description = program.model_proto, {DESCRIPTION: json.dumps(module.description)}
    onnx.helper.set_model_props(proto, {**(metadata or {}), **description})
    return proto.SerializeToString()


def to_safetensors(model: GafClassifier, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the state dict of a fitted network as safetensors; otherwise as `to_onnx`."""
    save = import_extra("safetensors.torch", "export").save
    # the file holds plain layouts; in memory convolutions are channels_last
    state = {
        name: value.contiguous() for name, value in _module_of(model).network.state_dict().items()
    }
    return save(state, metadata=dict(metadata or {}))


def _module_of(model: GafClassifier) -> Any:
    """Return the network of a model, if it alone makes the forecasts."""
    if model.seeds > 1 or model.offset is not None:
        raise LearningError(
            f"the export of a model with seeds={model.seeds}"
            + " and an offset" * (model.offset is not None),
            expected="one network, whose output is the forecast",
            instead="export each of model.models_, or a model that was fitted without offset",
        )
    return model.module_


class OnnxPredictor:
    """A network from `to_onnx`, or its file, in ONNX Runtime, on one thread of the CPU.

    Attributes:
        window: The window of the network.
        image_spec: How its images are encoded.
        classes: Names of the classes.

    Raises:
        ConfigError: onnxruntime is not installed.
        LearningError: The file is not an exported network of this library.
    """

    def __init__(self, model: bytes | str | Path) -> None:
        runtime = import_extra("onnxruntime", "export")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        try:
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            stored = self._session.get_modelmeta().custom_metadata_map
            description = json.loads(stored[DESCRIPTION])
            parameters = description["parameters"]
        except Exception as error:  # ONNX Runtime raises many kinds of error for damaged files
            where = "the ONNX model" if isinstance(model, bytes) else str(model)
            raise LearningError(
                f"{where} cannot be read ({str(error).splitlines()[0]})",
                expected="a network exported by gafcnn",
                instead="export it again",
            ) from error
        self.window = create(Window, "window", parameters["window"])
        self.image_spec = create(ImageSpec, "images", parameters["image_spec"])
        self.classes = tuple(description["classes"])

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return P(up) of images, shape (n,); for several classes (n, classes).

        Images are in [-1, 1], as from `ImageSpec.shown`: shape (n, channels, size, size).
        """
        return np.asarray(self._session.run(None, {INPUT: images})[0])

    def predict_at(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes).

        Of the bars, `window.lookback` before each of the n rows is enough.
        """
        series = WindowReader(bars, self.window, self.image_spec.read_fields)(rows)
        return self.predict(self.image_spec.shown(series)).astype(np.float64)


def largest_difference(exported: bytes, model: GafClassifier, images: NDArray[np.float32]) -> float:
    """Return how far the probabilities of an export are from those of the network, on images.

    A difference above `TOLERANCE`, or NaN, raises a LearningError.
    """
    import torch

    expected = model.module_.eval().probabilities(torch.from_numpy(images)).numpy()
    difference = float(np.abs(OnnxPredictor(exported).predict(images) - expected).max())
    if not difference <= TOLERANCE:
        raise LearningError(
            f"the exported network differs by {difference:.2g} from the trained one",
            expected=f"probabilities within {TOLERANCE:g}",
            instead="update onnxruntime and torch, or use the safetensors",
        )
    return difference
