"""Market bars as Gramian Angular Field images, a network that learns from them, an honest judge.

The rooms, in the order of the data:

    market        bars: read, checked, downloaded, simulated
    samples       windows, labels, splits
    images        Gramian Angular Fields, and their store on disk
    learning      networks and their training
    explanations  what a decision of a network rests on
    forecasts     the table of predictions, ensembles, scores
    report        figures and tables
    runs          run folders
    pipeline      the commands: prepare, train, evaluate, predict, export, verify
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gafcnn.app.runs import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # once they are asked for: what scores predictions takes a second and 75 MB to import, and
    # whoever only makes images does without
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gafcnn.app import runs as runs

    return getattr(runs, name)
