"""Whether training on other symbols as well helps one symbol, walk-forward.

    python benchmarks/pooling.py bnb.parquet btc.feather eth.feather --symbols BNB,BTC,ETH

Trains a small CNN and boosted trees on the first file alone, and on all files; judges both on the
same test rows of the first symbol, with paired differences. Trained networks are kept in --folder:
a second run continues there. Each run that reaches the tables is a look at the test rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

import gafcnn as gc
from gafcnn.data.windows import as_window
from gafcnn.evaluation.joining import average_seeds

FIGURES = ("auc", "auc_labelled", "accuracy", "log_loss")


def main() -> None:
    """Train, judge, and print a table."""
    options = parse_options()
    bars = dict(zip(options.symbols, map(gc.read_bars, options.files), strict=True))
    end = min(frame.index[-1] for frame in bars.values())  # so that all folds have equal borders
    bars = {symbol: frame.loc[:end] for symbol, frame in bars.items()}
    first = options.symbols[0]
    trainings = {"alone": {first: bars[first]}, "pooled": bars}
    for model in ("small_cnn", "xgboost"):
        tables = {
            name: predictions(used, first, model, options, options.folder / name)
            for name, used in trainings.items()
        }
        judgement = gc.judge(tables, bars[first], baseline="alone", resamples=options.resamples)
        print_table(model, judgement)


def predictions(
    bars: dict[str, pd.DataFrame],
    symbol: str,
    model: str,
    options: argparse.Namespace,
    folder: Path,
) -> pd.DataFrame:
    """Train every fold and seed; return the predictions for one symbol, averaged over seeds."""
    tables = []
    for fold in range(options.folds):
        split = gc.WalkForward(fold, options.folds, options.first, stride=options.stride)
        samples = gc.make_samples(bars, split=split, lookback=as_window(options.window).lookback)
        for seed in range(options.seeds if model == "small_cnn" else 1):
            place = folder / model / f"seed={seed}" / f"fold={fold}"
            table = estimator(model, seed, place, options).fit(samples).predict(samples)
            tables.append(table[table["symbol"] == symbol])
    return average_seeds(tables).assign(symbol="")


def estimator(model: str, seed: int, folder: Path, options: argparse.Namespace) -> Any:
    """Return an estimator that has not been fitted."""
    if model == "xgboost":
        return gc.BoostedTrees(seed=seed)
    spec = gc.ImageSpec(options.size)
    return gc.GafClassifier(
        options.window, image_spec=spec, max_epochs=options.epochs, seed=seed, folder=folder
    )


def print_table(model: str, judgement: gc.Judgement) -> None:
    """Print the figures of both trainings, and the paired differences."""
    n = judgement.metrics["rows"]["all"]
    print(f"\n{model}, {n:,} test rows")
    print(f"{'':14}{'alone':28}{'pooled':28}pooled - alone")
    for figure in FIGURES:
        rows = [judgement.metrics["models"][name].get(figure) for name in ("alone", "pooled")]
        pairs = [
            pair
            for pair in judgement.metrics["pairs"]
            if (pair["a"], pair["b"], pair["figure"]) == ("pooled", "alone", figure)
        ]
        texts = [*map(interval, rows), *(interval(pair, "+.4f") for pair in pairs)]
        print(f"{figure:14}" + "".join(f"{text:28}" for text in texts))


def interval(estimate: Any, style: str = ".4f") -> str:
    """Return an estimate and its confidence interval as text."""
    if not estimate or None in (estimate["value"], estimate["low"], estimate["high"]):
        return "n/a"
    return "{} [{}, {}]".format(*(f"{estimate[key]:{style}}" for key in ("value", "low", "high")))


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="bars; the symbol in question first")
    parser.add_argument("--symbols", required=True, type=lambda text: text.split(","))
    parser.add_argument("--folder", type=Path, default=Path("outputs/pooling"))
    parser.add_argument("--window", default="15m")
    parser.add_argument("--size", type=int, default=32, help="pixels per side")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--first", type=float, default=0.6, help="share before the first test")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3, help="of the network")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--resamples", type=int, default=2000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
