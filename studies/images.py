"""Run the study of docs/studies/plan.md: train, look once at the test rows, and write the tables.

    python studies/images.py FOLDER [--quick] [--jobs 2]

The folder has the bars: perp-30m, perp-15m, spot-1h-taker and us-stocks-daily-2015-2018.parquet.
Run it in the root of the repository; a command that was stopped resumes. Studies are written to
outputs/, results to outputs/images/. With --quick it tries all steps on few symbols and one epoch,
in outputs-quick/; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import gafcnn as gc
from gafcnn.app.runs import TRAINING, recorded
from gafcnn.app.studies import Study, record_look
from gafcnn.data.bars import EXTRAS
from gafcnn.evaluation.portfolio import PortfolioTrial

Words = tuple[str, ...]
Tables = Mapping[str, pd.DataFrame]
Score = Mapping[str, float]

CNN: Words = (
    "model=small_cnn", "images=on_the_fly", "trainer.max_epochs=4", "trainer.patience=2",
    "trainer.accelerator=cpu", "seed=0,1",
)  # fmt: skip
LARGE: Words = (
    "images=on_the_fly", "trainer.max_epochs=3", "trainer.accelerator=cpu", "split.stride=4",
    "seed=0,1", "window=64x60m", "window.lookback=320h",
)  # fmt: skip
LITE: Words = (*LARGE, "imports=[studies/efficientnet_lite0.py]", "model=efficientnet_lite0")
TREES: Words = ("model=xgboost_cross_section",)
SHORT: Words = ("window=64x30m", "window.lookback=320h")
KEY = ["symbol", "time", "fold", "split"]
RULES = {
    "tenths": {"quantile": 0.1},
    "thirds": {"quantile": 1 / 3},
    "linear": {"weights": "rank"},
    "inverse volatility": {"sizing": "inverse_volatility"},
    "wide bands": {"bands": (0.0, 0.5, 1.0, 1.5), "smoothings": (0.0, 0.5, 0.8, 0.9, 0.95)},
}
"""Portfolios that question (a) tries, beside fifths with the default bands."""


@dataclass(frozen=True)
class Part:
    """One study: its market, label and split as options, and those of each of its models."""

    name: str
    words: Words
    models: Mapping[str, Words]
    cost_bps: float = 5.0
    folds: int = 4
    joined: Words = ("gaf",)  # the networks that two_stage joins with the trees
    # models by the one that they are compared with, besides the comparisons of every evaluation
    comparisons: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The final model of question (a), and what was tried on validation rows."""

    study: Study
    model: str
    portfolio: str
    table: pd.DataFrame
    rules: Mapping[str, Any]
    tried: Mapping[str, Mapping[str, Score]]


class Images:
    """The study: its parts, and what is computed of their runs.

    Args:
        data: Folder of the bars.
        quick: Whether to try all steps on little data.
    """

    def __init__(self, data: Path, *, quick: bool) -> None:
        self.data, self.quick = data, quick
        self.outputs = Path("outputs-quick" if quick else "outputs")
        self.results = self.outputs / "images"
        self.results.mkdir(parents=True, exist_ok=True)

    # --- what is trained --------------------------------------------------------------------------

    @cached_property
    def parts(self) -> list[Part]:
        """The studies of the plan."""
        return [
            *self._perpetuals(), *self._trials(), self._large(), *self._other_markets(),
            *self._pooling(),
        ]  # fmt: skip

    def _perpetuals(self) -> Iterator[Part]:
        market = self._files("perp-30m")
        for horizon, every, window, stride in (
            ("1D", "8h", ("window=20x8h",), 1),
            ("3D", "8h", ("window=20x8h",), 1),
            ("4h", "4h", SHORT, 2),
            ("1h", "4h", SHORT, 2),
        ):
            models = _rivals("20x8h") | {
                "minirocket": ("model=minirocket", *window),
                "gaf": (*CNN, *window, f"split.stride={stride}"),
            }
            words = (*market, *_ranked(horizon, every))
            comparisons = {}
            if horizon == "1D":
                comparisons = {
                    "gaf": ("minirocket", "bars", "gaf_fixed", "gaf_market"),
                    "64x60m": ("three",),
                    "trees_rocket": ("trees_rocket_fixed",),
                }
                models |= {
                    "bars": (*CNN, *window, "model=small_cnn_bars"),
                    "gaf_fixed": (*CNN, *window, "images.scaling=fixed"),
                    "gaf_market": (*CNN, *window, "images.fields=[close,relative_close]"),
                    "64x30m": (*CNN, *SHORT),
                    "64x60m": (*CNN, "window=64x60m", "window.lookback=320h"),
                    "64x2h": (*CNN, "window=64x60m", "window.step=2h", "window.lookback=320h"),
                    "residual": (*CNN, *window, "model@offset=xgboost_cross_section"),
                }
            yield Part(f"perp-{horizon.lower()}", words, models, comparisons=comparisons)

    def _large(self) -> Part:
        pretrained, random = (
            (f"model.weights={start}", f"model.lr={rate}")
            for start, rate in (("imagenet", 3e-4), ("null", 1e-3))
        )
        frozen = "model.network.freeze=[stem,stage1,stage2,stage3]"
        models = {
            "lite0_pretrained": (*LITE, *pretrained),
            "lite0_random": (*LITE, *random),
            "lite0_frozen": (*LITE, *pretrained, frozen),
            "resnet18": (*LARGE, "model=resnet18", "model.weights=null"),
        }
        comparisons = {"lite0_random": ["lite0_pretrained"], "lite0_pretrained": ["lite0_frozen"]}
        words = (*self._files("perp-30m"), *_ranked("1D", "1D"))
        return Part("large-1d", words, models, joined=tuple(models), comparisons=comparisons)

    def _trials(self) -> Iterator[Part]:
        """Yield what only question (a) needs; its test rows are not looked at."""
        market, window = self._files("perp-30m"), "window=20x8h"
        for name, every, more in (
            ("often", "2h", ()),
            ("ranking", "8h", ("model.objective=ranking",)),
            ("plain", "8h", ("model.features=indicators",)),
            ("rank", "8h", ("label=rank",)),
        ):
            models = {"xgboost": (*TREES, window, *more)}
            yield Part(f"trial-{name}", (*market, *_ranked("1D", every)), models, joined=())

    def _other_markets(self) -> Iterator[Part]:
        symbols = "AAPL,ABT,ADBE,AMGN,AXP,BA,BAC,CAT,CSCO,CVX,DIS,GE,HD,IBM,INTC,JNJ"
        words = (
            "market=file", f"market.path={self.data / 'us-stocks-daily-2015-2018.parquet'}",
            "market.timezone=America/New_York", "market.columns.close='Adj Close'",
            "market.repair=drop", "split.embargo=7D", *_ranked("5D", "5D"),
            *(f"market.symbols=[{symbols}]" for _ in range(self.quick)),
        )  # fmt: skip
        window = "window=20x1d"
        models = _rivals("20x1d") | {
            "minirocket": ("model=minirocket", window),
            "gaf": (*CNN, window),
            "bars": (*CNN, window, "model=small_cnn_bars"),
        }
        comparisons = {"gaf": ("minirocket", "bars")}
        yield Part("stocks-5d", words, models, cost_bps=3.0, comparisons=comparisons)
        window, split = "window=64x60m", ("split.first=0.4", "split.folds=3")
        takers = "images.fields=[close,taker_buy_share]"
        models = {"xgboost": (*TREES, window), "gaf": (*CNN, window, "split.stride=2")}
        spot, plain = self._files("spot-1h-taker"), self._without_takers()
        words = (*_ranked("4h", "4h"), *split)
        of_takers = models | {"gaf_taker": (*models["gaf"], takers)}
        comparisons = {"xgboost_plain": ["xgboost"], "gaf": ["gaf_taker"]}
        yield Part(
            "spot-4h", (*spot, *words), of_takers, cost_bps=10.0, folds=3, comparisons=comparisons
        )
        alone = {"xgboost": models["xgboost"]}
        yield Part("spot-4h-plain", (*plain, *words), alone, folds=3, joined=())

    def _pooling(self) -> Iterator[Part]:
        words = (
            "label=direction", "label.horizon=4h", "split=walk_forward", "split.stride=16",
            "window=64x15m",
        )  # fmt: skip
        models = {"gaf": CNN, "xgboost": ("model=xgboost",)}
        files = sorted((self.data / "perp-15m").glob("*.parquet"))[: 2 if self.quick else None]
        yield Part("pooled", (*_market(files), *words), models, joined=())
        for path in files:
            yield Part(f"single-{path.stem}", (*_market([path]), *words), models, joined=())

    def _files(self, folder: str) -> Words:
        files = sorted((self.data / folder).glob("*.parquet"))
        return _market(files[:8] if self.quick else files)

    def _without_takers(self) -> Words:
        folder = self.outputs / "bars"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            paths = sorted((self.data / "spot-1h-taker").glob("*.parquet"))
            for path in paths[: 8 if self.quick else None]:
                bars = gc.read_bars(path, repair="drop")
                gc.write_bars(folder / path.name, bars.drop(columns=[*EXTRAS[-1:]]))
        return _market(sorted(folder.glob("*.parquet")))

    def train(self, jobs: int) -> None:
        """Train what is not yet complete, several commands side by side."""
        commands = [
            self._command(part, name, words)
            for part in self.parts
            for name, words in part.models.items()
        ]
        with ThreadPoolExecutor(jobs) as pool:
            for done, _ in enumerate(pool.map(_run, commands), start=1):
                print(f"{done} of {len(commands)} models are trained", flush=True)

    def _command(self, part: Part, name: str, words: Words) -> list[str]:
        folds = part.folds
        asked = [*part.words, *words, f"study={part.name}", f"model.name={name}"]
        if self.quick:
            folds = 1
            asked = [word for word in asked if not word.startswith(("seed=", "trainer.max_"))]
            asked += ["seed=0"] + ["trainer.max_epochs=1"] * (CNN[0] in words or LARGE[0] in words)
            asked += ["model.rounds=20"] * (name == "xgboost")
        asked += ["split.fold=" + ",".join(map(str, range(folds))), f"paths.outputs={self.outputs}"]
        return [sys.executable, "train.py", "-m", *_last_of_each(asked)]

    # --- what is looked at ------------------------------------------------------------------------

    def judge(self) -> None:
        """Look once at the test rows of each study of the plan."""
        for part in self.parts:
            if part.joined:
                self._once(part.name, lambda part=part: self._judge(part))
        self._once("pooled", self._judge_pooled)

    def _once(self, name: str, look: Any) -> None:
        path = self.results / f"{name}.json"
        if not path.is_file():
            found = look()
            path.write_text(json.dumps(found, indent=1))
            print(f"{name}: looked at its test rows; {path}", flush=True)

    def _study(self, name: str, networks: Sequence[str] | None = None) -> Study:
        return gc.load_study(self.outputs / name, networks)

    def _judge(self, part: Part) -> dict[str, Any]:
        whole = self._study(part.name)
        tables = whole.members()
        study = self._study(part.name, part.joined)
        others = {name: table for name, table in tables.items() if name not in study.runs}
        if part.name == "perp-1d":
            windows = [tables[name] for name in ("64x30m", "64x60m", "64x2h")]
            trees, rocket, fixed = (tables[name] for name in ("xgboost", "minirocket", "gaf_fixed"))
            for name, blended in (
                ("three", blend(*windows)),
                # not in the plan: the image of question (g) beside the trees
                ("trees_fixed", blend(trees, fixed)),
                ("trees_rocket", blend(trees, rocket)),
                ("trees_rocket_fixed", blend(trees, rocket, fixed)),
            ):
                others[name] = blended.assign(window=name)
        if part.name == "spot-4h":
            plain = self._study("spot-4h-plain").members()["xgboost"]
            others["xgboost_plain"] = plain.assign(window="xgboost_plain")
        rules, trials = {"cost_bps": part.cost_bps}, recorded(whole.folder, TRAINING)
        judgement = study.judge(predictions=others, ensembles=(), rules=rules)
        judgement.to_html(self.results / f"{part.name}.html")
        found = {"metrics": judgement.metrics, "pairs": []}
        everything = dict(tables) | others
        for baseline, names in part.comparisons.items():
            compared = {name: everything[name] for name in (baseline, *names)}
            options = {"rules": rules, "trials": trials, "ensembles": ()}
            judged = gc.judge(compared, study.bars, label=study.label, baseline=baseline, **options)
            # a two-stage ensemble of these models is another one
            found["pairs"] += [row for row in judged.metrics["pairs"] if row["a"] in names]
        if part.name.startswith("perp"):
            makers = study.judge(ensembles=(), rules={"cost_bps": 2.0}, count_look=False)
            found["at_2_bps"] = makers.metrics["models"]
        return found

    def _judge_pooled(self) -> dict[str, Any]:
        pooled = self._study("pooled")
        tables = {f"{name}_pooled": table for name, table in pooled.members().items()}
        singles = [self._study(part.name) for part in self.parts if part.name.startswith("single")]
        for name in pooled.runs:
            each = [study.members()[name] for study in singles]
            tables[f"{name}_single"] = pd.concat(each, ignore_index=True)
        tables = {name: table.assign(window=name) for name, table in tables.items()}
        judged = []
        for name in ("xgboost", "gaf"):
            both = {key: tables[key] for key in (f"{name}_single", f"{name}_pooled")}
            options = {"label": pooled.label, "baseline": f"{name}_single", "cost_bps": 5.0}
            judged.append(gc.judge(both, pooled.bars, **options))
        record_look(pooled.folder, judged[0], [*tables])
        # without the two-stage ensembles of pooled and single models
        models = {k: one for j in judged for k, one in j.metrics["models"].items() if k in tables}
        pairs = [row for j in judged for row in j.metrics["pairs"] if row["a"] in tables]
        return {"metrics": judged[0].metrics | {"models": models, "pairs": pairs}}

    # --- question (a): chosen on validation, then looked at once ----------------------------------

    def finish(self) -> None:
        """Choose the final model and portfolio on validation rows, and look at its test rows."""
        self._once("final", self._final)

    def choose(self) -> Choice:
        """Choose the final model and portfolio by their net Sharpe ratios on validation rows."""
        of_day, of_days = self._study("perp-1d"), self._study("perp-3d")
        day, days = of_day.members(), of_days.members()

        def trial(name: str) -> pd.DataFrame:
            return self._study(f"trial-{name}").members()["xgboost"]

        trees, gaf = day["xgboost"], day["gaf"]
        models = {
            "trees and gaf": blend(trees, gaf),
            "trees": trees,
            "trees, gaf and minirocket": blend(trees, gaf, day["minirocket"]),
            "residual": day["residual"],
            "3 days": blend(days["xgboost"], days["gaf"]),
            "1 day and 3 days": blend(trees, gaf, days["xgboost"], days["gaf"]),
            "trees of every 2 hours": blend(gaf, trial("often")),
            "ranking objective": blend(gaf, trial("ranking")),
            "plain indicators": blend(gaf, trial("plain")),
            "label rank": blend(gaf, trial("rank")),
            "gaf of the market": blend(trees, day["gaf_market"]),
        }
        scores = {
            name: self._on_validation(table, of_days if name == "3 days" else of_day, {})
            for name, table in models.items()
        }
        best = max(scores, key=lambda name: scores[name]["value"])
        study = of_days if best == "3 days" else of_day
        with_rules = {"fifths": scores[best]}
        for name, rules in RULES.items():
            with_rules[name] = self._on_validation(models[best], study, rules)
        least = scores[best]["value"]
        better = [name for name in RULES if with_rules[name]["value"] > least]
        joined = {key: value for name in better for key, value in RULES[name].items()}
        with_rules["all of the better ones"] = self._on_validation(models[best], study, joined)
        chosen = max(with_rules, key=lambda name: with_rules[name]["value"])
        rules = RULES.get(chosen, joined if chosen.startswith("all") else {})
        tried = {"models": scores, "portfolios": with_rules}
        return Choice(study, best, chosen, models[best], rules, tried)

    def _final(self) -> dict[str, Any]:
        choice = self.choose()
        study, members = choice.study, choice.study.members()
        tables = {
            "final": choice.table.assign(window="final"),
            "xgboost": members["xgboost"],
            "gaf": members["gaf"],
        }
        names = [
            part.name for part in self.parts if part.name.startswith(("perp", "trial", "large"))
        ]
        trials = sum(recorded(self.outputs / name, TRAINING) for name in names)
        options = {
            "label": study.label, "trials": trials, "headline": "final", "ensembles": (),
        }  # fmt: skip
        at = {
            cost: gc.judge(tables, study.bars, rules={"cost_bps": cost, **choice.rules}, **options)
            for cost in (5.0, 2.0)
        }
        record_look(study.folder, at[5.0], ["final"])
        at[5.0].to_html(self.results / "final.html")
        return {
            "validation": choice.tried, "model": choice.model, "portfolio": choice.portfolio,
            "metrics": at[5.0].metrics, "at_2_bps": at[2.0].metrics["models"],
        }  # fmt: skip

    def _on_validation(self, table: pd.DataFrame, study: Study, rules: Mapping[str, Any]) -> Score:
        """Return the annual net Sharpe ratio on validation: mean and range of the folds."""
        options = gc.PortfolioRules(**{"cost_bps": 5.0, **rules})
        trial = PortfolioTrial(table, study.bars, study.horizon, options)
        found = [trial.choose(fold, table["score"].to_numpy()).sharpe for fold in trial.folds]
        each = np.array([one or 0.0 for one in found]) * np.sqrt(trial.test.per_year)
        return {"value": float(each.mean()), "low": float(each.min()), "high": float(each.max())}


def blend(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the first table with the mean rank of the scores of all, where none lacks a row."""
    joined, columns = tables[0], ["score"]
    for number, other in enumerate(tables[1:]):
        columns.append(f"score_{number}")
        renamed = other[KEY].assign(**{columns[-1]: other["score"]})
        joined = joined.merge(renamed, on=KEY)
    ranks = joined.groupby(["fold", "split", "time"])[columns].rank(pct=True)
    return joined[[*tables[0]]].assign(score=ranks.mean(axis=1), seed=-1)


def _rivals(window: str) -> dict[str, Words]:
    return {
        "momentum": ("model=momentum", f"window={window}"),
        "xgboost": (*TREES, f"window={window}"),
    }


def _ranked(horizon: str, every: str) -> Words:
    return (
        "label=relative", f"label.horizon={horizon}", "split=walk_forward", "split.first=0.36",
        "split.val=0.2", f"split.every={every}",
    )  # fmt: skip


def _market(files: Sequence[Path]) -> Words:
    return "market=file", f"market.path=[{','.join(map(str, files))}]", "market.repair=drop"


def _last_of_each(words: Sequence[str]) -> list[str]:
    return [*{word.partition("=")[0]: word for word in words}.values()]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Train, judge and choose, in this order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    given = parser.parse_args()
    study = Images(given.data, quick=given.quick)
    study.train(given.jobs)
    study.judge()
    study.finish()


if __name__ == "__main__":
    main()
