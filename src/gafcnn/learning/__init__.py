"""Learning: networks, batches, training rules. The only room that knows torch."""

from gafcnn.learning.baseline import Baseline
from gafcnn.learning.batch_norm import shared_batch_norm
from gafcnn.learning.callbacks import AveragedWeights, EpochSeed, StopWhereStopped, Throughput
from gafcnn.learning.checkpoints import WholeCheckpoints, load_plain
from gafcnn.learning.convolutions import Convolution
from gafcnn.learning.datamodule import GafDataModule, check_batch_size
from gafcnn.learning.dataset import EpochBatches, Extra, GafDataset
from gafcnn.learning.devices import (
    AUTO,
    PRECISIONS,
    Device,
    accelerators,
    best_precision,
    check_precision,
    find_device,
)
from gafcnn.learning.exported import (
    OPSET,
    TOLERANCE,
    checked,
    input_shape,
    output_of,
    to_onnx,
    weights_of,
)
from gafcnn.learning.module import GafModule
from gafcnn.learning.networks import NETWORKS, build_network, start_from
from gafcnn.learning.processes import ALONE, DDP, Processes, environment, processes_of
from gafcnn.learning.resnet import GafResNet18, load_pretrained
from gafcnn.learning.rows import EvenSequential
from gafcnn.learning.small_cnn import SmallCNN
from gafcnn.learning.sources import (
    ImagesOnTheFly,
    ImageSource,
    PooledImages,
    StoredImages,
)
from gafcnn.learning.tasks import outputs_for
from gafcnn.learning.weights import ClassWeights, check_weights, class_weights

__all__ = [
    "ALONE",
    "AUTO",
    "DDP",
    "NETWORKS",
    "OPSET",
    "PRECISIONS",
    "TOLERANCE",
    "AveragedWeights",
    "Baseline",
    "ClassWeights",
    "Convolution",
    "Device",
    "EpochBatches",
    "EpochSeed",
    "EvenSequential",
    "Extra",
    "GafDataModule",
    "GafDataset",
    "GafModule",
    "GafResNet18",
    "ImageSource",
    "ImagesOnTheFly",
    "PooledImages",
    "Processes",
    "SmallCNN",
    "StopWhereStopped",
    "StoredImages",
    "Throughput",
    "WholeCheckpoints",
    "accelerators",
    "best_precision",
    "build_network",
    "check_batch_size",
    "check_precision",
    "check_weights",
    "checked",
    "class_weights",
    "environment",
    "find_device",
    "input_shape",
    "load_plain",
    "load_pretrained",
    "output_of",
    "outputs_for",
    "processes_of",
    "shared_batch_norm",
    "start_from",
    "to_onnx",
    "weights_of",
]
