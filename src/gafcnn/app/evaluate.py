"""Evaluate a study, or the user's own predictions, on test rows; write page, tables and metrics."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.later import judge_later
from gafcnn.app.leakage import receipts
from gafcnn.app.options import EvaluateOptions
from gafcnn.app.prepare import fingerprints, load
from gafcnn.app.runs import CONFIG, EVALUATION, LATER, METRICS, PREDICTIONS, hold, write_metrics
from gafcnn.app.studies import Study, record_look
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.market_columns import with_market
from gafcnn.data.reading import FileSource
from gafcnn.data.windows import WindowReader
from gafcnn.errors import ConfigError, LearningError, RunError
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.predictions import probability_columns, read_table, write_predictions
from gafcnn.images.kinds import OHLC
from gafcnn.images.spec import ImageSpec
from gafcnn.report.charts import Picture, file_name
from gafcnn.report.console import show, summary_table
from gafcnn.report.page import write_report
from gafcnn.report.sample_pictures import Attributions, sample_image
from gafcnn.settings import as_plain, create

SYMBOLS = "symbols"  # the folder of the evaluations of single symbols, if there are several
KIND_NAMES = {  # for readers
    "gasf": "GASF",
    "gadf": "GADF",
    "markov": "Markov transition field",
    "recurrence": "Recurrence plot",
    "ohlc": "Bars",
}

log = logging.getLogger(__name__)


def evaluate(options: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a study or tables of predictions, and write `<study>/evaluation/`; return metrics.json.

    That is predictions.parquet, metrics.json, report.html, and its tables and figures; with several
    symbols, the same for each in `symbols/`. The baseline is trained first if the study has none.
    Options are those of `conf/evaluate.yaml`.

    Raises:
        RunError: A run is missing or not complete, the runs are of different bars, or another
            process evaluates the study.
        PredictionsError: Models are not about the same samples, or a table is invalid.
    """
    settings = create(EvaluateOptions, "", options)
    judging = {**as_plain(settings.judging), "progress": True}
    tables = {path.stem: read_table(path) for path in settings.predictions}
    if settings.study is None and tables:
        return _evaluate_tables(settings, tables, judging)
    study = Study(settings.folder, settings.windows)
    if settings.on:
        return _evaluate_later(study, settings, judging)
    ranking = study.is_ranking
    judging |= {"rules": settings.rules_of(study.label)}
    folder, methods = study.folder / EVALUATION, settings.ensemble.methods
    log.info("evaluating %s, writing to %s", ", ".join(study.runs), folder)
    with hold(folder):
        baseline = settings.baseline if study.horizon else settings.pattern_baseline
        study.train_baseline(settings.ranking_baseline if ranking else baseline)
        judging |= {"predictions": tables, "ensembles": methods}
        judgement = study.judge(count_look=False, **judging)
        pictures = [] if ranking else sample_pictures(study, judgement)
        record_look(study.folder, judgement, study.windows)  # nothing has been shown before
        facts = _facts(study, study.bars, as_plain(settings))
        _publish(study.folder, judgement, facts, pictures)
        if settings.receipts:  # after all is written: they take minutes, and can be stopped
            for receipt in receipts(study, settings.rules, methods):
                result = "passed" if receipt["passed"] else "FAILED"
                log.info("%s: %s: %s", receipt["receipt"], result, receipt["found"])
                judgement.metrics.setdefault("receipts", []).append(receipt)
            _write(folder, judgement, pictures)
    return judgement.metrics


def _evaluate_tables(
    settings: EvaluateOptions, tables: Mapping[str, pd.DataFrame], judging: Mapping[str, Any]
) -> dict[str, Any]:
    """Judge tables of predictions alone, by the bars, the label and the split of the options."""
    folder = settings.paths.outputs / next(iter(tables))
    if next(folder.rglob(CONFIG), None) is not None:
        found = f"{folder} is a study with runs, whose evaluation would be replaced"
        instead = f"rename the file, or add study={folder.name} to judge it beside the study"
        raise ConfigError(found, expected="a table with another name", instead=instead)
    bars, label = load(settings.market), settings.label
    options: Any = {"label": label, "split": settings.split, "rules": settings.rules_of(label)}
    judgement = judge(tables, bars, **options, **judging)
    with hold(folder / EVALUATION):
        record_look(folder, judgement, [*tables])
        config = {"evaluate": as_plain(settings), "runs": {}}
        _publish(folder, judgement, {"bars": fingerprints(bars), "config": config})
    return judgement.metrics


def _evaluate_later(
    study: Study, settings: EvaluateOptions, judging: Mapping[str, Any]
) -> dict[str, Any]:
    """Judge a finished study on bars that are later than its own."""
    own = study.settings.market
    symbols = study.bars.keys() if getattr(own, "symbols", None) else None  # before a download
    if settings.on_market:
        source, name = settings.market, "market"
    else:
        name = re.sub(r"[^\w.-]", "", settings.on[0].stem) or "bars"  # of a pattern
        source = FileSource(settings.on)
        if isinstance(own, FileSource):  # the same columns, time zone, ...
            names = own.symbols if 1 < len(settings.on) == len(own.symbols or ()) else None
            source = replace(own, path=settings.on, symbols=names)
    bars = load(source)
    if settings.after is not None:
        bars = {key: frame.loc[frame.index > settings.after] for key, frame in bars.items()}
    bars = {key: frame for key, frame in bars.items() if not symbols or key in symbols}
    judgement = judge_later(study, bars, **judging)
    first, last = (judgement.metrics[key][:10] for key in ("first", "last"))
    place = f"{LATER}/{name}_{first}_{last}"
    with hold(study.folder / place):
        record_look(study.folder, judgement, study.windows)
        facts = _facts(study, bars, as_plain(settings) | study.evaluated_options)
        _publish(study.folder, judgement, facts, (), place)
    return judgement.metrics


def _facts(
    study: Study, bars: Mapping[str, pd.DataFrame], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an evaluation was made with: the options of the command and of the runs."""
    return {
        "stride": getattr(study.settings.split, "stride", 1),
        "embargo": study.all_runs[0].metrics["embargo"],
        "bars": fingerprints(bars),
        "config": {
            "evaluate": options,
            "runs": {name: of[0].config for name, of in study.runs.items()},
            "seeds": {k: [run.config["seed"] for run in of] for k, of in study.runs.items()},
        },
    }


def _publish(
    folder: Path,
    judgement: Judgement,
    facts: Mapping[str, Any],
    samples: Sequence[Picture] = (),
    place: str = EVALUATION,
) -> None:
    """Add facts to the metrics of a judgement, write the evaluation and print its summary."""
    metrics = judgement.metrics
    facts = {"study": folder.name, "looks": metrics["looks"], **facts}
    for name in ("tables", "figures", SYMBOLS):  # of an earlier evaluation
        shutil.rmtree(folder / place / name, ignore_errors=True)
    for symbol, part in judgement.by_symbol.items():
        part.metrics.update(facts)
        _write(folder / place / SYMBOLS / symbol, part)
    metrics.update(facts)
    page = _write(folder / place, judgement, samples)
    show(summary_table(metrics))
    for sentence in metrics["verdict"]:
        log.info("%s", sentence)
    rows = "these later bars" if metrics.get("later") else "the test rows"
    log.info("look %d at %s of %s; report: %s", metrics["looks"], rows, folder.name, page)


def _write(folder: Path, judgement: Judgement, samples: Sequence[Picture] = ()) -> Path:
    """Write predictions, page, tables and figures, then metrics.json with their checksums."""
    (folder / METRICS).unlink(missing_ok=True)  # without it, the evaluation is not complete
    write_predictions(folder / PREDICTIONS, judgement.predictions)
    page = write_report(folder / "report.html", judgement.metrics, samples, files=True)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(folder)) for path in files if not path.name.startswith(".")]
    write_metrics(folder, judgement.metrics, names)
    return page


def sample_pictures(study: Study, judgement: Judgement) -> list[Picture]:
    """Draw for each window the surest right and the surest wrong test row of the first symbol."""
    symbol = next(iter(study.bars))
    table = judgement.predictions
    of_symbol = table.loc[(table["symbol"] == symbol) & (table["split"] == "test")]
    shown = []
    for name in study.windows:
        settings = study.runs[name][0].settings
        spec = settings.images.spec
        bars = with_market(study.bars, spec.read_fields)[symbol]
        read = WindowReader(bars, settings.window, spec.read_fields)
        rows = of_symbol.loc[of_symbol["window"] == name]
        for row in _most_certain(rows, study.label.classes):
            [at] = bars.index.get_indexer(pd.DatetimeIndex([row["time"]]))
            series, times = read(np.array([at])), pd.DatetimeIndex(bars.index[at + read.offsets])
            image = replace(spec, dtype="float32").encode(series)[0]
            fold = None if pd.isna(row["fold"]) else int(row["fold"])
            models = (run.model() for run in study.runs[name] if run.fold == fold)
            attributions = _attributions(name, models, series, spec, int(row["called"]))
            result = "correct" if row["right"] else "wrong"
            title = f"{name}, t = {times[-1]:%Y-%m-%d %H:%M} UTC: {row['description']}, {result}"
            field = spec.fields[0] if spec.fields[0] in read.fields else "close"
            values = pd.Series(series[0, read.fields.index(field)], times, name=field)
            names = channel_names(spec)
            channels = dict(zip(names, image, strict=False))
            upright = [n for n, c in zip(names, spec.channels, strict=False) if c[1] == OHLC]
            figure = sample_image(values, channels, title, attributions, upright)
            if attributions is not None:
                title += f"; {attributions.describe(times)}"
            place = file_name(f"sample_{len(shown) + 1}_{name}")
            shown.append(Picture.draw(place, title, figure))
    return shown


def _most_certain(rows: pd.DataFrame, classes: Sequence[str]) -> list[Any]:
    """Return the row that was predicted with most certainty and right, and that and wrong.

    They have the predicted class, a description, and whether it was right. Class 0 of several is
    not shown as a prediction.
    """
    if tuple(classes) == DIRECTIONS:
        p, ahead = rows["p_up"], rows["forward_return"]
        called, certainty, right = (p > 0.5).astype(int), (p - 0.5).abs(), (p > 0.5) == (ahead > 0)
        text = [f"P(up) {up:.1%}, then {by:+.2%}" for up, by in zip(p, ahead, strict=True)]
    else:
        rows = rows.dropna(subset=["label"])
        p, label = rows[[*probability_columns(rows)]].to_numpy(), rows["label"].to_numpy(np.int64)
        called, certainty = p.argmax(axis=1), p.max(axis=1)
        names = [name.replace("_", " ") for name in classes]
        each = zip(called, certainty, label, strict=True)
        text = [f"{names[one]} {share:.1%}, was {names[was]}" for one, share, was in each]
        certainty, right = np.where(called > 0, certainty, 0.0), called == label
    more = {"called": called, "certainty": certainty, "right": right, "description": text}
    shown = rows.assign(**more).query("certainty > 0")
    parts = [shown.loc[shown["right"] == right] for right in (True, False)]
    return [part.loc[part["certainty"].idxmax()] for part in parts if len(part)]


def _attributions(
    name: str, models: Iterable[Any], series: NDArray[np.float64], spec: ImageSpec, called: int
) -> Attributions | None:
    """Return the mean over the networks; None if one cannot be read, or captum is missing."""
    from gafcnn.models.explanations import explain  # imports torch

    try:
        found = [explain(one.module_, series, spec, np.array([called])) for one in models]
    except (ConfigError, LearningError, RunError) as error:
        log.warning("%s: predictions of %s are not explained", error.found, name)
        return None
    cams = [one.cam[0] for one in found if one.cam is not None]
    return Attributions(
        folded=np.mean([one.folded[0] for one in found], axis=0),
        occluded=np.mean([one.occluded[0] for one in found], axis=0),
        cam=np.mean(cams, axis=0) if cams else None,
    )


def channel_names(spec: ImageSpec) -> list[str]:
    """Return the names of the first two channels; with their field if it is not the first one."""
    names = [(field, KIND_NAMES.get(kind, kind)) for field, kind in spec.channels[:2]]
    first = (spec.fields[0], "bars")
    return [kind if field in first else f"{kind} of {field}" for field, kind in names]
