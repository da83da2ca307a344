"""The command predict: JSON, refused bars, watching."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app import predict as command
from gafcnn.data.reading import write_bars
from gafcnn.errors import BarsError

Run = Callable[..., str]


def options(live: Path, *paths: Path, **more: Any) -> dict[str, Any]:
    """Options of predict on the bars of files."""
    market = {"kind": "file", "path": [str(path) for path in paths]}
    return {"study": "tiny", "paths": {"outputs": live / "outputs"}, "market": market, **more}


def test_json_is_one_strict_line_per_decision(
    live: Path, tmp_path: Path, run_in: Run, bars: pd.DataFrame
) -> None:
    write_bars(tmp_path / "mine.parquet", bars.iloc[:4000])
    words = ["study=tiny", "json=true", "market=file", f"market.path={tmp_path / 'mine.parquet'}"]
    [line] = run_in(live, "predict", *words).splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert (found["symbol"], found["time"]) == ("mine", bars.index[3999].isoformat())
    assert (found["study"], found["fold"], found["horizon"]) == ("tiny", None, "15min")
    assert found["close"] == bars["close"].iloc[3999]
    decision = gc.load_study(live / "outputs" / "tiny").decide(bars.iloc[:4000], "mine")
    assert found["headline"] == decision.headline
    for name, forecast in decision.models.items():
        wanted = {key: getattr(forecast, key) for key in ("p_up", "threshold", "position")}
        assert found["models"][name] == wanted | {"confidence": abs(forecast.p_up - 0.5)}


@pytest.mark.parametrize("page", ["index", "live"])
def test_the_python_of_the_pages_about_a_finished_study_runs(
    page: str, root: Path, live: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(live)
    text = (root / "docs" / f"{page}.md").read_text()
    block = re.search(r"```python\n(study = .*?)```", text, re.DOTALL)
    assert block
    exec(block[1].replace("outputs/demo", "outputs/tiny"), {"gc": gc, "bars": bars.iloc[:4000]})


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
    with pytest.raises(BarsError):
        command.predict(options(live, *paths, json=True))
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["symbol"] == "good"


def test_watching_goes_on_until_it_is_stopped(
    live: Path, tmp_path: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "mine.parquet"
    gap = bars.iloc[:4100].drop(bars.index[4070:4072])
    files = iter([bars.iloc[:4001], gap, None, bars.iloc[:4001]])
    write_bars(path, bars.iloc[:4000])

    def wait(seconds: float) -> None:
        assert 0 < seconds <= 60
        try:
            newest = next(files)
        except StopIteration:
            raise KeyboardInterrupt from None
        else:
            path.write_bytes(b"no bars") if newest is None else write_bars(path, newest)

    monkeypatch.setattr(command.time, "sleep", wait)
    last = command.predict(options(live, path, watch=True, json=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == [bars.index[n].isoformat() for n in (3999, 4000)]
    assert last == lines[-1:]
