"""What `predict.py` says of the newest bar is what the predictions on disk say, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd
import pytest
from gafcnn.app.deciding import Decider
from numpy.testing import assert_allclose

from gafcnn import load_run
from gafcnn.app import predict as live
from gafcnn.app.command import main
from gafcnn.app.runs import Run, find_runs
from gafcnn.app.studies import markets_of, newest_fold
from gafcnn.data.indicators import MEMORY
from gafcnn.data.reading import write_bars
from gafcnn.data.simulated import simulate
from gafcnn.errors import BarsError, RunError
from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.evaluation.trading_rules import Rules

Refuse = Callable[..., str]
Typed = Callable[..., str]

NAMES = ["15m", "30m", "60m", "mean", "weighted", "vote", "stacking", "xgboost", "two_stage"]


@pytest.fixture(scope="module")
def folder(judged_study: Path) -> Path:
    return judged_study / "outputs" / "tiny"


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate(3 * 1440)[0]


@pytest.fixture(scope="module")
def decider(folder: Path) -> Decider:
    runs = find_runs(folder)
    return Decider(runs, markets_of(runs), Rules(), list(ENSEMBLES))


@pytest.fixture
def study(judged_study: Path) -> tuple[str, str]:
    """What to type so that a command finds the study from any folder."""
    return "study=tiny", f"paths.outputs={judged_study / 'outputs'}"


def probabilities(decider: Decider, bars: pd.DataFrame) -> dict[str, float]:
    decision = decider.decide("SIMULATED", bars)
    assert decision.time == bars.index[-1]
    return {name: said.p_up for name, said in decision.models.items()}


# --- the same as the batch pipeline ---------------------------------------------------------------


def test_history_fed_bar_by_bar_gives_the_predictions_on_disk_bit_for_bit(
    decider: Decider, folder: Path, bars: pd.DataFrame, last_bit: float
) -> None:
    judged = pd.read_parquet(folder / "evaluation" / "predictions.parquet").query("split == 'test'")
    table = judged.pivot_table(index="time", columns="window", values="p_up")[NAMES]
    runs = {
        name: load_run(folder / name).predictions.set_index("time")["p_up"]
        for name in ("15m", "30m", "60m", "xgboost")
    }
    # one after another, the last ones among them, whose batch is a smaller one; and all over
    times = table.index[[*range(12), *range(12, len(table) - 13, 14), *range(-13, 0)]]
    assert len(times) > 50
    fed = [probabilities(decider, bars.loc[:t]) for t in times]
    for name in NAMES:
        lived = np.array([said[name] for said in fed])
        assert_allclose(lived, table.loc[times, name], rtol=0, atol=last_bit, err_msg=name)
        if name in runs:
            assert_allclose(lived, runs[name].loc[times], rtol=0, atol=last_bit, err_msg=name)


def test_with_as_many_bars_as_are_fetched_only_the_trees_may_round_otherwise(
    decider: Decider, bars: pd.DataFrame
) -> None:
    assert decider.history == MEMORY < len(bars)
    for end in (3900, 4000, 4100, 4200, len(bars)):
        all_of_them = probabilities(decider, bars.iloc[:end])
        fetched = probabilities(decider, bars.iloc[end - MEMORY : end])
        windows = ("15m", "30m", "60m", "mean", "weighted", "vote", "stacking")
        assert [all_of_them[name] for name in windows] == [fetched[name] for name in windows]
        for name in ("xgboost", "two_stage"):
            assert fetched[name] == pytest.approx(all_of_them[name], abs=1e-6)


def test_thresholds_are_those_of_the_evaluation_and_positions_follow_them(
    decider: Decider, folder: Path, bars: pd.DataFrame
) -> None:
    judged = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert (decider.headline, decider.names) == (judged["headline"], NAMES)
    seen = set()
    for end in range(4000, 4320, 40):
        for name, said in decider.decide("SIMULATED", bars.iloc[:end]).models.items():
            assert said.threshold == judged["models"][name]["threshold"]["value"], name
            side = 1 if said.p_up > 0.5 else -1
            expected = side if round(abs(said.p_up - 0.5), 12) >= said.threshold else 0
            assert said.position == expected
            seen.add(expected)
    assert seen == {1, -1, 0}


def test_a_window_of_several_seeds_says_their_mean(
    folder: Path, tmp_path: Path, typed: Typed, tiny: tuple[str, ...], bars: pd.DataFrame,
    last_bit: float,
) -> None:  # fmt: skip
    shutil.copytree(folder, tmp_path / "outputs" / "tiny")
    typed("train", "window=15m", "seed=1", *tiny)
    runs = find_runs(tmp_path / "outputs" / "tiny")
    decider = Decider(runs, markets_of(runs), Rules(), ["mean"])
    each = [run.predictions.set_index("time")["p_up"] for run in runs["15m"]]
    for t in each[0].index[-5:]:
        expected = pd.DataFrame([[one[t] for one in each]]).mean(axis="columns")[0]
        said = probabilities(decider, bars.loc[:t])["15m"]
        assert said == pytest.approx(expected, rel=0, abs=last_bit)
        assert each[0][t] != each[1][t]


def test_of_several_symbols_each_is_decided_on_by_its_own_threshold(
    study_of_two: Path, last_bit: float
) -> None:
    runs = find_runs(study_of_two / "outputs" / "pool")
    markets = markets_of(runs)
    decider = Decider(runs, markets, Rules(), ["mean"])
    judged = json.loads(
        (study_of_two / "outputs/pool/evaluation/symbols/BBB/metrics.json").read_text()
    )
    written = load_run(runs["15m"][0].folder).predictions.query("symbol == 'BBB'")
    time = written["time"].iloc[-1]
    decision = decider.decide("BBB", markets[1].bars.loc[:time])
    expected = pytest.approx(written["p_up"].iloc[-1], rel=0, abs=last_bit)
    assert decision.models["15m"].p_up == expected
    assert decision.models["15m"].threshold == judged["models"]["15m"]["threshold"]["value"]
    with pytest.raises(RunError, match="there are bars of CCC for a study of AAA, BBB"):
        decider.decide("CCC", markets[1].bars)


def test_of_a_study_that_walks_forward_the_newest_fold_decides(folder: Path) -> None:
    def of_fold(name: str, fold: int) -> Run:
        run = Run(folder / name)
        vars(run)["config"] = {**run.config, "split": {"fold": fold}}
        return run

    runs = {name: [of_fold(name, fold) for fold in (0, 2, 1)] for name in ("15m", "xgboost")}
    newest = newest_fold(runs)
    assert {
        name: [run.config["split"]["fold"] for run in found] for name, found in newest.items()
    } == {
        "15m": [2],
        "xgboost": [2],
    }
    del runs["xgboost"][1]
    with pytest.raises(RunError, match="xgboost has no run of fold 2; expected every fold"):
        newest_fold(runs)


def test_another_symbol_than_the_studys_is_told_once(
    decider: Decider, bars: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    for symbol in ("SIMULATED", "OTHER", "OTHER"):
        decider.decide(symbol, bars)
    assert caplog.messages == [
        "OTHER is decided on by models of SIMULATED: not measured on it",
    ]


def test_one_symbol_that_is_refused_silences_no_other(
    study_of_two: Path, tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one, other = markets_of(find_runs(study_of_two / "outputs" / "pool"))
    write_bars(tmp_path / "a.parquet", one.bars.drop(one.bars.index[-30:-28]))
    write_bars(tmp_path / "b.parquet", other.bars)
    given = ("market=file", "market.symbols=[AAA,BBB]", "market.path=[a.parquet,b.parquet]")
    of = ("study=pool", f"paths.outputs={study_of_two / 'outputs'}", "json=true")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict.py", *of, *given])
    with pytest.raises(SystemExit, match="error: 2 bars of AAA are missing"):
        main("predict", root / "conf")
    os.environ.pop("HYDRA_FULL_ERROR", None)
    assert [json.loads(line)["symbol"] for line in capfd.readouterr().out.splitlines()] == ["BBB"]


# --- what is refused ------------------------------------------------------------------------------


def test_bars_that_cannot_be_decided_on_are_refused_by_name(
    decider: Decider, bars: pd.DataFrame
) -> None:
    def told(given: pd.DataFrame) -> str:
        with pytest.raises(BarsError) as error:
            decider.decide("X", given)
        return str(error.value)

    assert told(bars.iloc[: MEMORY - 1]) == (
        "there are 2,499 bars of X; expected at least the 2,500 of the indicators' memory; give "
        "more of them."
    )
    assert told(bars.drop(bars.index[-30])).startswith("1 bar of X is missing between 2024-")
    gapped = bars.drop(bars.index[-30:-28])
    assert told(gapped) == (
        "2 bars of X are missing between 2024-01-03 23:30 and 2024-01-03 23:33 UTC; expected the "
        "last 60 bars without a gap; decide again once 60 bars have followed one another."
    )
    assert decider.decide("X", bars.drop(bars.index[-62:-61])).time == bars.index[-1]
    hourly = bars.iloc[::60]
    hourly.attrs = {"interval": pd.Timedelta("1h")}
    assert told(hourly).startswith(
        "the bars of X are of 1h; expected bars of 1min, as the study's are; take finer bars"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["max_age=1h"], "the newest bar of SIMULATED closed at 2024-01-04 00:00:00 UTC, "),
        (["max_age=1h"], " h ago; expected one that is no older than 1h; bring newer bars"),
        (["max_age=soon"], "max_age=soon; expected a length of time with its unit"),
        (["json=1"], "json=1; expected true or false"),
        (["market=file", "market.path=no.csv"], "market.path=no.csv is not a file; expected a"),
        (["market=simulated", "market.interval=5min"], "the bars of SIMULATED are of 5min; exp"),
        (["windows=[15m,99m]"], "study tiny has no run for window 99m, only for 15m, 30m, 60m"),
        (["windows=[xgboost]"], "windows names xgboost, the baseline of study tiny; expected some"),
        (["study=tinny"], "expected one of tiny; type study=tiny."),
        (["watch=true"], "watch=true over a simulated market, of which no bar closes any more; ex"),
        (["watsh=true"], "there is no key watsh; expected one that conf/predict.yaml has; did you"),
    ],
)
def test_options_that_make_no_sense_are_told(
    study: tuple[str, str], refused: Refuse, words: list[str], told: str
) -> None:
    assert told in refused("predict", *study, *words)


def test_a_study_without_a_baseline_is_told_how_to_have_one(
    tmp_path: Path, folder: Path, refused: Refuse
) -> None:
    shutil.copytree(folder / "15m", tmp_path / "outputs/tiny/15m")
    assert refused("predict", "study=tiny") == (
        "error: study tiny has no baseline; expected one, of which the two stages are made; "
        "evaluate it, which trains one, or give python train.py model=xgboost study=tiny."
    )


def test_the_config_of_a_run_is_not_trusted(
    tmp_path: Path, folder: Path, refused: Refuse, reseal: Callable[[Path], None]
) -> None:
    shutil.copytree(folder, tmp_path / "outputs/tiny")
    config = tmp_path / "outputs/tiny/30m/config.yaml"
    config.write_text(config.read_text().replace("gafcnn.data.labels.Direction", "mine.Label"))
    reseal(tmp_path / "outputs")
    for command in ("predict", "export"):
        assert "names mine.Label as label._target_, which would be run" in refused(
            command, "study=tiny"
        )


# --- the command ----------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_decision_is_printed_as_a_table_and_nothing_is_written(
    study: tuple[str, str], folder: Path, typed: Typed, tmp_path: Path
) -> None:
    before = snapshot(folder)
    printed = typed("predict", *study)
    assert snapshot(folder) == before
    assert not list(tmp_path.iterdir())
    assert "SIMULATED at 2024-01-04 00:00 UTC, closed " in printed
    assert " ago at 585.618: up in 15min?" in printed
    lines = [line.split() for line in printed.splitlines()]
    found = {line[0]: line[1:] for line in lines if line and line[0] in NAMES}
    assert list(found) == NAMES
    assert found["two_stage"].pop(0) == "*"
    for cells in found.values():
        p, confidence, threshold = map(float, cells[:3])
        assert confidence == pytest.approx(abs(p - 0.5), abs=1e-4)
        assert threshold >= 0
        assert cells[3] in ("long", "short", "none")


def test_json_is_one_strict_line_and_all_there_is_on_the_standard_output(
    study: tuple[str, str], typed: Typed, tmp_path: Path, bars: pd.DataFrame, decider: Decider
) -> None:
    write_bars(tmp_path / "mine.parquet", bars.iloc[:4000])
    printed = typed("predict", *study, "json=true", "market=file", "market.path=mine.parquet")
    assert printed.count("\n") == 1

    def refuse(name: str) -> float:
        raise AssertionError(name)

    said = json.loads(printed, parse_constant=refuse)
    assert (said["symbol"], said["time"]) == ("mine", bars.index[3999].isoformat())
    assert (said["study"], said["fold"], said["horizon"]) == ("tiny", None, "15min")
    assert said["close"] == bars["close"].iloc[3999]
    assert said["headline"] == "two_stage"
    expected = decider.decide("mine", bars.iloc[:4000])
    assert {name: of["p_up"] for name, of in said["models"].items()} == {
        name: of.p_up for name, of in expected.models.items()
    }


def test_the_next_close_is_waited_for_until_it_has_settled() -> None:
    minute, settle = pd.Timedelta("1min"), pd.Timedelta("5s")
    for now, seconds in (("12:00:04", 1), ("12:00:05", 60), ("12:00:06", 59), ("12:00:59.5", 5.5)):
        at = pd.Timestamp(f"2025-05-10 {now}", tz="UTC")
        assert live.seconds_until_next(at, minute, settle) == pytest.approx(seconds)


@pytest.mark.slow
def test_sigterm_ends_watching_quietly(
    study: tuple[str, str], root: Path, tmp_path: Path, bars: pd.DataFrame
) -> None:
    write_bars(tmp_path / "mine.parquet", bars)
    words = [*study, "json=true", "watch=true", "market=file", "market.path=mine.parquet"]
    line = [sys.executable, str(root / "predict.py"), *words]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["symbol"] == "mine"
        watching.send_signal(signal.SIGTERM)
        out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert out == ""
    assert "Traceback" not in err
    assert "stopped" not in err


# --- from an exchange -----------------------------------------------------------------------------


class Exchange(BaseHTTPRequestHandler):
    """Binance's klines: simulated bars that close up to the present, or an error."""

    table: pd.DataFrame
    down = False
    asked: list[int]

    def do_GET(self) -> None:
        words = dict(parse_qsl(urlsplit(self.path).query))
        first, last = (int(words[key]) for key in ("startTime", "endTime"))
        self.asked.append(first)
        opened = (self.table.index.as_unit("ms").asi8 - 60_000).tolist()
        rows = [
            [at, *map(repr, row), at + 59_999, "0", 1, "0", "0", "0"]
            for at, row in zip(opened, self.table.to_numpy().tolist(), strict=True)
            if first <= at <= last
        ][:1000]
        body = json.dumps(rows).encode()
        self.send_response(503 if self.down else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the tests' output to the tests."""


@pytest.fixture
def exchange(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[type[Exchange], str]]:
    """One whose newest closed bar is the last of the simulation; and its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("gafcnn.data.klines._FIRST_PAUSE", 0.001)
    now = pd.Timestamp.now("UTC").floor("1min")
    table = bars.set_axis(bars.index + (now - bars.index[-1]))
    handler = type("Handler", (Exchange,), {"table": table, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_newest_bars_of_an_exchange_are_fetched_and_no_more_of_them(
    exchange: tuple[type[Exchange], str], study: tuple[str, str], typed: Typed, tmp_path: Path,
    decider: Decider, bars: pd.DataFrame,
) -> None:  # fmt: skip
    handler, url = exchange
    asked = ("market=bnb", f"market.url={url}", "settle=1ms", "json=true")
    said = json.loads(typed("predict", *study, *asked))
    assert said["symbol"] == "BNBUSDT"
    assert pd.Timestamp(said["time"]) == handler.table.index[-1]
    assert 0 <= said["age_seconds"] < 120
    first = handler.table.index[-1] - (MEMORY + live.LATE) * pd.Timedelta("1min")
    # a bar may have closed since the exchange was set up
    assert handler.asked[0] - first.value // 10**6 in (0, 60_000)
    assert len(handler.asked) == 3  # pages of a thousand
    assert not list(tmp_path.iterdir())
    expected = probabilities(decider, bars.iloc[-MEMORY:])
    assert said["models"]["15m"]["p_up"] == expected["15m"]


def test_a_bar_that_has_not_closed_is_refused(
    study: tuple[str, str], refused: Refuse, tmp_path: Path, bars: pd.DataFrame
) -> None:
    now = pd.Timestamp.now("UTC").floor("1min")
    to_come = bars.set_axis(bars.index + (now + pd.Timedelta("5min") - bars.index[-1]))
    to_come.attrs = bars.attrs
    write_bars(tmp_path / "open.parquet", to_come)
    told = refused("predict", *study, "market=file", "market.path=open.parquet", "max_age=1min")
    assert "UTC, which is to come; expected a bar that has closed; leave out the one" in told


def test_stale_bars_of_an_exchange_are_refused(
    exchange: tuple[type[Exchange], str], study: tuple[str, str], refused: Refuse
) -> None:
    handler, url = exchange
    handler.table = handler.table.iloc[:-3]
    told = refused("predict", *study, "market=bnb", f"market.url={url}", "settle=1s")
    assert "the newest bar of BNBUSDT closed at " in told
    assert "expected one that is no older than 121s; bring newer bars" in told


def test_watching_goes_on_where_bars_are_not_to_be_had(
    exchange: tuple[type[Exchange], str], study: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], root: Path,
) -> None:  # fmt: skip
    handler, url = exchange
    whole = handler.table

    def moments(*_: Any) -> Iterator[pd.Timestamp]:
        for rows, down in ((-2, False), (-2, True), (-2, False), (None, False)):
            handler.table, handler.down = whole.iloc[:rows], down
            yield pd.Timestamp.now("UTC")

    monkeypatch.setattr(live, "closes", moments)
    asked = (
        "market=bnb",
        f"market.url={url}",
        "settle=1ms",
        "json=true",
        "watch=true",
        "max_age=1h",
    )
    monkeypatch.setattr(sys, "argv", ["predict.py", *study, *asked])
    main("predict", root / "conf")
    os.environ.pop("HYDRA_FULL_ERROR", None)
    out, err = capfd.readouterr()
    times = [pd.Timestamp(json.loads(line)["time"]) for line in out.splitlines()]
    assert times == [whole.index[-3], whole.index[-1]]
    assert "binance cannot be asked for BNB/USDT (" in err
    assert f"no bar of BNBUSDT has closed since {times[0].isoformat()}" in err
