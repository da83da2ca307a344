"""Samples: at which moments the bars allow a decision, what came of each, and who may learn of it.

`windows` says which rows make a sample and reads what an image shows of them, `fields` which
numbers of a candle that may be, `labels` what happened after, `splits` which samples are for
training, validation and test. All count from the decision time `t`, the close of the last bar that
a sample may see; none ever spans a gap.
"""

from gafcnn.samples.fields import FIELDS, Candles, Field, field, known_fields
from gafcnn.samples.labelled import PARTS, LabelledSamples, Part, Splitter
from gafcnn.samples.labels import NULL, Direction, Label, Outcomes, TripleBarrier
from gafcnn.samples.splits import Chronological, Split, WalkForward, check_purged
from gafcnn.samples.windows import Window, WindowReader, decision_rows

__all__ = [
    "FIELDS",
    "NULL",
    "PARTS",
    "Candles",
    "Chronological",
    "Direction",
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
    "decision_rows",
    "field",
    "known_fields",
]
