"""A decision on the console: what each model says of the newest bar, and what one would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from gafcnn.report.console import groups
from gafcnn.report.formatters import fine

WORDS = {1: "long", -1: "short", 0: "none"}


def decision_line(decision: Mapping[str, Any]) -> str:
    """What was decided on: `BNBUSDT at 2025-06-24 00:00 UTC, closed 5 s ago at 645: up in 15min?`.

    Args:
        decision: As the command prints it as JSON, see `gafcnn.app.predict`.
    """
    time, age = pd.Timestamp(decision["time"]), aged(decision["age_seconds"])
    shown = f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return (
        f"{decision['symbol']} at {shown} UTC, closed {age} ago at {decision['close']:g}: "
        f"up in {decision['horizon']}?"
    )


def decision_table(decision: Mapping[str, Any]) -> Table:
    """Make one line per model: P(up), how sure that is, from where one trades, the position.

    The model that an evaluation's verdict speaks of has a star.

    Args:
        decision: As for `decision_line`.
    """
    lines = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        caption="* of which an evaluation's verdict speaks",
        caption_justify="left",
    )
    lines.add_column("model", no_wrap=True)
    for heading in ("P(up)", "confidence", "threshold", "position"):
        lines.add_column(heading, justify="right", no_wrap=True)
    models = decision["models"]
    for names in groups(models):
        for name in names:
            said = models[name]
            cells = [fine(said[key]) for key in ("p_up", "confidence", "threshold")]
            leads = name == decision["headline"]
            shown = f"{name} *" if leads else name
            lines.add_row(shown, *cells, WORDS[said["position"]], style="bold" if leads else None)
        lines.add_section()
    return lines


def aged(seconds: float) -> str:
    """How long ago, in the two largest units: `4 s`, `2 min 5 s`, `3 h 0 min`, `12 d 4 h`."""
    whole, units = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count or units or unit == "s":
            units.append(f"{count} {unit}")
    return " ".join(units[:2])
