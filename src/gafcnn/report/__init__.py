"""The report: scores and samples as tables and figures that can be shown as they are."""

from gafcnn.report.figures import confusion_matrices, sample_image, save
from gafcnn.report.tables import show, table

__all__ = ["confusion_matrices", "sample_image", "save", "show", "table"]
