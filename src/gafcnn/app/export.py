"""Export the models of a study: ONNX, safetensors, trees and ensembles as JSON, a model card.

outputs/<study>/export/
    <run>.onnx, <run>.safetensors   each network: `30m`, or `30m_seed=1_fold=2`
    <run>.json                      the trees, in XGBoost's own format
    ensembles.json                  members, parameters and thresholds, of the newest fold
    model_card.md                   for people
    metadata.json                   machine-readable; written last, with the checksums of all
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gafcnn.app.options import StudyOptions
from gafcnn.app.predict import Decider
from gafcnn.app.runs import EXPORT, LOOK, METADATA, Run, hold, recorded, write_metrics
from gafcnn.app.studies import Study
from gafcnn.atomic_io import canonical_json, write_bytes
from gafcnn.data.bars import fingerprint, gaps, interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.market_columns import with_market
from gafcnn.data.windows import WindowReader
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError
from gafcnn.models import onnx_export
from gafcnn.progress import counting
from gafcnn.report.page import model_card
from gafcnn.settings import as_plain, create

CARD, ENSEMBLES = "model_card.md", "ensembles.json"
COMPARED = 64  # images of each kind that an exported network is compared on

log = logging.getLogger(__name__)


def export(options: Mapping[str, Any]) -> Path:
    """Export the models of a study by `conf/export.yaml`; return the folder of the export.

    Networks are compared with torch.

    Raises:
        RunError: The study has no complete run, its bars have changed, or it is being exported.
        LearningError: An exported network predicts something else than the trained one.
    """
    settings = create(StudyOptions, "", options)
    study = Study(settings.folder, settings.windows)
    folder, decider = study.folder / EXPORT, Decider(study)
    described = {name: _describe(name, decider) for name in decider.names}
    with hold(folder):
        (folder / METADATA).unlink(missing_ok=True)  # without it, the export is not complete
        networks, trees, files = {}, {}, [CARD, ENSEMBLES]
        with counting("exporting", len(study.all_runs), "models") as advance:
            for run in study.all_runs:
                name = study.name_of(run)
                if run.is_network:
                    networks[name] = _export_network(folder, name, run, study)
                    files += [f"{name}.onnx", f"{name}.safetensors"]
                elif run.is_baseline:
                    write_bytes(folder / f"{name}.json", run.checkpoint.read_bytes())
                    model: Any = run.model()
                    found = {"file": f"{name}.json", "features": model.booster_.feature_names}
                    trees[name] = found | {"seed": run.settings.seed, "fold": run.fold}
                    files.append(f"{name}.json")
                else:
                    log.info("%s is not exported: neither a network nor trees", run.folder)
                advance(1)
        write_bytes(folder / ENSEMBLES, canonical_json(described))
        ensembles = {
            name: f"of {', '.join(fitted.members)}; see {ENSEMBLES}"
            for name, fitted in decider.ensembles.items()
        }
        facts = {**_facts(study), "models": networks, "trees": trees, "ensembles": ensembles}
        write_bytes(folder / CARD, model_card(facts).encode())
        for path in folder.iterdir():  # of an earlier export
            if path.suffix in (".onnx", ".safetensors", ".json") and path.name not in files:
                path.unlink()
        write_metrics(folder, facts, files, file=METADATA)
    largest = max((max(one["differences"].values()) for one in networks.values()), default=0)
    log.info(
        "%s: %d networks, within %.1g of torch, %d trees, %d ensembles; see %s",
        *(folder, len(networks), largest, len(trees), len(ensembles), folder / CARD),
    )
    return folder


def _export_network(folder: Path, name: str, run: Run, study: Study) -> dict[str, Any]:
    """Write a run's network; return its part of metadata.json."""
    settings, classes = run.settings, study.label.classes
    window, images = settings.window, settings.images.spec
    model: Any = run.model()
    text = {"run": name, "gafcnn": version("gafcnn"), "bars": str(run.config["bars"])}
    text["classes"] = ", ".join(classes)
    exported, shape = onnx_export.to_onnx(model, text), model.module_.image_shape
    drawn = np.random.default_rng(0).uniform(-1, 1, (COMPARED, *shape)).astype(np.float32)
    symbol, bars = next(iter(with_market(study.bars, images.read_fields).items()))
    times = run.predictions.query("symbol == @symbol")["time"].iloc[:COMPARED]
    series = WindowReader(bars, window, images.read_fields)(bars.index.get_indexer(times))
    compared = {
        "one image": drawn[:1],
        "random images": drawn,
        f"images of {symbol}": images.shown(series),
    }
    differences = {
        kind: onnx_export.largest_difference(exported, model, x) for kind, x in compared.items()
    }
    write_bytes(folder / f"{name}.onnx", exported)
    write_bytes(folder / f"{name}.safetensors", onnx_export.to_safetensors(model, text))
    interval, direction = interval_of(bars), classes == DIRECTIONS
    return {
        "onnx": f"{name}.onnx",
        "safetensors": f"{name}.safetensors",
        "checkpoint": run.checksum,
        "input": {"name": "images", "shape": ["batch", *shape]},
        "output": {
            "name": onnx_export.P_UP if direction else onnx_export.PROBABILITIES,
            "shape": ["batch"] if direction else ["batch", len(classes)],
            "of": "P(up)" if direction else f"the probabilities of {', '.join(classes)}",
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
        # without matrices
        "validation": {
            rows: {key: value for key, value in of.items() if not isinstance(value, list | dict)}
            for rows, of in run.metrics["val"].items()
        },
        "config": run.config,
    }


def _describe(name: str, decider: Decider) -> dict[str, Any]:
    """Return the members, parameters and thresholds of a model or an ensemble as plain data."""
    fitted = decider.ensembles.get(name)
    try:
        parameters = json.dumps(fitted and fitted.parameters, default=lambda array: array.tolist())
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the parameters of the ensemble {name} cannot be written as JSON ({error})",
            expected="numbers, strings, arrays, lists or mappings of these",
            instead=f"change what the fit of {name} returns",
        ) from error
    return {
        "members": list(fitted.members) if fitted else [],
        "method": fitted.method if fitted else None,
        "parameters": json.loads(parameters),
        "thresholds": {k: of[name] for k, of in decider.thresholds.items() if name in of},
    }


def _facts(study: Study) -> dict[str, Any]:
    """Return metadata.json, without the models."""
    label, direction = study.label, study.label.classes == DIRECTIONS
    asks = "the probability of " + ("up against down" if direction else "each class")
    asks += f", {format_duration(study.horizon)} ahead" if study.horizon else ""
    kind = as_plain(label).get("kind", type(label).__name__)
    return {
        "study": study.folder.name,
        "version": version("gafcnn"),
        "opset": onnx_export.OPSET,
        "tolerance": onnx_export.TOLERANCE,
        "kind": "direction" if direction else "classification",
        "classes": list(label.classes),
        "asks": f"{asks}, by the label {kind}",
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
        "evaluation": _evaluation(study),
    }


def _evaluation(study: Study) -> dict[str, Any] | None:
    """Return what the study's evaluation says, unless it evaluated other runs."""
    evaluated = study.evaluation
    if evaluated is None:
        return None
    runs = evaluated["config"]["runs"]
    if others := [name for name, found in study.runs.items() if runs.get(name) != found[0].config]:
        text = "the evaluation was of another %s, so the card leaves it out; evaluate again"
        log.warning(text, others[0])
        return None
    shown = {key: evaluated[key] for key in ("first", "last", "verdict", "models")}
    return shown | {"looks": recorded(study.folder, LOOK)}
