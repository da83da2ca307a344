"""The report of a judgement: an HTML page, tables, figures, console output and the model card.

>>> from gafcnn.report.page import model_card, write_report
>>> write_report("report.html", gc.judge(predictions, bars).metrics)
"""
