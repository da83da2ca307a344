"""Market bars as Gramian Angular Field images, a network that learns from them, an honest judge.

The rooms, in the order of the data:

    market      bars: read, checked, downloaded, simulated
    samples     windows, labels, splits
    images      Gramian Angular Fields, and their store on disk
    learning    networks and their training
    forecasts   the table of predictions, ensembles, scores
    report      figures and tables
    runs        run folders
    pipeline    the commands: prepare, train, evaluate
"""

from gafcnn.runs import Run, load_run

__all__ = ["Run", "load_run"]
