"""The report of a judgement: an HTML page, tables, figures, console output and the model card.

>>> from gafcnn.report import model_card, write_report
>>> write_report("report.html", gc.judge(predictions, bars).metrics)
"""

from gafcnn.report.charts import confusion_matrices
from gafcnn.report.console import decision_line, decision_table, show, summary_table
from gafcnn.report.page import model_card, write_report
from gafcnn.report.sample_pictures import Attributions, Sample, sample_image
from gafcnn.report.tables import build_tables

__all__ = [
    "Attributions",
    "Sample",
    "build_tables",
    "confusion_matrices",
    "decision_line",
    "decision_table",
    "model_card",
    "sample_image",
    "show",
    "summary_table",
    "write_report",
]
