"""The model card of an export: what the files are, what they were measured at, what they are not.

Mitchell et al., "Model Cards for Model Reporting", FAT*, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from gafcnn.report.formatters import NONE, count, form_of, moment

SHOWN = (
    "accuracy", "auc", "log_loss", "brier", "balanced_accuracy", "macro_f1",
    "trades", "win_rate_gross", "net_bps", "sharpe",
)  # fmt: skip
"""Figures of a card, where they are known; a row each."""


def model_card(facts: Mapping[str, Any]) -> str:
    """Write the card as Markdown.

    Args:
        facts: What metadata.json says, see `gafcnn.app.export`.
    """
    parts = (_opening(facts), _files(facts), _feeding(facts), _data(facts), _measured(facts),
             _use(facts), _configs(facts))  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _opening(facts: Mapping[str, Any]) -> Iterable[str]:
    yield f"# {facts['study']}: networks over pictures of market bars"
    yield ""
    yield (
        f"Each network is shown a picture of the last bars of {', '.join(facts['symbols'])} and "
        f"gives {facts['asks']}. Made by gafcnn {facts['version']}."
    )


def _files(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## Files"
    yield ""
    rows = (
        (
            f"`{one['onnx']}`", f"`{one['safetensors']}`", one["window"]["name"], one["seed"],
            NONE if one["fold"] is None else one["fold"], count(one["parameters"]),
            f"{max(one['differences'].values()):.1g}",
        )
        for one in facts["models"].values()
    )  # fmt: skip
    yield from _table(
        ("ONNX", "weights", "window", "seed", "fold", "parameters", "largest difference"), rows
    )
    yield ""
    yield (
        f"ONNX (opset {facts['opset']}) goes from images to probabilities, for any number of "
        "images at a time. Before a file took its name, onnxruntime was compared with torch on "
        "random images and on images of these bars; probabilities differ by less than "
        f"{facts['tolerance']:g}. The weights are the network's state dict, under the names of its "
        "own layers; they hold no code."
    )


def _feeding(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## How to feed them"
    for name, one in facts["models"].items():
        window, images = one["window"], one["images"]
        output = one["output"]
        channels = ", ".join(f"{kind} of {field}" for field, kind in one["channels"])
        yield ""
        yield f"**{name}**"
        yield ""
        yield (
            f"- Input `{one['input']['name']}`: float32 of shape {_shape(one['input']['shape'])}, "
            f"values from -1 to 1. Channels: {channels}."
        )
        yield (
            f"- A picture is of {window['points']} points, {window['step']} apart; the last one is "
            "the bar that closes at the decision time. The bars of the "
            f"{window['lookback']} up to it have no gap."
        )
        yield (
            f"- Its series are scaled ({images['scaling']}) to {images['range']} and drawn "
            f"{images['size']} pixels wide, as `gafcnn.images.encoding.encode` does; pixels are rounded to "
            f"{images['dtype']} and multiplied by {images['scale']:.6g}."
        )
        yield (
            f"- Output `{output['name']}`: float32 of shape {_shape(output['shape'])}: "
            f"{output['of']}."
        )
    first = next(iter(facts["models"].values()))
    yield _SNIPPET.format(
        onnx=first["onnx"],
        one=(1, *first["input"]["shape"][1:]),
        output=first["output"]["name"],
        input=first["input"]["name"],
    )


_SNIPPET = """
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{onnx}")
images = np.zeros({one}, dtype=np.float32)  # yours, made as told above
[answer] = session.run(["{output}"], {{"{input}": images}})
```"""


def _data(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## Data"
    yield ""
    yield from _table(
        ("symbol", "bars", "interval", "from", "to", "gaps", "fingerprint (SHA-256)"),
        (
            (
                symbol, count(of["bars"]), facts["interval"], moment(of["first"]),
                moment(of["last"]), count(of["gaps"]), f"`{of['fingerprint']}`",
            )
            for symbol, of in facts["data"].items()
        ),
    )  # fmt: skip
    yield ""
    yield (
        "Bars are labelled by their close, UTC. Networks learned from labelled training rows "
        "alone, the epoch was chosen on validation; parts are purged of labels that reach into a "
        "later one."
    )


def _measured(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## What was measured"
    yield ""
    yield "On validation, by which the epoch was chosen, so that it flatters:"
    yield ""
    of_runs = {name: one["validation"] for name, one in facts["models"].items()}
    yield from _figures(
        {
            f"{name}, {rows} rows": {key: {"value": of[key]} for key in SHOWN if key in of}
            | {"n": of["n"]}
            for name, parts in of_runs.items()
            for rows, of in parts.items()
        }
    )
    yield ""
    judged = facts["evaluation"]
    if judged is None:
        yield "Of the test rows nothing is known: no evaluation has judged the study."
        return
    looks = f"{judged['looks']} look{'s' * (judged['looks'] != 1)}"
    yield (
        f"On all test rows, {moment(judged['first'])} to {moment(judged['last'])} UTC, with 95 % "
        f"intervals, after {looks} at them; of a window with several seeds or folds, all together:"
    )
    yield ""
    yield from _figures(judged["models"])
    yield ""
    yield "The study's verdict, which may be of these networks together with other models:"
    yield ""
    yield from (f"> {sentence}" for sentence in judged["verdict"])


def _use(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## Intended use, and limits"
    yield ""
    yield (
        "- For research: to ask whether images of prices tell anything, and what it would be worth "
        "after costs. Not advice, and no system that trades by itself."
    )
    yield (
        f"- For bars of {facts['interval']} of {', '.join(facts['symbols'])}, in a market like "
        "that of the period above. Other symbols, intervals and times were not measured."
    )
    if facts["kind"] == "direction":
        yield (
            "- P(up) is the label's, which may leave small moves out of the training and tell up "
            "from down at another return than 0. Thresholds and costs are no part of these files."
        )
    else:
        yield (
            "- A pattern is recognised on the bar that closes last; nothing is said of what comes."
        )
    yield (
        "- A picture that is scaled by itself knows the shape of prices, not their level or how "
        "much they move."
    )
    yield (
        "- What is read over a gap, scaled otherwise, or drawn as another kind of picture is "
        "answered all the same, and wrongly: a network cannot tell."
    )


def _configs(facts: Mapping[str, Any]) -> Iterable[str]:
    yield "## Configuration"
    for name, one in facts["models"].items():
        yield ""
        yield f"{name}:"
        yield ""
        # indented, as no text in it can end an indented block
        told = yaml.safe_dump(one["config"], sort_keys=False)
        yield from (f"    {line}" for line in told.splitlines())


def _figures(models: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """A row a model, a column a figure that any of them has."""
    known = [name for name in SHOWN if any(name in of for of in models.values())]
    rows = (
        (name, *(_estimate(figure, of.get(figure)) for figure in known))
        for name, of in models.items()
    )
    yield from _table(("model", *(figure.replace("_", " ") for figure in known)), rows)


def _estimate(figure: str, of: Mapping[str, Any] | None) -> str:
    form = form_of(figure)
    if of is None:
        return NONE
    value = form(of["value"])
    low, high = of.get("low"), of.get("high")
    return value if low is None or high is None else f"{value} [{form(low)}, {form(high)}]"


def _table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterable[str]:
    heading = list(heading)
    yield _line(heading)
    yield _line("---" for _ in heading)
    yield from (_line(map(str, row)) for row in rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _shape(shape: Iterable[object]) -> str:
    return f"({', '.join(map(str, shape))})"
