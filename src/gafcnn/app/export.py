"""The networks of a study as files for others: ONNX, safetensors, and a card that tells of them.

outputs/<study>/export/
    <run>.onnx, <run>.safetensors   of each run of a window: `30m`, or `30m_seed=1_fold=2`
    model_card.md                   for people
    metadata.json                   for programs; written last, with the checksums of all
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.checks import check_export
from gafcnn.app.factory import load_spec, load_window
from gafcnn.app.leakage_future import images_at
from gafcnn.app.runs import EVALUATION, EXPORT, LOOK, METRICS, Run, holding, recorded, write_metrics
from gafcnn.app.studies import (
    Runs,
    chosen,
    classes_asked,
    fold_of,
    markets_of,
    names,
    windows_of,
)
from gafcnn.app.trust import TARGET
from gafcnn.atomic_io import read_sealed, write_bytes, write_text
from gafcnn.data.bars import fingerprint, gaps, interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.sources import Market
from gafcnn.durations import format_duration
from gafcnn.errors import RunError
from gafcnn.models.module import GafModule
from gafcnn.models.onnx_export import (
    OPSET,
    TOLERANCE,
    checked,
    input_shape,
    output_of,
    to_onnx,
    weights_of,
)
from gafcnn.progress import counting
from gafcnn.report.card import model_card

CARD, METADATA = "model_card.md", "metadata.json"
COMPARED = 64  # images of each kind that the runtimes are compared on

log = logging.getLogger(__name__)


def export(cfg: DictConfig) -> Path:
    """Write each network of a study as ONNX and safetensors, compared with torch, and a model card.

    Args:
        cfg: `conf/export.yaml`, composed.

    Returns:
        The folder, `outputs/<study>/export`.

    Raises:
        RunError: The study has no finished run of a window, its bars have changed, or another
            process exports it.
        LearningError: An exported network says something else than the trained one.
    """
    check_export(cfg)
    study = Path(cfg.paths.outputs, cfg.study)
    runs = chosen(study, None if cfg.windows is None else names(cfg, "windows"))
    exported = [run for name in windows_of(runs) for run in runs[name]]
    if not exported:
        raise RunError(
            f"study {cfg.study} has trees alone, which XGBoost reads as they lie in their run",
            expected="a finished run of a window",
            instead=f"train one with python train.py window=30m study={cfg.study}",
        )
    markets, folder = markets_of(runs), study / EXPORT
    with holding(folder):
        (folder / METADATA).unlink(missing_ok=True)  # until all of it is there, none is finished
        models, files = {}, []
        with counting("exporting", len(exported), "networks") as advance:
            for run in exported:
                name = run.folder.relative_to(study).as_posix().replace("/", "_")
                models[name] = _exported(folder, name, run, markets, classes_asked(runs))
                files += [models[name]["onnx"], models[name]["safetensors"]]
                advance(1)
        facts = _facts(cfg, study, runs, markets, models)
        write_text(folder / CARD, model_card(facts))
        _remove_others(folder, files)
        write_metrics(folder, facts, *files, CARD, into=METADATA)
    apart = max(max(one["differences"].values()) for one in models.values())
    log.info(
        "%s: %d networks, within %.1g of torch; %s says what they are",
        folder, len(models), apart, folder / CARD,
    )  # fmt: skip
    return folder


def _exported(
    folder: Path, name: str, run: Run, markets: Sequence[Market], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Write a run's network; what metadata.json says of it."""
    module, folded = _network(run), _network(run)
    told = {
        "run": name,
        "gafcnn": version("gafcnn"),
        "bars": str(run.config["bars"]),
        "classes": ", ".join(classes),
    }
    weights, model = weights_of(module, told), to_onnx(folded, told)
    shape = input_shape(module)
    differences = checked(model, module, _images(run, markets, shape))
    files = {"onnx": f"{name}.onnx", "safetensors": f"{name}.safetensors"}
    write_bytes(folder / files["onnx"], model)
    write_bytes(folder / files["safetensors"], weights)

    config = OmegaConf.create(run.config)
    images, window = load_spec(config), load_window(config, markets[0])
    points = window.points(interval_of(markets[0].bars))
    directions = classes == DIRECTIONS
    return {
        **files,
        "input": {"name": "images", "shape": ["batch", *shape]},
        "output": {
            "name": output_of(module),
            "shape": ["batch"] if directions else ["batch", len(classes)],
            "of": "P(up)" if directions else f"the probabilities of {', '.join(classes)}",
        },
        "channels": [list(channel) for channel in images.channels],
        "images": {**images.options, "scale": images.scale},
        "window": {
            "name": window.name,
            "points": points,
            "step": format_duration(window.span // points),
            "lookback": format_duration(window.lookback),
        },
        "network": run.config["model"]["network"],
        "parameters": sum(value.numel() for value in module.network.parameters()),
        "seed": run.config["seed"],
        "fold": fold_of(run),
        "differences": differences,
        "validation": _validation(run),
        "config": run.config,
    }


def _network(run: Run) -> GafModule:
    module = run.model()
    assert isinstance(module, GafModule)
    return module


def _images(
    run: Run, markets: Sequence[Market], shape: tuple[int, int, int]
) -> dict[str, NDArray[np.float32]]:
    """What to compare runtimes on: one image, some at random, some of the run's own bars."""
    drawn = np.random.default_rng(0).uniform(-1, 1, (COMPARED, *shape)).astype(np.float32)
    market, rows = markets[0], run.predictions
    times = rows.loc[rows["symbol"] == market.symbol, "time"].iloc[:COMPARED]
    own = images_at(run, market, market.bars.index.get_indexer(times))
    return {"one image": drawn[:1], "random images": drawn, f"images of {market.symbol}": own}


def _validation(run: Run) -> dict[str, dict[str, Any]]:
    """What the run's validation came to, by rows: figures alone, no matrices."""
    return {
        rows: {key: value for key, value in of.items() if not isinstance(value, list | dict)}
        for rows, of in run.metrics["val"].items()
    }


def _facts(
    cfg: DictConfig,
    study: Path,
    runs: Runs,
    markets: Sequence[Market],
    models: Mapping[str, Any],
) -> dict[str, Any]:
    """What metadata.json says."""
    classes, first = classes_asked(runs), next(iter(runs.values()))[0]
    horizon = first.config["label"].get("horizon")
    label = first.config["label"][TARGET].rpartition(".")[2]
    directions = classes == DIRECTIONS
    return {
        "study": cfg.study,
        "version": version("gafcnn"),
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "kind": "direction" if directions else "patterns",
        "classes": list(classes),
        "asks": f"the probability of up against down, {horizon} ahead, by the label {label}"
        if directions
        else f"the probability that the last bar is of each class, by the label {label}",
        "symbols": [market.symbol for market in markets],
        "interval": format_duration(interval_of(markets[0].bars)),
        "data": {
            market.symbol: {
                "fingerprint": fingerprint(market.bars),
                "bars": len(market.bars),
                "first": market.bars.index[0].isoformat(),
                "last": market.bars.index[-1].isoformat(),
                "gaps": len(gaps(market.bars)),
            }
            for market in markets
        },
        "models": dict(models),
        "evaluation": _evaluation(study, runs),
    }


def _evaluation(study: Path, runs: Runs) -> dict[str, Any] | None:
    """What the study's evaluation says of the windows; None where there is none of these runs."""
    judged, windows = read_sealed(study / EVALUATION / METRICS), windows_of(runs)
    if judged is None:
        return None
    of = judged["config"]["runs"]
    if others := [name for name in windows if of.get(name) != runs[name][0].config]:
        log.warning(
            "%s judged another %s: the card says nothing of it; evaluate the study again",
            study / EVALUATION, others[0],
        )  # fmt: skip
        return None
    return {
        **{key: judged[key] for key in ("first", "last", "verdict")},
        "looks": recorded(study, LOOK),
        "models": {name: judged["models"][name] for name in windows if name in judged["models"]},
    }


def _remove_others(folder: Path, files: Sequence[str]) -> None:
    """Remove networks of an earlier export that this one does not have."""
    for kind in ("*.onnx", "*.safetensors"):
        for path in folder.glob(kind):
            if path.name not in files:
                path.unlink()
