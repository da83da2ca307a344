"""Evaluate a study, or the user's own predictions, on test rows; write page, tables and metrics."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gafcnn.app.ledger import LOOK, record, recorded
from gafcnn.app.options import EvaluateOptions
from gafcnn.app.prepare import fingerprints, load
from gafcnn.app.runs import CONFIG, EVALUATION, METRICS, PREDICTIONS, hold, write_metrics
from gafcnn.app.studies import Study
from gafcnn.errors import ConfigError
from gafcnn.progress import counting
from gafcnn.settings import as_plain, create

if TYPE_CHECKING:
    from gafcnn.evaluation.judge import Judgement

SYMBOLS = "symbols"  # the folder of the evaluations of single symbols, if there are several

log = logging.getLogger(__name__)


def evaluate(options: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the models of a study, or tables of predictions, and write `<study>/evaluation/`.

    That is predictions.parquet, metrics.json, report.html, and its tables and figures; with several
    symbols, the same for each in `symbols/`. The baseline is trained first if the study has none.

    Args:
        options: The options of `conf/evaluate.yaml`.

    Returns:
        The content of metrics.json.

    Raises:
        RunError: A run is missing or not complete, the runs are of different bars, or another
            process evaluates the study.
        PredictionsError: Models are not about the same samples, or a table is invalid.
    """
    settings = create(EvaluateOptions, "", options)
    judging = {
        "rules": settings.rules,
        "resamples": settings.judging.resamples,
        "seed": settings.judging.seed,
    }
    tables = {path.stem: path for path in settings.predictions}
    if settings.study is None and tables:
        return _evaluate_tables(settings, tables, judging)
    study = Study(settings.folder, settings.windows)
    folder, methods = study.folder / EVALUATION, settings.ensemble.methods
    log.info("evaluating %s, writing to %s", ", ".join(study.runs), folder)
    with hold(folder):
        ahead = study.label.horizon
        study.train_baseline(settings.baseline if ahead else settings.pattern_baseline)
        with counting("judging", len(study.runs), "models") as advance:
            judgement = study.judge(
                predictions=tables,
                ensembles=methods,
                count_look=False,
                advance=advance,
                **judging,
            )
        from gafcnn.app.pictures import sample_pictures

        pictures = sample_pictures(study, judgement)
        study.count_look(judgement)
        runs = study.runs.items()
        facts = {
            "study": study.folder.name,
            "looks": study.looks,
            "stride": getattr(study.settings.split, "stride", 1),
            "embargo": study.all_runs[0].metrics["embargo"],
            "bars": fingerprints(study.bars),
            "config": {
                "evaluate": as_plain(settings),
                "runs": {name: of[0].config for name, of in runs},
                "seeds": {name: [run.config["seed"] for run in of] for name, of in runs},
            },
        }
        metrics = _publish(study.folder, judgement, facts, pictures)
        if settings.receipts:  # after all is written: they take minutes, and can be stopped
            from gafcnn.app.leakage import receipts

            for receipt in receipts(study, settings.rules, methods):
                result = "passed" if receipt["passed"] else "FAILED"
                log.info("%s: %s: %s", receipt["receipt"], result, receipt["found"])
                metrics.setdefault("receipts", []).append(receipt)
            _write(folder, judgement, metrics, pictures)
    return metrics


def _evaluate_tables(
    settings: EvaluateOptions, tables: Mapping[str, Path], judging: Mapping[str, Any]
) -> dict[str, Any]:
    """Judge tables of predictions alone, by the bars, the label and the split of the options."""
    from gafcnn.evaluation.judge import judge

    if settings.market is None:
        raise ConfigError(
            "predictions=... without bars",
            expected="the bars that they are about",
            instead="add market=file market.path=bars.parquet, or study=... for those of a study",
        )
    folder = settings.paths.outputs / next(iter(tables))
    if next(folder.rglob(CONFIG), None) is not None:
        raise ConfigError(
            f"{folder} is a study with runs, and the evaluation of the table would replace its own",
            expected="a table whose name is not that of a study",
            instead=f"rename the file, or add study={folder.name} to judge it beside the study",
        )
    bars, (label, split) = load(settings.market), (settings.label, settings.split)
    with hold(folder / EVALUATION):
        with counting("judging", len(tables), "models") as advance:
            judgement = judge(tables, bars, label=label, split=split, advance=advance, **judging)
        record(folder, LOOK, windows=[*tables], rows=judgement.metrics["rows"]["all"])
        facts = {
            "study": folder.name,
            "looks": recorded(folder, LOOK),
            "bars": fingerprints(bars),
            "config": {"evaluate": as_plain(settings), "runs": {}},
        }
        return _publish(folder, judgement, facts, ())


def _publish(
    folder: Path, judgement: Judgement, facts: Mapping[str, Any], samples: Sequence[Any]
) -> dict[str, Any]:
    """Write an evaluation and print its summary; return the content of metrics.json."""
    from gafcnn.report.console import show, summary_table

    metrics = {**judgement.metrics, **facts}
    shutil.rmtree(folder / EVALUATION / SYMBOLS, ignore_errors=True)
    for symbol, part in judgement.by_symbol.items():
        _write(folder / EVALUATION / SYMBOLS / symbol, part, {**part.metrics, **facts}, ())
    page = _write(folder / EVALUATION, judgement, metrics, samples)
    show(summary_table(metrics))
    for sentence in metrics["verdict"]:
        log.info("%s", sentence)
    log.info("look %d at the test rows of %s; report: %s", metrics["looks"], folder.name, page)
    return metrics


def _write(
    folder: Path, judgement: Judgement, metrics: Mapping[str, Any], samples: Sequence[Any]
) -> Path:
    """Write predictions, page, tables and figures, then metrics.json with their checksums."""
    from gafcnn.evaluation.predictions import write_predictions
    from gafcnn.report.page import write_report

    (folder / METRICS).unlink(missing_ok=True)  # without it, the evaluation is not complete
    write_predictions(folder / PREDICTIONS, judgement.predictions)
    page = write_report(folder, metrics, samples=samples)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(folder)) for path in files if not path.name.startswith(".")]
    write_metrics(folder, metrics, names)
    return page
