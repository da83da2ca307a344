"""Learning: networks, batches, training rules. The only room that knows torch."""

from gafcnn.learning.baseline import Baseline
from gafcnn.learning.callbacks import EpochSeed, StopWhereStopped, Throughput
from gafcnn.learning.datamodule import GafDataModule
from gafcnn.learning.dataset import EpochBatches, GafDataset
from gafcnn.learning.module import GafModule
from gafcnn.learning.networks import NETWORKS, build_network, start_from
from gafcnn.learning.resnet import GafResNet18, load_pretrained
from gafcnn.learning.small_cnn import SmallCNN

__all__ = [
    "NETWORKS",
    "Baseline",
    "EpochBatches",
    "EpochSeed",
    "GafDataModule",
    "GafDataset",
    "GafModule",
    "GafResNet18",
    "SmallCNN",
    "StopWhereStopped",
    "Throughput",
    "build_network",
    "load_pretrained",
    "start_from",
]
