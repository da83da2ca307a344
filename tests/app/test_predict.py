"""The command predict: JSON, refused bars, watching."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app import predict as command
from gafcnn.data.reading import write_bars
from gafcnn.errors import BarsError

Run = Callable[..., str]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return gc.simulate(3 * 1440)[0]


def options(live: Path, path: Path, **more: Any) -> dict[str, Any]:
    """Options of predict on the bars of a file."""
    market = {"kind": "file", "path": str(path)}
    return {"study": "tiny", "paths": {"outputs": live / "outputs"}, "market": market, **more}


def contents(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_table_is_printed_and_nothing_is_written(live: Path, run_in: Run) -> None:
    before = contents(live)
    lines = [line.split() for line in run_in(live, "predict", "study=tiny").splitlines()]
    assert contents(live) == before
    rows = {line[0]: line[1:] for line in lines if line and line[0] in ("15m", "two_stage")}
    assert rows["two_stage"].pop(0) == "*"
    for p, confidence, threshold, position in rows.values():
        assert abs(float(p) - 0.5) == pytest.approx(float(confidence), abs=1e-4)
        assert float(threshold) >= 0
        assert position in ("long", "short", "flat")


def test_json_is_one_strict_line_per_decision(
    live: Path, tmp_path: Path, run_in: Run, bars: pd.DataFrame
) -> None:
    write_bars(tmp_path / "mine.parquet", bars.iloc[:4000])
    words = ["study=tiny", "json=true", "market=file", f"market.path={tmp_path / 'mine.parquet'}"]
    [line] = run_in(live, "predict", *words).splitlines()

    def refuse(name: str) -> float:
        raise AssertionError(name)

    found = json.loads(line, parse_constant=refuse)
    assert (found["symbol"], found["time"]) == ("mine", bars.index[3999].isoformat())
    assert (found["study"], found["fold"], found["horizon"]) == ("tiny", None, "15min")
    assert found["close"] == bars["close"].iloc[3999]
    assert found["age_seconds"] > 0
    with chdir(live):
        decision = gc.load_study("outputs/tiny").decide(bars.iloc[:4000], "mine")
    assert found["headline"] == decision.headline
    for name, forecast in decision.models.items():
        assert found["models"][name] == {
            "p_up": forecast.p_up,
            "confidence": abs(forecast.p_up - 0.5),
            "threshold": forecast.threshold,
            "position": forecast.position,
        }


def test_old_and_unclosed_bars_are_refused(live: Path, tmp_path: Path, bars: pd.DataFrame) -> None:
    now = pd.Timestamp.now("UTC").floor("1min")
    for name, age in (("old", 60), ("new", 1), ("open", -5)):
        moved = bars.set_axis(bars.index + (now - pd.Timedelta(f"{age}min") - bars.index[-1]))
        moved.attrs = bars.attrs
        write_bars(tmp_path / f"{name}.parquet", moved)
    for name, max_age in (("old", "30min"), ("open", None)):
        with pytest.raises(BarsError):
            command.predict(options(live, tmp_path / f"{name}.parquet", max_age=max_age))
    [found] = command.predict(options(live, tmp_path / "new.parquet", max_age="30min"))
    assert 60 <= found["age_seconds"] < 600


def test_one_refused_symbol_does_not_stop_the_others(
    live: Path, tmp_path: Path, bars: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "gap.parquet", tmp_path / "good.parquet"]
    write_bars(paths[0], bars.drop(bars.index[-30:-28]))
    write_bars(paths[1], bars)
    market = {"kind": "file", "path": [str(path) for path in paths]}
    with pytest.raises(BarsError):
        command.predict(options(live, paths[0], json=True) | {"market": market})
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["symbol"] == "good"


@pytest.mark.parametrize(
    "words",
    [
        ["max_age=soon"],
        ["json=perhaps"],
        ["market=file", "market.path=no.csv"],
        ["market=simulated", "market.interval=5min"],
        ["windows=[15m,99m]"],
        ["study=tinny"],
        ["watch=true"],
        ["watsh=true"],
    ],
)
def test_wrong_options_are_refused(live: Path, refused: Run, words: list[str]) -> None:
    assert refused("predict", "study=tiny", f"paths.outputs={live / 'outputs'}", *words)


def test_watching_goes_on_until_sigterm(
    live: Path, tmp_path: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path, waits = tmp_path / "mine.parquet", iter(range(5))
    write_bars(path, bars.iloc[:4000])

    def wait(seconds: float) -> None:
        assert 0 < seconds <= 60
        match next(waits):
            case 0:
                write_bars(path, bars.iloc[:4001])
            case 1:
                write_bars(path, bars.iloc[:4100].drop(bars.index[4070:4072]))  # a gap
            case 2:
                path.write_bytes(b"PAR1 and no more")
            case 3:
                write_bars(path, bars.iloc[:4001])  # nothing new
            case _:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(command.time, "sleep", wait)
    handler, wakeup = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    try:
        last = command.predict(options(live, path, watch=True, json=True))
    finally:
        signal.set_wakeup_fd(wakeup)
    assert signal.getsignal(signal.SIGTERM) is handler
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == [bars.index[n].isoformat() for n in (3999, 4000)]
    assert last == lines[-1:]


@pytest.mark.parametrize(
    ("now", "seconds"),
    [("12:00:04", 1), ("12:00:05", 60), ("12:00:06", 59), ("12:00:59.5", 5.5)],
)
def test_the_next_close_is_waited_for_until_it_has_settled(now: str, seconds: float) -> None:
    minute, settle = pd.Timedelta("1min"), pd.Timedelta("5s")
    moment = pd.Timestamp(f"2024-01-01 {now}", tz="UTC")
    assert command.seconds_until_next(moment, minute, settle) == pytest.approx(seconds)
