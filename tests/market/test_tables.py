"""What a file unpacks to is known before it is unpacked, and refused where it is no bars' size."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pq
import pytest

from gafcnn.data.bars import COLUMNS
from gafcnn.data.reading import read_bars
from gafcnn.errors import BarsError

MANY = 6_000_000  # rows: 300 MB of numbers
PAGE = 70_000_000  # bytes
ROOM = 200_000_000  # bytes of memory beside what an ordinary file has taken
START = 1_746_372_840_000  # ms; 2025-05-04T15:34:00Z


def _bars(n: int = 6, **columns: Any) -> pa.Table:
    """n quiet bars, a minute apart, with other columns in the place of some."""
    times = START + 60_000 * np.arange(n)
    return pa.table({"open_time": times, **dict.fromkeys(COLUMNS, np.ones(n)), **columns})


def _many(kind: Any) -> pa.Table:
    """The same number many times, in every column."""
    return pa.table(dict.fromkeys(("open_time", *COLUMNS), np.ones(MANY, kind)))


def _parquet(path: Path, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, path, compression="zstd", **options)


def _feather(path: Path, table: pa.Table) -> None:
    pa_feather.write_feather(table, str(path), compression="zstd")


def _long(n: int, length: int) -> pa.Array:
    """The same long text n times, which is in memory once."""
    return pa.DictionaryArray.from_arrays(np.zeros(n, "int8"), ["1".ljust(length)])


def _one_long(length: int) -> pa.Array:
    return pa.array(["1", "1".ljust(length)])


GROWN = "it unpacks to more than 200 times its size; expected a whole file of bars; fetch it again."
LONG = "open is a text of 1,000,000 bytes; expected a number or a time, in 64 at most; repair the"

# what is made, and how it is refused
BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "numbers by a dictionary.parquet": (lambda path: _parquet(path, _many("int8")), GROWN),
    "plain numbers.parquet": (
        lambda path: _parquet(path, _many("int8"), use_dictionary=False),
        GROWN,
    ),
    "nothing.parquet": (
        lambda path: _parquet(
            path, pa.table(dict.fromkeys(("date", *COLUMNS), pa.nulls(MANY, pa.float64())))
        ),
        GROWN,
    ),
    "a long text, many times.parquet": (
        lambda path: _parquet(
            path,
            _bars(400, open=_long(400, 10**6)),
            store_schema=False,
        ),
        LONG,
    ),
    "texts by their prefixes.parquet": (
        lambda path: _parquet(
            path,
            _bars(open=pa.array(["1" * 100] * 6)),
            use_dictionary=False,
            column_encoding={"open": "DELTA_BYTE_ARRAY"},
        ),
        " holds open as DELTA_BYTE_ARRAY; expected plain or dictionary pages; write the column as",
    ),
    "a text of a page.parquet": (
        lambda path: _parquet(path, _bars(2, open=_one_long(PAGE))),
        GROWN,
    ),
    "numbers.feather": (lambda path: _feather(path, _many("int8")), GROWN),
    "a text.feather": (
        lambda path: _feather(path, _bars(2, open=_one_long(PAGE))),
        GROWN,
    ),
    "a text beside.feather": (
        lambda path: _feather(path, _bars(2, note=_one_long(PAGE))),
        GROWN,
    ),
    "categories beside.feather": (
        lambda path: _feather(path, _bars(2, note=_long(2, PAGE))),
        GROWN,
    ),
    "short lines.csv.gz": (
        lambda path: path.write_bytes(gzip.compress(b"time,open\n" + b"1\n" * 20_000_000, 1)),
        " cannot be read: it unpacks to more than 200 times its size; ",
    ),
    "short lines.csv": (
        lambda path: path.write_bytes(b"time,open,high,low,close\n" + b"1\n" * 10_000_000),
        " cannot be read: its lines are too short to hold bars; ",
    ),
    "lines of a cell.csv": (
        lambda path: path.write_bytes(b"time,open,high,low,close\n" + b"1234\n" * 3_000_000),
        ", line 2: it has 1 cells; expected 5, as in the file's first row; ",
    ),
    "a line of cells.csv": (
        lambda path: path.write_bytes(b"1" + b",1" * 1_000_000),
        " has 1,000,001 columns; expected 1,000 at most; ",
    ),
}

READING = f"""
import json, resource, sys
from gafcnn.errors import BarsError
from gafcnn.data.reading import read_bars

def told(path):
    try:
        return len(read_bars(path))
    except BarsError as error:
        return str(error)

ordinary, *bombs = sys.argv[1:]
[told(f"{{ordinary}}.{{ending}}") for ending in ("csv", "parquet", "feather")]
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {ROOM}, -1))
print(json.dumps([told(path) for path in bombs]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured by Linux")
def test_a_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    ordinary = tmp_path / "bars"
    _bars(100).to_pandas().to_csv(f"{ordinary}.csv", index=False)
    _parquet(Path(f"{ordinary}.parquet"), _bars(100))
    _feather(Path(f"{ordinary}.feather"), _bars(100))
    paths = [tmp_path / name for name in BOMBS]
    for path, (make, _) in zip(paths, BOMBS.values(), strict=True):
        make(path)
    assert all(path.stat().st_size < 1_500_000 for path in paths if path.suffix != ".csv")
    command = [sys.executable, "-c", READING, str(ordinary), *map(str, paths)]
    run = subprocess.run(command, capture_output=True, check=True, text=True)
    sentences = json.loads(run.stdout)
    for path, sentence, (_, why) in zip(paths, sentences, BOMBS.values(), strict=True):
        assert str(sentence).startswith(str(path))
        assert why in str(sentence)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none"},
        {"compression": "snappy", "data_page_version": "2.0"},
        {"compression": "gzip", "row_group_size": 2},
        {"compression": "lz4", "use_dictionary": False},
        {"compression": "brotli", "write_page_index": True, "write_page_checksum": True},
        {"compression": "zstd", "data_page_size": 1, "write_statistics": False},
        {"use_dictionary": False, "column_encoding": "BYTE_STREAM_SPLIT"},
        {"store_schema": False, "version": "1.0"},
        {"store_decimal_as_integer": True},
    ],
    ids=lambda options: " ".join(options),
)
def test_parquet_of_any_make_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    times = pd.date_range("2025-05-04", periods=9, freq="1min", tz="UTC").as_unit("us")
    numbers = np.arange(1.0, 10.0)
    _check_alike(
        tmp_path / "bars.parquet",
        {"date": times, **dict.fromkeys(COLUMNS, numbers)},
        lambda table, path: pq.write_table(table, path, **options),
    )
    if "column_encoding" not in options:
        texts = pa.array([f"{number:.1f}" for number in numbers])
        fixed = pa.array([Decimal(text) for text in texts.to_pylist()])
        _check_alike(
            tmp_path / "texts.parquet",
            {"date": times, **dict.fromkeys(COLUMNS[:3], texts), "close": fixed, "volume": fixed},
            lambda table, path: pq.write_table(table, path, **options),
        )


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
@pytest.mark.parametrize("chunksize", [2, None])
def test_feather_of_any_make_is_read(
    tmp_path: Path, compression: Any, chunksize: int | None
) -> None:
    times = pd.date_range("2025-05-04", periods=9, freq="1min", tz="UTC").as_unit("us")
    numbers = np.arange(1.0, 10.0)
    beside = pa.array(["a", "b", "a"] * 3).dictionary_encode()
    _check_alike(
        tmp_path / "bars.feather",
        {"note": beside, "date": times, **dict.fromkeys(COLUMNS, numbers)},
        lambda table, path: pa_feather.write_feather(
            table, str(path), compression=compression, chunksize=chunksize
        ),
    )


def _check_alike(path: Path, columns: dict[str, Any], write: Callable[..., None]) -> None:
    write(pa.table(columns), path)
    bars = read_bars(path)
    assert bars.index[0] == pd.Timestamp("2025-05-04T00:01Z")
    assert all((bars[name].to_numpy() == np.arange(1.0, 10.0)).all() for name in COLUMNS)


def test_a_footer_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    _parquet(path, _bars())
    # columns that may lack values, turned to ones that may not, against their own statistics
    optional = b"\x25\x02\x18"
    assert path.read_bytes().count(optional) == 6
    path.write_bytes(path.read_bytes().replace(optional, b"\x25\x00\x18"))
    with pytest.raises(BarsError, match="bars.parquet cannot be read: "):
        read_bars(path)


@pytest.mark.parametrize(
    "after", [b"\x19", b"\x26", b"\x16"], ids=["the file", "a row group", "all column chunks"]
)
def test_a_footer_that_claims_more_rows_than_there_can_be_is_refused(
    tmp_path: Path, after: bytes
) -> None:
    path = tmp_path / "bars.parquet"
    _parquet(path, _bars())
    content = path.read_bytes()
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # six rows, and 160,903,919,226 of them, as Thrift writes a long integer
    footer = content[begin:-8]
    six, many = b"\x16\x0c" + after, b"\x16\xf4\xd9\xf7\xe9\xae\x09" + after
    assert footer.count(six) == (6 if after == b"\x16" else 1)
    footer = footer.replace(six, many)
    path.write_bytes(content[:begin] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(BarsError, match="it claims to hold 160,903,919,226"):
        read_bars(path)


def test_feather_of_the_first_version_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bars.feather"
    path.write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(BarsError, match="is of feather's first version; expected its second"):
        read_bars(path)


@pytest.mark.parametrize("name", ["bars.parquet", "packed.parquet", "bars.feather", "bars.csv.gz"])
def test_a_year_of_a_quiet_market_is_no_bomb(tmp_path: Path, name: str) -> None:
    n, path = 100_000 if name.endswith(".gz") else 500_000, tmp_path / name
    if name == "bars.csv.gz":
        line = b",588.55,588.55,588.55,588.55,0.0\n"
        times = (START + 60_000 * np.arange(n)).tolist()
        path.write_bytes(gzip.compress(b"".join(b"%d%s" % (time, line) for time in times)))
    elif name == "bars.feather":
        _feather(path, _bars(n))
    elif name == "bars.parquet":
        _parquet(path, _bars(n))
    else:
        packed = {"open_time": "DELTA_BINARY_PACKED"}
        _parquet(path, _bars(n), use_dictionary=list(COLUMNS), column_encoding=packed)
    assert len(read_bars(path)) == n
