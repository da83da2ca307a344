"""The commands as recipes: `prepare`, `train`, `evaluate`, each over a composed configuration."""

from gafcnn.pipeline.evaluation import evaluate
from gafcnn.pipeline.training import prepare, train

__all__ = ["evaluate", "prepare", "train"]
