"""The model card states what the facts say, in tables that no name can break."""

from __future__ import annotations

from typing import Any

from gafcnn.report import model_card

TIMES = {"first": "2025-06-20T10:14:00+00:00", "last": "2025-06-21T10:14:00+00:00"}
MODEL: dict[str, Any] = {
    "onnx": "30m.onnx",
    "safetensors": "30m.safetensors",
    "input": {"name": "images", "shape": ["batch", 2, 64, 64]},
    "output": {"name": "p_up", "shape": ["batch"], "of": "P(up)"},
    "channels": [["close", "gasf"], ["close", "gadf"]],
    "images": {"size": 64, "dtype": "int8", "range": [-1, 1], "scaling": "each", "scale": 1 / 127},
    "window": {"name": "30m", "points": 30, "step": "1min", "lookback": "60min"},
    "parameters": 12345,
    "seed": 0,
    "fold": None,
    "differences": {"one image": 1e-8, "random images": 1.2e-7},
    "validation": {"all": {"n": 100, "accuracy": 0.61, "auc": 0.654}},
    "config": {"window": {"span": "```\n# no heading"}},
}
FACTS: dict[str, Any] = {
    "study": "demo",
    "version": "2.0",
    "opset": 17,
    "tolerance": 1e-5,
    "kind": "direction",
    "asks": "the probability of up",
    "symbols": ["BNB"],
    "interval": "1min",
    "data": {"BNB|X": {"fingerprint": "ab" * 32, "bars": 1000, "gaps": 2, **TIMES}},
    "models": {"30m": MODEL},
    "evaluation": {
        **TIMES,
        "verdict": ["It is good."],
        "looks": 2,
        "models": {
            "30m": {
                "auc": {"value": 0.6, "low": 0.5, "high": 0.7},
                "trades": {"value": 12, "low": None, "high": None},
            }
        },
    },
}


def test_card_has_the_facts() -> None:
    card = model_card(FACTS)
    for text in (
        "| `30m.onnx` | `30m.safetensors` | 30m | 0 | n/a | 12,345 | 1e-07 |",
        "float32 of shape (batch, 2, 64, 64)", "np.zeros((1, 2, 64, 64)", "gasf of close",
        "| BNB\\|X | 1,000 | 1min | 2025-06-20 10:14 | 2025-06-21 10:14 | 2 |",
        "| model | accuracy | auc |\n| --- | --- | --- |\n| 30m, all rows | 61.00% | 0.6540 |",
        "| model | auc | trades |\n| --- | --- | --- |\n| 30m | 0.6000 [0.5000, 0.7000] | 12 |",
        "after 2 looks", "> It is good.",
    ):  # fmt: skip
        assert text in card
    assert "\n# no heading" not in card
    assert "trees" not in card


def test_card_lists_trees_and_ensembles() -> None:
    tree = {"file": "xgboost.json", "seed": 1, "fold": 2, "features": ["a", "b", "c"]}
    card = model_card({**FACTS, "trees": {"xgboost": tree}, "ensembles": {"mean": "all windows"}})
    assert "| xgboost | `xgboost.json` | 1 | 2 | 3 |" in card
    assert "**mean**: all windows" in card
