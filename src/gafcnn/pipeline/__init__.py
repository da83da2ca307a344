"""The commands as recipes, and the markets they are about, each over a composed configuration."""

from gafcnn.pipeline.assembly import load_markets
from gafcnn.pipeline.evaluation import evaluate
from gafcnn.pipeline.exporting import export
from gafcnn.pipeline.live import predict
from gafcnn.pipeline.training import prepare, train
from gafcnn.pipeline.verifying import verify

__all__ = ["evaluate", "export", "load_markets", "predict", "prepare", "train", "verify"]
