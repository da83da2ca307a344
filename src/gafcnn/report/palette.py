"""Colours and line styles of models, the same in every chart and table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import Literal

from gafcnn.evaluation.ensembles import ENSEMBLES

ORACLE, BUY_AND_HOLD = "oracle", "buy_and_hold"

# Okabe and Ito (2008) without yellow and black, then Tol (2021): distinct for colour-blind readers
# and visible on white and on near black
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#d55e00", "#999933", "#aa4499", "#8c6d5a", "#6478d6"),
)
BLUE, VERMILION, GREY = COLOURS[0], COLOURS[5], "#8a929c"


@dataclass(frozen=True)
class Style:
    """The colour of a model's line, as #rrggbb, and its line style."""

    colour: str
    line: Literal["solid", "dashed", "dotted"]


def model_styles(models: Iterable[str]) -> dict[str, Style]:
    """Return the style of each model by its position, and a grey one for buy and hold.

    Single models are solid, ensembles dashed and the oracle dotted, so that kinds of models differ
    in more than colour.
    """
    styles = {BUY_AND_HOLD: Style(GREY, "solid")}
    for name, colour in zip(models, cycle(COLOURS), strict=False):
        line = "dotted" if name == ORACLE else "dashed" if name in ENSEMBLES else "solid"
        styles[name] = Style(colour, line)
    return styles


def model_label(model: str) -> str:
    """Return the name of a model as readers see it."""
    return "buy and hold" if model == BUY_AND_HOLD else model


def model_groups(models: Iterable[str]) -> list[list[str]]:
    """Split models, in their order, into runs of single models, ensembles and the oracle."""
    return [
        list(names)
        for _, names in groupby(models, lambda name: (name in ENSEMBLES, name == ORACLE))
    ]
