"""The report: a judgement as a page, as tables and as figures that can be shown as they are."""

from gafcnn.report.card import model_card
from gafcnn.report.classification_page import recognition_table, write_recognition
from gafcnn.report.console import show, table, verdict_lines
from gafcnn.report.decision_text import aged, decision_line, decision_table
from gafcnn.report.explained_images import Attributions, explained_image
from gafcnn.report.matrices import confusion_matrices
from gafcnn.report.page import write_report
from gafcnn.report.plotting import sample_image, save
from gafcnn.report.pooled_page import pooled_table, write_pooled
from gafcnn.report.publishing import FIGURES, TABLES
from gafcnn.report.sample_pictures import Sample

__all__ = [
    "FIGURES",
    "TABLES",
    "Attributions",
    "Sample",
    "aged",
    "confusion_matrices",
    "decision_line",
    "decision_table",
    "explained_image",
    "model_card",
    "pooled_table",
    "recognition_table",
    "sample_image",
    "save",
    "show",
    "table",
    "verdict_lines",
    "write_pooled",
    "write_recognition",
    "write_report",
]
