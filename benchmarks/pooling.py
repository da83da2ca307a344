"""Does it help to train on other symbols as well? One symbol alone, and in company, walk-forward.

python benchmarks/pooling.py bnb.parquet btc.feather eth.feather --symbols BNBUSDT,BTCUSDT,ETHUSDT

Trains a small CNN and boosted trees on the first file alone, and on all files; judges both on the
same test rows of the first, by paired differences. What was trained is kept in --folder: started
again, it goes on where it was. Each start that gets as far as judging is a look at the test rows.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig

from gafcnn.app.runs import LOOK, Run, load_run, record, recorded
from gafcnn.app.studies import looked_before, member_of
from gafcnn.app.train import train
from gafcnn.data.reading import write_bars
from gafcnn.data.sources import Market, from_file
from gafcnn.durations import parse_duration
from gafcnn.evaluation.bootstrap import Bootstrap, Estimate, block_length, difference, estimate
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.metrics import scores
from gafcnn.evaluation.statistics import auc
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules as Rules

CONF = Path(__file__).parents[1] / "conf"
MODELS = ("small_cnn", "xgboost")
ALONE, POOLED = "alone", "pooled"
FIGURES = {"auc": "AUC", "auc_labelled": "AUC, labelled rows", "log_loss": "log loss"}


def main() -> None:
    """Train, judge, print."""
    asked = _asked()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("lightning").setLevel(logging.WARNING)
    markets = cut([*map(from_file, asked.symbols.split(","), asked.files)])
    files = {
        market.symbol: asked.folder / "bars" / f"{market.symbol}.parquet" for market in markets
    }
    for market in markets:
        write_bars(files[market.symbol], market.bars)
    first = markets[0].symbol
    members = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for study, path in ((ALONE, [files[first]]), (POOLED, [*files.values()])):
            for model in MODELS:
                runs = [load_run(one) for one in trained(asked, study, model, path)]
                name = f"{model} {study}"
                members[name] = _member(name, first, runs)
                for seed in range(asked.seeds if model == "small_cnn" else 0):
                    of_seed = [run for run in runs if run.config["seed"] == seed]
                    members[f"{name} {seed}"] = _member(f"{name} {seed}", first, of_seed)
        horizon = compose("train").label.horizon
    ground = Ground.of(join(members), markets[0].bars, parse_duration("horizon", horizon), Rules())
    for study in (ALONE, POOLED):
        record(asked.folder / study, LOOK, rows=len(ground.test))
    print(f"{len(ground.test):,} test rows of {first}, {len(ground.folds)} folds")
    looks = recorded(asked.folder / POOLED, LOOK)
    for line in (*looked_before(looks), *told(ground, asked.resamples)):
        print(line)


def cut(markets: Sequence[Market]) -> list[Market]:
    """Markets that end when the first of them ends, so that alone and pooled have equal borders."""
    end = min(market.bars.index[-1] for market in markets)
    return [Market(market.symbol, market.bars.loc[:end]) for market in markets]


def trained(
    asked: argparse.Namespace, study: str, model: str, files: Sequence[Path]
) -> Iterator[Path]:
    """Train every fold and seed of a model; the runs' folders."""
    for fold in range(asked.folds):
        for seed in range(asked.seeds if model == "small_cnn" else 1):
            folder = asked.folder / study / model / f"seed={seed}" / f"fold={fold}"
            train(_config(asked, study, model, files, fold, seed), folder)
            yield folder


def _member(name: str, symbol: str, runs: Sequence[Run]) -> pd.DataFrame:
    """What runs forecast of one symbol, as one member."""
    return member_of(name, runs).query(f"symbol == '{symbol}'").assign(window=name)


def told(ground: Ground, resamples: int) -> Iterator[str]:
    """Each model alone, pooled, and the difference, with their intervals: a line each."""
    models = [f"{model} {study}" for model in MODELS for study in (ALONE, POOLED)]
    figures = {(name, key): of for name in models for key, of in scores(ground, name).items()}
    block = block_length([ground.hits(name) for name in models], ground.bin)
    bootstrap = Bootstrap(ground.bin, ground.n_bars, block, resamples)
    drawn = bootstrap.trusted(figures)
    n = len(ground.test)
    yield f"intervals: {resamples:,} resamples, blocks of {block:.1f} horizons on average"
    for model in MODELS:
        for key, name in FIGURES.items():
            alone, pooled = ((f"{model} {study}", key) for study in (ALONE, POOLED))
            one, other = (estimate(figures[of], drawn[of], n) for of in (alone, pooled))
            by = difference(figures[pooled], figures[alone], drawn[pooled], drawn[alone], n)
            yield (
                f"{model:10}{name:20}alone {_shown(one)}  pooled {_shown(other)}  "
                f"pooled less alone {_shown(by, '+.4f')}"
            )
        yield f"{model:10}{'AUC, by fold':20}" + "  ".join(_by_fold(ground, model))
        if seeds := "  ".join(_by_seed(ground, model)):
            yield f"{model:10}{'AUC, by seed':20}{seeds}"


def _by_fold(ground: Ground, model: str) -> Iterator[str]:
    for fold, rows in ground.folds.items():
        yield f"{fold}: {_auc(ground, f'{model} {ALONE}', rows)} -> " + _auc(
            ground, f"{model} {POOLED}", rows
        )


def _by_seed(ground: Ground, model: str) -> Iterator[str]:
    every = np.ones(len(ground.test), dtype=bool)
    for name in ground.test.columns:
        if name.startswith(f"{model} {ALONE} "):
            other = name.replace(ALONE, POOLED)
            seed = name.split()[-1]
            yield f"{seed}: {_auc(ground, name, every)} -> {_auc(ground, other, every)}"


def _auc(ground: Ground, name: str, rows: NDArray[np.bool_]) -> str:
    found = auc(ground.test[name].to_numpy()[rows], ground.up[rows])
    return "n/a" if found is None else f"{found:.4f}"


def _shown(found: Estimate, style: str = ".4f") -> str:
    if found.value is None or found.low is None or found.high is None:
        return "n/a"
    return f"{found.value:{style}} [{found.low:{style}}, {found.high:{style}}]"


def _config(
    asked: argparse.Namespace,
    study: str,
    model: str,
    files: Sequence[Path],
    fold: int,
    seed: int,
) -> DictConfig:
    options: Mapping[str, object] = {
        "market": "file",
        "market.path": f"[{','.join(map(str, files))}]",
        "window": asked.window,
        "model": model,
        "images.size": asked.size,
        "split": "walk_forward",
        "split.fold": fold,
        "split.folds": asked.folds,
        "split.first": asked.first,
        "split.stride": asked.stride,
        "trainer.max_epochs": asked.epochs,
        "seed": seed,
        "study": study,
        "callbacks.progress": "null",
        "logger.tensorboard": "null",
        "paths.data": asked.folder / "data",
        "paths.outputs": asked.folder,
    }
    return compose("train", [f"{key}={value}" for key, value in options.items()])


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="bars, of the symbol asked about first")
    parser.add_argument("--symbols", required=True, help="their names, in the same order")
    parser.add_argument("--folder", type=Path, default=Path("outputs/pooling"))
    parser.add_argument("--window", default="15m")
    parser.add_argument("--size", type=int, default=32, help="pixels of an image")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--first", type=float, default=0.6, help="share before the first test")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3, help="of the network")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--resamples", type=int, default=2000)
    asked = parser.parse_args()
    if len(asked.files) < 2 or len(asked.symbols.split(",")) != len(asked.files):
        parser.error("give two files or more, and a symbol for each in --symbols=ONE,ANOTHER")
    return asked


if __name__ == "__main__":
    main()
