"""Samples: at which moments the bars allow a decision, what came of each, and who may learn of it.

`windows` says which rows make a sample and reads what an image shows of them, `fields` which
numbers of a candle that may be, `labels` what happened after, `candlestick` what stands there
already, `splits` which samples are for training, validation and test; `augmentation` draws further
ones to train on. All count from the decision time `t`, the close of the last bar that a sample may
see; none ever spans a gap.
"""

from gafcnn.samples import rules as _rules  # noqa: F401 - it registers its fields
from gafcnn.samples.augmentation import Augmentation, Drawn, class_counts
from gafcnn.samples.candlestick import PATTERNS, Candlestick, patterns
from gafcnn.samples.fields import FIELDS, Candles, Field, field, known_fields
from gafcnn.samples.labelled import PARTS, LabelledSamples, Part, Splitter
from gafcnn.samples.labels import DIRECTIONS, NULL, Direction, Label, Outcomes, TripleBarrier
from gafcnn.samples.splits import Chronological, Split, WalkForward, check_purged
from gafcnn.samples.windows import Window, WindowReader, close_times, decision_rows

__all__ = [
    "DIRECTIONS",
    "FIELDS",
    "NULL",
    "PARTS",
    "PATTERNS",
    "Augmentation",
    "Candles",
    "Candlestick",
    "Chronological",
    "Direction",
    "Drawn",
    "Field",
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
    "field",
    "known_fields",
    "patterns",
]
