"""Reading and writing of files of bars."""

from __future__ import annotations

import gzip
import tempfile
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS, check_bars, fingerprint
from gafcnn.data.reading import ENDINGS, read_bars, write_bars
from gafcnn.errors import BarsError, ConfigError

MINUTE = pd.to_timedelta("1min")
TABLES = (".parquet", ".feather")
START = 1_746_372_840_000  # ms; 2025-05-04T15:34:00Z

# six bars, as (open, high, low, close, volume)
VALUES = [
    [588.55, 588.55, 588.47, 588.47, 266.11],
    [588.48, 588.48, 588.25, 588.28, 981.05],
    [588.28, 588.31, 588.1, 588.2, 17.0],
    [588.2, 588.9, 588.2, 588.9, 0.0],
    [588.9, 589.0, 588.8, 588.85, 3.25],
    [588.85, 588.86, 588.84, 588.86, 1.1],
]
HEADER = "open_time,open,high,low,close,volume"


# Any: type checkers do not know whether a slice of a frame is a frame or a column
def _expected() -> Any:
    closes = pd.date_range("2025-05-04T15:35:00Z", periods=6, freq=MINUTE, unit="ns")
    frame = pd.DataFrame(VALUES, columns=list(COLUMNS), index=closes.rename("close_time"))
    return check_bars(frame, "six bars")


def _lines(time: Callable[[int], object] = lambda ms: ms, tail: str = "") -> list[str]:
    return [
        f"{time(START + 60_000 * k)},{','.join(map(str, bar))}{tail}"
        for k, bar in enumerate(VALUES)
    ]


def _text(*lines: str, header: str | None = HEADER) -> str:
    return "\n".join([*([] if header is None else [header]), *(lines or _lines())]) + "\n"


def _opened(times: Any = None) -> Any:
    """Return the six bars as freqtrade stores them: `date`, the open time, and the values."""
    frame = pd.DataFrame(VALUES, columns=list(COLUMNS))
    frame.insert(0, "date", _expected().index - MINUTE if times is None else times)
    return frame


def _put(path: Path, content: Any) -> Path:
    """Write the content to a file, packed as the ending of `path` requires."""
    raw = content.encode() if isinstance(content, str) else content
    if isinstance(raw, pd.DataFrame):
        write = raw.to_parquet if path.suffix == ".parquet" else raw.to_feather
        write(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(raw))
    elif path.suffix == ".zip":
        _zip(path, {"BNBUSDT-1m-2025-05.csv": raw})
    else:
        path.write_bytes(raw)
    return path


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _refused(path: Path, *facts: str, interval: str | None = None) -> None:
    """Check that reading fails, with an error that names the file and the facts."""
    with pytest.raises(BarsError) as caught:
        read_bars(path, interval=interval)
    assert "\n" not in str(caught.value)
    for fact in (str(path), *facts):
        assert fact in str(caught.value)


# --- valid files ---------------------------------------------------------------------------------

KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
KLINE_TAIL = ",1746372899999,156600.1,123,10.5,6179.6,0"

CSV = {
    "header": _text(),
    "no header": _text(header=None),
    "kline": _text(*_lines(tail=KLINE_TAIL), header=None),
    "kline with header": _text(*_lines(tail=KLINE_TAIL), header=KLINE_HEADER),
    "s": _text(*_lines(lambda ms: ms // 1000)),
    "us": _text(*_lines(lambda ms: ms * 1000), header=None),
    "ns": _text(*_lines(lambda ms: ms * 10**6)),
    "ms as floats": _text(*_lines(lambda ms: f"{ms}.0")),
    "ISO": _text(*_lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}Z")),
    "ISO without header": _text(
        *_lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}+00"), header=None
    ),
    "another offset": _text(
        *_lines(lambda ms: pd.Timestamp(ms, unit="ms", tz="Asia/Kolkata").isoformat())
    ),
    "freqtrade": _text(header="date,Open,High,Low,Close,Volume"),
    "BOM": "\ufeff" + _text(),
    "BOM without header": "\ufeff" + _text(header=None),
    "CRLF": _text().replace("\n", "\r\n"),
    "CR": _text().replace("\n", "\r"),
    "blank lines": "\n\r\n" + _text().replace("\n", "\n\n  \n"),
    "spaces around commas": _text().replace(",", " , ").replace("\n", " \n"),
    "no newline at the end": _text().rstrip("\n"),
    "extra columns": _text(*_lines(tail=",x,"), header=HEADER + ",note,note"),
    "quoted": _text(*(f'"{line}"'.replace(",", '","') for line in _lines())),
    "row numbers": _text(*(f"{k},{line}" for k, line in enumerate(_lines())), header="," + HEADER),
}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".zip", ".CSV"])
@pytest.mark.parametrize("text", CSV.values(), ids=CSV)
def test_csv(tmp_path: Path, text: str, ending: str) -> None:
    bars = read_bars(_put(tmp_path / f"bars{ending}", text))
    assert_frame_equal(bars[list(COLUMNS)], _expected())


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
def test_parquet_and_feather(tmp_path: Path, ending: str, unit: Any, zone: str | None) -> None:
    opens = _opened()["date"].dt.as_unit(unit)
    times = opens.astype("int64") if zone is None else opens.dt.tz_convert(zone)
    path = _put(tmp_path / f"bars{ending}", _opened(times))
    assert_frame_equal(read_bars(path), _expected())


def test_close_time_as_the_only_time(tmp_path: Path) -> None:
    text = _text(*_lines(lambda ms: ms + 60_000), header=HEADER.replace("open_time", "close_time"))
    assert_frame_equal(read_bars(_put(tmp_path / "bars.csv", text)), _expected())


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_epochs_of_two_units(tmp_path: Path, ending: str) -> None:
    # as Binance's klines do with the year 2025
    times = [START + 60_000 * k for k in range(6)]
    times[3:] = [ms * 1000 for ms in times[3:]]
    frame = _opened(times)
    content = frame if ending == ".parquet" else frame.to_csv(index=False)
    assert_frame_equal(read_bars(_put(tmp_path / f"bars{ending}", content)), _expected())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=30),
    st.floats(0, 1e300),
    st.sampled_from(["1s", "1min", "15min", "7h", "1D"]),
    st.integers(0, 4 * 10**18),
)
def test_written_bars_are_read_unchanged(
    prices: list[float], volume: float, interval: str, start: int
) -> None:
    values = dict.fromkeys(COLUMNS[:4], prices) | {"volume": [volume] * len(prices)}
    first = pd.Timestamp(start, unit="ns", tz="UTC")
    times = pd.date_range(first, periods=len(prices), freq=pd.to_timedelta(interval), unit="ns")
    bars = check_bars(pd.DataFrame(values, index=times), "some bars")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bars.parquet")
        write_bars(path, bars)
        again = read_bars(path)
    assert_frame_equal(again, bars, check_exact=True)
    assert again.attrs == bars.attrs
    assert fingerprint(again) == fingerprint(bars)


def test_prices_of_a_csv_are_exact(tmp_path: Path) -> None:
    prices = np.random.default_rng(0).lognormal(0, 5, 2000)
    lines = [
        f"{START + 60_000 * k},{p!r},{p!r},{p!r},{p!r},1" for k, p in enumerate(prices.tolist())
    ]
    bars = read_bars(_put(tmp_path / "bars.csv", _text(*lines)))
    assert (bars["close"].to_numpy() == prices).all()


def test_texts_decimals_and_categories_are_numbers(tmp_path: Path) -> None:
    texts = [str(value) for value in _opened()["open"]]
    frame = _opened().assign(
        open=pa.array([Decimal(text) for text in texts]).to_pandas(),
        high=pd.Categorical(_opened()["high"].astype(str)),
    )
    bars = read_bars(_put(tmp_path / "bars.parquet", frame))
    assert_frame_equal(bars, _expected())


def test_only_parquet_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bars\.csv.*\.parquet"):
        write_bars(tmp_path / "bars.csv", _expected())
    with pytest.raises(BarsError, match="as_bars"):
        write_bars(tmp_path / "bars.parquet", _opened())
    assert not [*tmp_path.iterdir()]


# --- invalid files --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_file_or_folder(tmp_path: Path, ending: str) -> None:
    _refused(tmp_path / f"bars{ending}", "not a file")
    (tmp_path / f"folder{ending}").mkdir()
    _refused(tmp_path / f"folder{ending}", "folder")


@pytest.mark.parametrize("name", ["bars.xlsx", "bars", "bars.csv.bak"])
def test_unknown_ending(tmp_path: Path, name: str) -> None:
    _refused(_put(tmp_path / name, _text()), *ENDINGS)


def test_frame_instead_of_a_path() -> None:
    assert read_bars(_expected()).equals(_expected())  # pyright: ignore[reportArgumentType]
    with pytest.raises(BarsError, match="as_bars"):
        read_bars(_opened())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("part", [0, 0.2, 0.5, 0.98])
def test_truncated_file(tmp_path: Path, ending: str, part: float) -> None:
    path = _put(tmp_path / f"bars{ending}", _opened() if ending in TABLES else _text())
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size) - (part > 0)])
    _refused(path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows(tmp_path: Path, n: int, ending: str) -> None:
    content = _opened()[:n] if ending in TABLES else _text(*(_lines()[:n] or [""]))
    _refused(_put(tmp_path / f"bars{ending}", content), interval="1min")


def test_quotation_mark_that_is_not_closed(tmp_path: Path) -> None:
    lines = _lines(tail=",x")
    lines[1] = lines[1].replace(",x", ',"x')
    _refused(_put(tmp_path / "bars.csv", _text(*lines, header=HEADER + ",note")), "quotation")


@pytest.mark.parametrize("names", [[], ["bars.pdf"], ["folder/"]])
def test_zip_without_a_csv(tmp_path: Path, names: list[str]) -> None:
    path = _zip(tmp_path / "bars.zip", dict.fromkeys(names, _text().encode()))
    _refused(path, *names)


def test_an_error_is_one_line_whatever_the_names_hold(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bars.zip", {"a\nb\u2028c": b""})
    with pytest.raises(BarsError) as raised:
        read_bars(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_file_without_volume(tmp_path: Path, ending: str) -> None:
    frame = _opened().drop(columns="volume")
    content = frame if ending in TABLES else frame.to_csv(index=False)
    bars = read_bars(_put(tmp_path / f"bars{ending}", content))
    assert_frame_equal(bars, _expected().assign(volume=np.nan))
    write_bars(tmp_path / "kept.parquet", bars)
    assert fingerprint(read_bars(tmp_path / "kept.parquet")) == fingerprint(bars)


@pytest.mark.parametrize(("row", "cells"), [(2, 7), (5, 5)])
@pytest.mark.parametrize("blank", ["", "  "])
def test_row_of_another_length(tmp_path: Path, row: int, cells: int, blank: str) -> None:
    lines = _lines()
    lines[row] = f"{lines[row]},9" if cells == 7 else lines[row].rpartition(",")[0]
    path = _put(tmp_path / "bars.csv", _text(*lines[:1], blank, *lines[1:]))
    _refused(path, f"line {row + 3}", "6 cells")


# --- invalid cells --------------------------------------------------------------------------------


def _spoilt(row: int, column: int, cell: str) -> list[str]:
    lines = [line.split(",") for line in _lines()]
    lines[row][column] = cell
    return [",".join(line) for line in lines]


@pytest.mark.parametrize("cell", ["abc", "", " ", "nan", "1_000", "inf", "0", "-1", "900"])
@pytest.mark.parametrize(
    ("header", "above", "line", "ending"),
    [(None, 0, 5, ".csv"), (HEADER, 0, 6, ".zip"), (HEADER, 3, 9, ".csv"), (None, 2, 7, ".csv.gz")],
)
def test_invalid_cell_is_named_with_its_line(
    tmp_path: Path, cell: str, header: str, above: int, line: int, ending: str
) -> None:
    spoilt = _spoilt(4, 4, cell)
    text = _text(*spoilt[:2], *[""] * above, *spoilt[2:], header=header)
    assert text.splitlines()[line - 1] == spoilt[4]
    _refused(_put(tmp_path / f"bars{ending}", text), f"line {line}:", "close is", cell.strip())


COLUMN = {
    "row 0": [[True] * 6, [None] * 6, [[1.0, 2.0]] * 6, [b"1"] * 6, pd.to_timedelta(range(6)),
              pd.Categorical(list("aabbcc")), pd.date_range("2025", periods=6, tz="UTC")],
    "row 2": [[1.0, 2.0, None, 4.0, 5.0, 6.0], ["1", "2", "three", "4", "5", "6"],
              [588.47, 588.28, float("inf"), 1, 1, 1]],
}  # fmt: skip


@pytest.mark.parametrize(("row", "column"), [(row, c) for row, cs in COLUMN.items() for c in cs])
def test_invalid_column_of_a_table(tmp_path: Path, row: str, column: Any) -> None:
    _refused(_put(tmp_path / "bars.parquet", _opened().assign(close=column)), row, "close is")


TIME = {
    "epoch": ["", "17463730", "-5", "1746373080000.5", "9" * 30, "inf", "soon",
              "1746373080000001", f"{START + 60_000 * 3}", f"{START}", f"{START + 60_000 * 4 + 1}"],
    "iso": ["2025-05-04T15:38:00", "2025-05-04", "now", "", "2025-13-04T15:38:00Z",
            "9999-05-04T15:38:00Z", "1800-05-04T15:38:00Z", "2025-05-04T15:38:00+99:99"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "time"), [(kind, t) for kind, ts in TIME.items() for t in ts])
def test_invalid_time_is_named_with_its_line(tmp_path: Path, kind: str, time: str) -> None:
    lines = _lines() if kind == "epoch" else _lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}Z")
    lines[4] = f"{time},{lines[4].partition(',')[2]}"
    _refused(_put(tmp_path / "bars.csv", _text(*lines)), "line 6")


@pytest.mark.parametrize("ending", TABLES)
def test_times_of_a_table_without_a_timezone(tmp_path: Path, ending: str) -> None:
    path = _put(tmp_path / f"bars{ending}", _opened(_opened()["date"].dt.tz_localize(None)))
    _refused(path, "row 0", "timezone")


@pytest.mark.parametrize("ending", TABLES)
def test_missing_time_of_a_table_is_named(tmp_path: Path, ending: str) -> None:
    times = _opened()["date"].where(_opened().index != 3)
    _refused(_put(tmp_path / f"bars{ending}", _opened(times)), "row 3", "NaT")
    times = [START, START, START, None, START, START]
    _refused(_put(tmp_path / f"bars{ending}", _opened(times)), "row 3", "nan")


@pytest.mark.parametrize("asked", ["30s", "2min", "1h"])
def test_interval_that_contradicts_the_file(tmp_path: Path, asked: str) -> None:
    path = _put(tmp_path / "bars.csv", _text())
    _refused(path, "1min", asked, interval=asked)
    assert read_bars(path, interval="60s").attrs == {"interval": "1min"}


# --- any content ----------------------------------------------------------------------------------


def _read_or_refuse(path: Path) -> None:
    """Check that a file gives valid bars or an error of one line that names it."""
    try:
        bars = read_bars(path)
    except BarsError as error:
        message = str(error)
    else:
        message = str(path)
        assert_frame_equal(check_bars(bars, path), bars)
    assert str(path) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20)
@given(content=st.one_of(
    st.binary(max_size=300),
    st.text("0123456789.,-\n\"'e nopclhwZT:_", max_size=300).map(str.encode),
))  # fmt: skip
def test_any_bytes(ending: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"bars{ending}")
        path.write_bytes(content)
        _read_or_refuse(path)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15)
@given(data=st.data())
def test_changed_bytes(ending: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _put(Path(folder, f"bars{ending}"), _opened() if ending in TABLES else _text())
        content = bytearray(path.read_bytes())
        places = st.integers(0, len(content) - 1)
        for place, byte in data.draw(st.dictionaries(places, st.integers(0, 255))).items():
            content[place] = byte
        path.write_bytes(bytes(content))
        _read_or_refuse(path)


CELL = st.tuples(
    st.sampled_from(["date", *COLUMNS]),
    st.integers(0, 5),
    st.sampled_from(["", "nan", "1e400", "2025-05-04T00:00:00Z", "now", '"', ","])
    | (st.integers() | st.floats() | st.text(max_size=5) | st.none() | st.booleans()),
)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20)
@given(spoilt=st.lists(CELL, min_size=1, max_size=8))
def test_any_cells(ending: str, spoilt: list[tuple[str, int, Any]]) -> None:
    table = {name: list(column) for name, column in _opened().items()}
    for name, row, cell in spoilt:
        table[name][row] = cell
    frame = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in table.items()})
    if ending in TABLES:
        frame = frame.infer_objects()  # a column of a table has one type
        content: Any = frame.apply(lambda c: c.astype(str) if c.dtype == object else c)
    else:
        content = frame.to_csv(index=False).encode(errors="replace")
    with tempfile.TemporaryDirectory() as folder:
        _read_or_refuse(_put(Path(folder, f"bars{ending}"), content))
