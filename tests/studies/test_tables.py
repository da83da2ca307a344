"""The tables of the study, and the page that shows them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gafcnn.app.command import import_own


@pytest.fixture
def tables(root: Path) -> ModuleType:
    import_own([str(root / "studies/tables.py")])
    return sys.modules["tables"]


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def test_a_part_keeps_the_figures_that_are_shown(tables: ModuleType) -> None:
    row = {"a": "residual", "b": "xgboost", "figure": "rank_ic", "n_both": 7, **estimate(0.5)}
    metrics = {
        "task": "ranking",
        "rows": {"all": 9, "labelled": 8},
        "cost_bps": 5.0,
        "models": {"gaf": {"rank_ic": estimate(0.25), "icir": estimate(1.0)}},
        "pairs": [row | {"value": 7.0}],
        "equity": {"gaf": {"time": [*range(360)], "value": [*range(360)]}},
    }
    found = tables.condensed({"metrics": metrics, "pairs": [row], "validation": {}})
    assert found["models"] == {"gaf": {"rank_ic": estimate(0.25)}}
    assert [one["value"] for one in found["pairs"]] == [0.5]  # that of the study's own comparison
    assert found["equity"]["gaf"]["time"] == [*range(0, 357, 3), 357, 359]
    pair = tables.Question("part", [("residual", "xgboost")], ["rank_ic"])
    assert [*tables.differences(found, pair)][-1] == (
        "| `residual` less `xgboost` | 0.5000 [0.4000, 0.6000] |"
    )
    lines = [*tables.models(found, ["gaf"], {"rank_ic": ("rank IC", 2), "auc": ("AUC", 2)})]
    assert lines[-1] == "| `gaf` | 0.25 [0.15, 0.35] | n/a |"
    with pytest.raises(SystemExit, match="were not compared"):
        tables.difference(found, ("gaf", "xgboost"), "rank_ic")


def test_the_pages_show_the_stored_results(root: Path, tables: ModuleType) -> None:
    results = json.loads((root / "docs/studies/results.json").read_text())
    costs = {"stocks-5d": 3.0, "spot-4h": 10.0}
    assert {name: one["cost_bps"] for name, one in results.items()} == {
        name: costs.get(name, 5.0) for name in results
    }
    for one in results.values():  # a name is of one model; rows of both may be fewer
        for row in one["pairs"]:
            if row["figure"] in ("rank_ic", "auc"):
                a, b = (one["models"][row[key]][row["figure"]]["value"] for key in "ab")
                assert row["value"] == pytest.approx(a - b, abs=0.002)
    written = (root / "docs/studies/tables.md").read_text()
    assert written == tables.tables(results) + "\n"
    page = (root / "docs/results.md").read_text()
    study = page[: page.index("\n## Older studies")]
    rows = [line for line in study.splitlines() if re.match(r"\| (`|1h|4h|1d|3d)", line)]
    assert len(rows) > 20
    assert [row for row in rows if row not in written] == []
