"""What a model looks like: one colour and one dash, the same in every figure of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from gafcnn.evaluation.ensembles import ENSEMBLES

ORACLE, HOLDING = "oracle", "buy_and_hold"

# Okabe and Ito (2008) without its yellow and black, then Tol's (2021) where they can be told from
# it: apart for the colour-blind, and to be seen on white and on near black
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#d55e00", "#999933", "#aa4499", "#8c6d5a", "#6478d6"),
)
GREY = "#8a929c"


@dataclass(frozen=True)
class Style:
    """A line's colour, as #rrggbb, and its dash, in plotly's words."""

    colour: str
    dash: Literal["solid", "dash", "dot"]


def styles(models: Iterable[str]) -> dict[str, Style]:
    """A style for each model, by its place among them, and a grey one for buying and holding.

    Single models are drawn solid, ensembles dashed, the oracle dotted, so that colour is never the
    only difference between the kinds.
    """
    found = {
        name: Style(colour, _dash(name))
        for name, colour in zip(models, cycle(COLOURS), strict=False)
    }
    return {**found, HOLDING: Style(GREY, "solid")}


def spoken(model: str) -> str:
    """A model's name as a reader would say it."""
    return "buy and hold" if model == HOLDING else model


def _dash(model: str) -> Literal["solid", "dash", "dot"]:
    if model == ORACLE:
        return "dot"
    return "dash" if model in ENSEMBLES else "solid"
