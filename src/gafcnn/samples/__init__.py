"""Samples: at which moments the bars allow a decision, what came of each, and who may learn of it.

`windows` says which rows make a sample and reads what an image shows of them, `labels` what
happened after, `candlestick` what stands there already, `splits` which samples are for training,
validation and test; `augmentation` draws further ones to train on. All count from the decision time
`t`, the close of the last bar that a sample may see; none ever spans a gap.
"""

from gafcnn.samples.augmentation import Augmentation, Drawn, class_counts
from gafcnn.samples.candlestick import PATTERNS, Candlestick, patterns
from gafcnn.samples.labelled import PARTS, LabelledSamples, Part, Splitter
from gafcnn.samples.labels import DIRECTIONS, NULL, Direction, Label, Outcomes, TripleBarrier
from gafcnn.samples.splits import Chronological, Split, WalkForward, check_purged
from gafcnn.samples.windows import Window, WindowReader, close_times, decision_rows

__all__ = [
    "DIRECTIONS",
    "NULL",
    "PARTS",
    "PATTERNS",
    "Augmentation",
    "Candlestick",
    "Chronological",
    "Direction",
    "Drawn",
    "Label",
    "LabelledSamples",
    "Outcomes",
    "Part",
    "Split",
    "Splitter",
    "TripleBarrier",
    "WalkForward",
    "Window",
    "WindowReader",
    "check_purged",
    "class_counts",
    "close_times",
    "decision_rows",
    "patterns",
]
