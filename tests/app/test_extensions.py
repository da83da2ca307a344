"""One file per extension: the examples in train, evaluate, predict and export."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app.command import import_own
from gafcnn.app.options import own_options
from gafcnn.data.features import FIELDS
from gafcnn.data.labels import LABELS
from gafcnn.data.sources import SOURCES
from gafcnn.errors import ConfigError
from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.evaluation.trading_rules import COSTS
from gafcnn.images.kinds import IMAGE_KINDS
from gafcnn.models.networks import NETWORKS

Run = Callable[..., str]

REGISTRIES: tuple[Any, ...] = (LABELS, FIELDS, SOURCES, COSTS, ENSEMBLES, IMAGE_KINDS, NETWORKS)
TINY = (
    *("market=simulated", "market.days=2", "images.size=16", "trainer.max_epochs=1"),
    *("trainer.accelerator=cpu", "window=15m", "study=own"),
)
SMALL = ("model=small_cnn", "model.network.width=2")
QUICK = ("judging.resamples=0", "baseline.rounds=20")


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Iterator[None]:
    assert NETWORKS["small_cnn"]
    assert SOURCES["file"]
    before = [set(registry) for registry in REGISTRIES]
    yield
    for registry, names in zip(REGISTRIES, before, strict=True):
        for name in set(registry) - names:
            del registry[name]
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.fixture
def own(root: Path) -> Run:
    """The option that imports examples."""
    return lambda *names: f"imports=[{','.join(f'{root}/examples/{name}.py' for name in names)}]"


def decide_and_export(typed: Run, folder: Path, imports: str, study: str = "own") -> dict[str, Any]:
    """Run export and predict; return the decision on the first symbol."""
    typed("export", imports, f"study={study}")
    printed = typed("predict", imports, f"study={study}", "json=true")
    decisions = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    exported = json.loads((folder / f"outputs/{study}/export/metadata.json").read_text())
    found = {name.split("_seed")[0] for name in (*exported["models"], *exported["trees"])}
    assert found <= set(decisions[0]["models"])
    assert found
    return decisions[0]


def metrics_of(folder: Path, study: str = "own") -> dict[str, Any]:
    return json.loads((folder / "outputs" / study / "evaluation/metrics.json").read_text())


def test_a_label_costs_and_an_ensemble(own: Run, typed: Run, refused: Run, tmp_path: Path) -> None:
    words = [own("own_label"), "label=beyond_costs"]
    typed("train", "-m", *TINY, *SMALL, *words, "label.round_trip_bps=4", "window=15m,30m")
    run = gc.load_run(tmp_path / "outputs/own/15m")
    assert run.config["label"]["round_trip_bps"] == 4
    rows = run.predictions
    moved = rows["forward_return"].abs() > 4e-4
    assert rows["label"].isna().equals(~moved)
    assert "label.round_trip" in refused("train", *TINY, *words, "label.round_trip=5")

    files = own("own_label", "own_costs", "own_ensemble")
    words = [files, "study=own", *QUICK, "ensemble.methods=[median]"]
    typed("evaluate", *words, "costs=volatility_spread", "costs.fee_bps=30")
    metrics = metrics_of(tmp_path)
    assert metrics["task"] == "direction"
    assert list(metrics["models"])[:3] == ["15m", "30m", "median"]
    assert metrics["config"]["evaluate"]["costs"]["fee_bps"] == 30
    assert metrics["models"]["median"]["net_bps"]["value"] < -30
    decision = decide_and_export(typed, tmp_path, files)
    p = [decision["models"][name]["p_up"] for name in ("15m", "30m")]
    assert decision["models"]["median"]["p_up"] == pytest.approx(np.median(p))


def test_a_label_of_three_classes(own: Run, typed: Run, tmp_path: Path) -> None:
    words = [own("own_three_classes"), "label=band", "label.band_bps=4"]
    typed("train", *TINY, *SMALL, *words)
    run = gc.load_run(tmp_path / "outputs/own/15m")
    columns = ["p_down", "p_flat", "p_up"]
    np.testing.assert_allclose(run.predictions[columns].sum(axis=1), 1, atol=1e-5)
    typed("evaluate", words[0], "study=own", *QUICK)
    metrics = metrics_of(tmp_path)
    assert metrics["task"] == "classification"
    assert len(metrics["confusion"]["15m"]) == 3
    decision = decide_and_export(typed, tmp_path, words[0])
    assert (decision["horizon"], decision["rules"]) == ("10min", None)
    forecast: dict[str, Any] = decision["models"]["15m"]
    assert set(forecast) == {"probabilities", "predicted"}
    p: dict[str, float] = forecast["probabilities"]
    assert (list(p), sum(p.values())) == (["down", "flat", "up"], pytest.approx(1))
    assert forecast["predicted"] == max(p, key=p.__getitem__)
    study, last = gc.load_study(tmp_path / "outputs/own"), run.predictions.iloc[-1]
    found = study.decide(gc.simulate(2 * 1440)[0].loc[: last["time"]]).models["15m"]
    assert found.position is None
    np.testing.assert_allclose([*found.probabilities.values()], list(last[columns]), atol=1e-5)


def test_a_network_a_field_and_an_image_kind(own: Run, typed: Run, tmp_path: Path) -> None:
    files = own("own_network", "own_field", "own_image")
    words = ["images.fields=[close,close_in_range]", "images.kinds=[gasf,distance]"]
    typed("train", *TINY, files, "model=two_layers", "model.network.hidden=8", *words)
    run = gc.load_run(tmp_path / "outputs/own/15m")
    assert len(run.settings.images.spec.channels) == 4
    model = run.model()
    assert isinstance(model, gc.GafClassifier)
    assert model.get_params()["network"] == {"kind": "two_layers", "hidden": 8}
    typed("evaluate", files, "study=own", *QUICK)
    assert "15m" in metrics_of(tmp_path)["models"]
    decide_and_export(typed, tmp_path, files)


def test_a_source_of_bars(own: Run, typed: Run, tmp_path: Path) -> None:
    words = [own("own_source"), "market=two_coins", "market.days=2", "model.rounds=20"]
    typed("train", *words, "model=xgboost")
    run = gc.load_run(tmp_path / "outputs/two_coins/xgboost")  # the study has the market's name
    assert list(run.config["bars"]) == ["ONE", "TWO"]
    assert list(gc.load_study(tmp_path / "outputs/two_coins").bars) == ["ONE", "TWO"]
    typed("evaluate", words[0], "study=two_coins", "judging.resamples=0")
    decision = decide_and_export(typed, tmp_path, words[0], "two_coins")
    assert decision["symbol"] == "ONE"


def test_own_parts_are_options_with_their_defaults(root: Path) -> None:
    examples = [*(root / "examples").glob("own_*.py")]
    assert max(len(path.read_text().splitlines()) for path in examples) < 45
    import_own([*map(str, examples)])
    found = {(group, name): node for group, name, _, node in own_options()}
    assert found["label", "beyond_costs"]["round_trip_bps"] == 20
    assert found["model", "two_layers"]["network"] == {"kind": "two_layers", "hidden": 32}
    assert found["market", "two_coins"]["study"] == "two_coins"
    assert found["costs", "volatility_spread"]["kind"] == "volatility_spread"
    import_own([str(root / "examples" / "own_label.py")])  # again
    assert pd.Timedelta(LABELS["beyond_costs"]().horizon) == pd.Timedelta("15min")


PLAIN = """
import numpy as np
import gafcnn as gc

@gc.register_costs("plain")
class Plain:
    def __init__(self, bps: float = 3, scale=np.float64, **more):
        self.bps, self.scale = bps, scale

    def per_side(self, bars, rows):
        return np.full(len(rows), self.scale(self.bps))

@gc.register_label("unused")
class Unused:
    classes = ("down", "up")

    def __init__(self, needed):
        self.kept = needed

@gc.register_label("ahead")
class Ahead:
    classes = ("down", "up")

    def outcomes(self, bars, rows):
        return gc.Direction("10min").outcomes(bars, rows)

    def assign(self, outcomes, train):
        return gc.Direction("10min").assign(outcomes, train)
"""


def test_plain_classes_have_their_arguments_as_options(
    study: Path, typed: Run, refused: Run, tmp_path: Path
) -> None:
    shutil.copytree(study / "outputs", tmp_path / "outputs")
    (tmp_path / "own_plain.py").write_text(PLAIN)
    words = ["study=tiny", "imports=own_plain.py", "judging.resamples=0"]
    typed("evaluate", *words, "costs=plain", "costs.bps=30")
    metrics = metrics_of(tmp_path, "tiny")
    assert metrics["config"]["evaluate"]["costs"] == {"kind": "plain", "bps": 30}
    assert metrics["models"]["15m"]["net_bps"]["value"] < -30
    assert "bps" in refused("evaluate", *words, "costs=plain", "costs.pbs=30")
    unused = ("train", "imports=own_plain.py", "market=simulated", "label=unused")
    assert "label.needed has no value" in refused(*unused)
    assert "no attribute needed" in refused(*unused, "label.needed=1")
    for word in ("label.horizon=30min", "split=chronological"):
        assert "finished study" in refused("evaluate", *words, word)


def test_a_label_need_not_say_how_far_ahead_it_looks(typed: Run, tmp_path: Path) -> None:
    (tmp_path / "own_ahead.py").write_text(PLAIN)
    words = ("imports=own_ahead.py", "study=own")
    trees = ("label=ahead", "model=xgboost", "model.rounds=5", "market=simulated", "market.days=2")
    typed("train", *words, *trees)
    typed("evaluate", *words, "judging.resamples=0")
    assert metrics_of(tmp_path)["horizon"] == "10min"
    assert decide_and_export(typed, tmp_path, words[0])["horizon"] == "10min"


def test_a_file_named_like_another_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    with pytest.raises(ConfigError, match="another module json"):
        import_own([str(tmp_path / "json.py")])
    (tmp_path / "own_failing.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        import_own([str(tmp_path / "own_failing.py")])
    assert "own_failing" not in sys.modules
