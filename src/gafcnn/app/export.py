"""Export the models of a study: ONNX, safetensors, trees and ensembles as JSON, a model card.

outputs/<study>/export/
    <run>.onnx, <run>.safetensors   each network: `30m`, or `30m_seed=1_fold=2`
    <run>.json                      the trees, in XGBoost's own format
    ensembles.json                  members, parameters and thresholds, of the newest fold
    model_card.md                   for people
    metadata.json                   for programs; written last, with the checksums of all
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from gafcnn.app.decisions import Decider, export_name
from gafcnn.app.ledger import LOOK, recorded
from gafcnn.app.run_folder import (
    BEST,
    CHECKSUMS,
    EVALUATION,
    EXPORT,
    METADATA,
    METRICS,
    hold,
    write_metrics,
)
from gafcnn.app.runs import Run
from gafcnn.app.studies import Study
from gafcnn.app.study_settings import StudyOptions
from gafcnn.atomic_io import canonical_json, read_sealed, write_bytes, write_text
from gafcnn.data.bars import fingerprint, gaps, interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.windows import WindowReader
from gafcnn.durations import format_duration
from gafcnn.models.onnx_export import (
    OPSET,
    P_UP,
    PROBABILITIES,
    TOLERANCE,
    largest_difference,
    to_onnx,
    to_safetensors,
)
from gafcnn.progress import counting
from gafcnn.report.card import model_card
from gafcnn.settings import as_plain, create

if TYPE_CHECKING:
    from gafcnn.models.classifier import GafClassifier

CARD, ENSEMBLES = "model_card.md", "ensembles.json"
COMPARED = 64  # images of each kind that an exported network is compared on

log = logging.getLogger(__name__)


def export(options: Mapping[str, Any]) -> Path:
    """Export the models of a study; networks are compared with torch.

    Args:
        options: The options of `conf/export.yaml`.

    Returns:
        The folder, `outputs/<study>/export`.

    Raises:
        RunError: The study has no complete run, its bars have changed, or another process exports
            it.
        LearningError: An exported network predicts something else than the trained one.
    """
    settings = create(StudyOptions, "", options)
    study = Study(settings.folder, settings.windows)
    folder, decider = study.folder / EXPORT, Decider(study)
    networks = [run for name in study.windows for run in study.runs[name]]
    trees = study.runs.get(study.baseline or "", [])
    with hold(folder):
        (folder / METADATA).unlink(missing_ok=True)  # without it, the export is not complete
        facts = _facts(study)
        with counting("exporting", len(networks) + len(trees), "models") as advance:
            for run in networks:
                name = export_name(study, run)
                facts["models"][name] = _export_network(folder, name, run, study)
                advance(1)
            for run in trees:
                name = export_name(study, run)
                write_bytes(folder / f"{name}.json", run.checkpoint.read_bytes())
                facts["trees"][name] = {
                    "file": f"{name}.json",
                    "seed": run.settings.seed,
                    "fold": run.fold,
                    "features": _features(run),
                }
                advance(1)
        described = {name: _describe(name, decider) for name in decider.names}
        write_bytes(folder / ENSEMBLES, canonical_json(described))
        facts["ensembles"] = {
            name: f"of {', '.join(one['members'])}; see {ENSEMBLES}"
            for name, one in described.items()
            if one["members"]
        }
        write_text(folder / CARD, model_card(facts))
        files = [one[key] for one in facts["models"].values() for key in ("onnx", "safetensors")]
        files += [one["file"] for one in facts["trees"].values()]
        for kind in ("*.onnx", "*.safetensors", "*.json"):
            for path in folder.glob(kind):  # of an earlier export
                if path.name not in (*files, ENSEMBLES):
                    path.unlink()
        write_metrics(folder, facts, (*files, ENSEMBLES, CARD), file=METADATA)
    apart = [max(one["differences"].values()) for one in facts["models"].values()]
    log.info(
        "%s: %d networks%s, %d trees, %d ensembles; see %s",
        folder, len(networks), f", within {max(apart):.1g} of torch" if apart else "",
        len(trees), len(facts["ensembles"]), folder / CARD,
    )  # fmt: skip
    return folder


def _export_network(folder: Path, name: str, run: Run, study: Study) -> dict[str, Any]:
    """Write a run's network; return its part of metadata.json."""
    settings, model = run.settings, cast("GafClassifier", run.model())
    text = {
        "run": name,
        "gafcnn": version("gafcnn"),
        "bars": str(run.config["bars"]),
        "classes": ", ".join(study.label.classes),
    }
    exported, shape = to_onnx(model, text), model.module_.image_shape
    differences = {
        kind: largest_difference(exported, model, images)
        for kind, images in _images(run, study, shape).items()
    }
    files = {"onnx": f"{name}.onnx", "safetensors": f"{name}.safetensors"}
    write_bytes(folder / files["onnx"], exported)
    write_bytes(folder / files["safetensors"], to_safetensors(model, text))

    window, images = settings.window, settings.images.spec
    interval = interval_of(next(iter(study.bars.values())))
    several = study.label.classes != DIRECTIONS
    return {
        **files,
        "checkpoint": run.metrics[CHECKSUMS][BEST],
        "input": {"name": "images", "shape": ["batch", *shape]},
        "output": {
            "name": PROBABILITIES if several else P_UP,
            "shape": ["batch", len(study.label.classes)] if several else ["batch"],
            "of": f"the probabilities of {', '.join(study.label.classes)}" if several else "P(up)",
        },
        "channels": [list(channel) for channel in images.channels],
        "images": {**as_plain(images), "scale": images.scale},
        "window": {
            "name": window.name,
            "points": window.count_points(interval),
            "step": format_duration(window.step_of(interval)),
            "lookback": format_duration(window.lookback),
        },
        "network": run.config["model"]["network"],
        "parameters": sum(value.numel() for value in model.module_.network.parameters()),
        "seed": settings.seed,
        "fold": run.fold,
        "differences": differences,
        "validation": _validation(run),
        "config": run.config,
    }


def _images(run: Run, study: Study, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
    """Return images to compare an exported network on: one, random ones, and some of the bars."""
    drawn = np.random.default_rng(0).uniform(-1, 1, (COMPARED, *shape)).astype(np.float32)
    symbol, bars = next(iter(study.bars.items()))
    rows = run.predictions
    times = rows.loc[rows["symbol"] == symbol, "time"].iloc[:COMPARED]
    spec = run.settings.images.spec
    series = WindowReader(bars, run.settings.window, spec.fields)(bars.index.get_indexer(times))
    return {
        "one image": drawn[:1],
        "random images": drawn,
        f"images of {symbol}": spec.shown(series),
    }


def _features(run: Run) -> list[str]:
    """Return the names of the features of trees, in order."""
    import xgboost

    booster = xgboost.Booster(model_file=run.checkpoint)
    return [*(booster.feature_names or ())]


def _describe(name: str, decider: Decider) -> dict[str, Any]:
    """Return the members, parameters and thresholds of a model or an ensemble as plain data."""
    fitted = decider.ensembles.get(name)
    return {
        "members": list(fitted.members) if fitted else [],
        "method": fitted.method if fitted else None,
        "parameters": _plain(fitted.parameters) if fitted else None,
        "thresholds": {
            symbol: thresholds[name]
            for symbol, thresholds in decider.thresholds.items()
            if name in thresholds
        },
    }


def _plain(value: Any) -> Any:
    """Return fitted parameters as data for JSON; others, of own ensembles, as their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else repr(value)


def _validation(run: Run) -> dict[str, dict[str, Any]]:
    """Return the run's scores on validation, by rows; matrices are left out."""
    return {
        rows: {key: value for key, value in of.items() if not isinstance(value, list | dict)}
        for rows, of in run.metrics["val"].items()
    }


def _facts(study: Study) -> dict[str, Any]:
    """Return metadata.json, without the models."""
    label, direction = study.label, study.label.classes == DIRECTIONS
    kind = as_plain(label).get("kind", type(label).__name__)
    horizon = format_duration(label.horizon)
    ahead = f", {horizon} ahead" if label.horizon else ""
    return {
        "study": study.folder.name,
        "version": version("gafcnn"),
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "kind": "direction" if direction else "classification",
        "classes": list(label.classes),
        "asks": f"the probability of up against down, {horizon} ahead, by the label {kind}"
        if direction
        else f"the probability of each class{ahead}, by the label {kind}",
        "symbols": [*study.bars],
        "interval": format_duration(interval_of(next(iter(study.bars.values())))),
        "data": {
            symbol: {
                "fingerprint": fingerprint(bars),
                "bars": len(bars),
                "first": bars.index[0].isoformat(),
                "last": bars.index[-1].isoformat(),
                "gaps": len(gaps(bars)),
            }
            for symbol, bars in study.bars.items()
        },
        "models": {},
        "trees": {},
        "evaluation": _evaluation(study),
    }


def _evaluation(study: Study) -> dict[str, Any] | None:
    """Return what the study's evaluation says, unless it evaluated other runs."""
    evaluated = read_sealed(study.folder / EVALUATION / METRICS)
    if evaluated is None:
        return None
    runs = evaluated["config"]["runs"]
    if others := [name for name, found in study.runs.items() if runs.get(name) != found[0].config]:
        log.warning(
            "%s evaluated another %s, so the card leaves it out; evaluate the study again",
            study.folder / EVALUATION, others[0],
        )  # fmt: skip
        return None
    return {
        **{key: evaluated[key] for key in ("first", "last", "verdict", "models")},
        "looks": recorded(study.folder, LOOK),
    }
