"""Files of bars: what is read, what is refused, and in which words."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gafcnn.data.bars import COLUMNS, check_bars, fingerprint
from gafcnn.data.reading import read_bars, write_bars
from gafcnn.errors import BarsError

MINUTE = pd.to_timedelta("1min")
ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet", ".feather")
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


# Any, here and below: what a slice of a frame is, a frame or a column, type checkers do not know
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
    """The six bars as freqtrade keeps them: `date`, the open time, and the values."""
    frame = pd.DataFrame(VALUES, columns=list(COLUMNS))
    frame.insert(0, "date", _expected().index - MINUTE if times is None else times)
    return frame


def _put(path: Path, content: Any) -> Path:
    """The content as a file, packed as the ending of `path` asks."""
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


def _refusal(path: Path, interval: str | None = None) -> str:
    """The sentence with which the file is refused."""
    with pytest.raises(BarsError) as refused:
        read_bars(path, interval)
    assert type(refused.value) is BarsError
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence.removeprefix(str(path))


# --- what is read ---------------------------------------------------------------------------------

KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
KLINE_TAIL = ",1746372899999,156600.1,123,10.5,6179.6,0"


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".zip", ".CSV"])
@pytest.mark.parametrize(
    "text",
    [
        _text(),
        _text(header=None),
        _text(*_lines(tail=KLINE_TAIL), header=None),
        _text(*_lines(tail=KLINE_TAIL), header=KLINE_HEADER),
        _text(*_lines(tail=KLINE_TAIL), header=KLINE_HEADER.replace("_", " ").title()),
        _text(*_lines(lambda ms: ms // 1000)),
        _text(*_lines(lambda ms: ms * 1000), header=None),
        _text(*_lines(lambda ms: ms * 10**6)),
        _text(*_lines(lambda ms: f"{ms}.0")),
        _text(*_lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}Z")),
        _text(*_lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}+00"), header=None),
        _text(*_lines(lambda ms: pd.Timestamp(ms, unit="ms", tz="Asia/Kolkata").isoformat())),
        _text(header="date,Open,High,Low,Close,Volume"),
        _text(header="Timestamp,open,high,low,close,volume"),
    ],
    ids=[
        "header",
        "no header",
        "kline",
        "kline with header",
        "kline with spelled header",
        "s",
        "us",
        "ns",
        "ms as floats",
        "iso",
        "iso without header",
        "iso with another offset",
        "freqtrade",
        "timestamp",
    ],
)
def test_a_csv_is_read(tmp_path: Path, text: str, ending: str) -> None:
    bars = read_bars(_put(tmp_path / f"bars{ending}", text))
    pd.testing.assert_frame_equal(bars, _expected())
    assert bars.attrs == {"interval": MINUTE}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + _text(),
        "\ufeff" + _text(header=None),
        _text().replace("\n", "\r\n"),
        _text().replace("\n", "\r"),
        _text().replace("\n", "\n\n  \n"),
        "\n\r\n" + _text() + "\n\n",
        _text().replace(",", ", "),
        _text().replace(",", " , ").replace("\n", " \n"),
        _text().rstrip("\n"),
        _text(*_lines(tail=",x,"), header=HEADER + ",note,note"),
        _text(*(f'"{line}"'.replace(",", '","') for line in _lines())),
        _text(*(f"{k},{line}" for k, line in enumerate(_lines())), header="," + HEADER),
    ],
    ids=[
        "BOM",
        "BOM without header",
        "CRLF",
        "CR",
        "blank lines",
        "blank lines around",
        "spaces after commas",
        "spaces around commas",
        "no newline at the end",
        "extra columns",
        "quoted",
        "row numbers",
    ],
)
def test_the_looks_of_a_csv_do_not_matter(tmp_path: Path, text: str) -> None:
    pd.testing.assert_frame_equal(read_bars(_put(tmp_path / "bars.csv", text)), _expected())


def test_columns_are_told_by_their_names(tmp_path: Path) -> None:
    shuffled = _opened()[["volume", "close", "date", "low", "open", "high"]]
    path = tmp_path / "bars.csv"
    shuffled.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_bars(path), _expected())


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
def test_a_table_is_read(tmp_path: Path, ending: str, unit: Any, zone: str | None) -> None:
    opens = _opened()["date"].dt.as_unit(unit)
    times = opens.astype("int64") if zone is None else opens.dt.tz_convert(zone)
    path = _put(tmp_path / f"bars{ending}", _opened(times))
    pd.testing.assert_frame_equal(read_bars(path), _expected())


def test_a_table_of_any_numbers_is_read(tmp_path: Path) -> None:
    frame = _opened().assign(volume=[266, 981, 17, 0, 3, 1], trades="many")
    frame["open"] = frame["open"].astype(str)
    bars = read_bars(_put(tmp_path / "bars.parquet", frame))
    assert bars["volume"].tolist() == [266, 981, 17, 0, 3, 1]
    assert bars["open"].tolist() == _expected()["open"].tolist()


def test_the_index_of_a_table_is_a_column_of_it(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.parquet", _opened().set_index("date"))
    pd.testing.assert_frame_equal(read_bars(path), _expected())


def test_a_file_whose_only_time_is_the_close_is_labelled_by_it(tmp_path: Path) -> None:
    text = _text(*_lines(lambda ms: ms + 60_000), header=HEADER.replace("open_time", "close_time"))
    pd.testing.assert_frame_equal(read_bars(_put(tmp_path / "bars.csv", text)), _expected())


def test_gaps_in_a_file_are_kept(tmp_path: Path) -> None:
    lines = _lines()
    bars = read_bars(_put(tmp_path / "bars.csv", _text(*lines[:3], *lines[4:])))
    pd.testing.assert_frame_equal(bars, _expected().drop(_expected().index[3]))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_epochs_may_change_their_unit_midway(tmp_path: Path, ending: str) -> None:
    # as Binance's klines do with the year 2025
    times = [START + 60_000 * k for k in range(6)]
    times[3:] = [ms * 1000 for ms in times[3:]]
    frame = _opened(times)
    content = frame if ending == ".parquet" else frame.to_csv(index=False)
    pd.testing.assert_frame_equal(read_bars(_put(tmp_path / f"bars{ending}", content)), _expected())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=30),
    st.floats(0, 1e300),
    st.sampled_from(["1s", "1min", "15min", "7h", "1D"]),
    st.integers(0, 4 * 10**18),
)
def test_bars_come_back_as_they_were_written(
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
    pd.testing.assert_frame_equal(again, bars, check_exact=True)
    assert again.attrs == bars.attrs
    assert fingerprint(again) == fingerprint(bars)


def test_prices_of_a_csv_are_exact(tmp_path: Path) -> None:
    prices = np.random.default_rng(0).lognormal(0, 5, 2000)
    lines = [
        f"{START + 60_000 * k},{p!r},{p!r},{p!r},{p!r},1" for k, p in enumerate(prices.tolist())
    ]
    bars = read_bars(_put(tmp_path / "bars.csv", _text(*lines)))
    assert (bars["close"].to_numpy() == prices).all()


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_real_bars_come_back_as_they_were_written(
    real_bars_folder: Path, tmp_path: Path, ending: str
) -> None:
    for path in sorted(real_bars_folder.glob(f"*{ending}")):
        bars: Any = read_bars(path)
        write_bars(tmp_path / "again.parquet", bars)
        assert fingerprint(read_bars(tmp_path / "again.parquet")) == fingerprint(bars)
        bars[-500:].to_csv(tmp_path / "again.csv")
        assert fingerprint(read_bars(tmp_path / "again.csv")) == fingerprint(bars[-500:])


# --- what is refused: files -----------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_path_without_a_file_is_refused(tmp_path: Path, ending: str) -> None:
    assert _refusal(tmp_path / f"bars{ending}").startswith(
        " is not a file; expected a file of bars; correct market.path, or take market=bnb"
    )
    (tmp_path / f"folder{ending}").mkdir()
    assert _refusal(tmp_path / f"folder{ending}").startswith(" is a folder; expected a file")


@pytest.mark.parametrize("name", ["bars.xlsx", "bars", "bars.csv.bak"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    expected = " has an unknown ending; expected .csv, .csv.gz, .zip, .parquet, .feather; convert"
    assert _refusal(_put(tmp_path / name, _text())).startswith(expected)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_may_not_be_read_is_told(ending: str) -> None:
    was = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = _put(Path(folder, f"bars{ending}"), _opened() if ending in ENDINGS[3:] else _text())
        path.chmod(0)
        try:
            if was == 0:
                os.seteuid(65534)
            why = _refusal(path)
        finally:
            os.seteuid(was)
    assert why == " may not be read; expected bars that this user may read; allow it."


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_place_of_any_name_or_behind_a_link_is_as_good(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "Kurse für später, größer [1] 100%"
    folder.mkdir()
    path = _put(folder / f"ä *?{ending}", _opened() if ending in ENDINGS[3:] else _text())
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    (tmp_path / f"link{ending}").symlink_to(path)
    for place in (path, tmp_path / "link" / path.name, tmp_path / f"link{ending}"):
        pd.testing.assert_frame_equal(read_bars(place), _expected())


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"bars{ending}"
    path.touch()
    assert _refusal(path).startswith(" cannot be read: ")


@pytest.mark.parametrize("ending", ENDINGS[:3])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n \r\n", "cannot be read: it is empty"),
        (f"{HEADER}\n\n", "cannot be read: it holds no rows"),
        (_text(_lines()[0]), "holds 1 bar; expected at least two"),
        (_text(_lines()[0], header=None), "holds 1 bar; expected at least two"),
    ],
)
def test_fewer_than_two_rows_are_refused(tmp_path: Path, text: str, why: str, ending: str) -> None:
    assert _refusal(_put(tmp_path / f"bars{ending}", text), "1min").startswith(f" {why}; ")


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
@pytest.mark.parametrize("time", ["UTC", None, "epochs"])
def test_a_table_of_fewer_than_two_rows_is_refused(
    tmp_path: Path, ending: str, time: str | None
) -> None:
    opens = _opened()["date"]
    frame = _opened(opens.astype("int64") if time == "epochs" else opens.dt.tz_convert(time))
    path = _put(tmp_path / f"bars{ending}", frame[:0])
    assert _refusal(path, "1min").startswith(" cannot be read: it holds no rows; ")
    path = _put(tmp_path / f"bars{ending}", frame[:1])
    found = " holds 1 bar; expected at least two" if time else ", row 0: the time 2025-05-04 15:34"
    assert _refusal(path, "1min").startswith(found)


@pytest.mark.parametrize("ending", ENDINGS[1:])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str, part: float) -> None:
    content = _opened() if ending in ENDINGS[3:] else _text()
    path = _put(tmp_path / f"bars{ending}", content)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    assert _refusal(path).startswith(" cannot be read: ")


def test_a_csv_cut_in_a_row_is_refused(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.csv", _text()[:-14])
    assert _refusal(path).startswith(", line 7: it has 4 cells; expected 6, as in the file's first")


@pytest.mark.parametrize(
    ("place", "line"), [(0, 1), (len(HEADER) - 1, 1), (len(HEADER) + 1, 2), (-5, 7)]
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, place: int, line: int) -> None:
    content = bytearray(_text().encode())
    content[place] = 0xFF
    why = f", line {line}: the byte b'\\xff' is no text; expected UTF-8; save the file as UTF-8, or"
    assert _refusal(_put(tmp_path / "bars.csv", bytes(content))).startswith(why)


def test_a_quotation_mark_that_is_not_closed_is_refused(tmp_path: Path) -> None:
    lines = _lines(tail=",x")
    lines[1] = lines[1].replace(",x", ',"x')
    why = _refusal(_put(tmp_path / "bars.csv", _text(*lines, header=HEADER + ",note")))
    assert why.startswith(
        " cannot be read: it has a quotation mark that is not closed in its line;"
    )


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"bars.txt": b"1"},
        {"a.csv": _text().encode(), "b.csv": _text().encode()},
        {"../../bars.csv": _text().encode()},
        {"/etc/bars.csv": _text().encode()},
        {"..\\bars.csv": _text().encode()},
        {"folder/": b""},
        {"folder/bars.csv": _text().encode()},
        {"C:\\bars.csv": _text().encode()},
        {"bars.csv\n": _text().encode()},
        {"bars.zip": b"PK"},
        {"a.csv": _text().encode(), "notes/": b""},
    ],
    ids=[
        *("nothing", "another", "several", "above", "absolute", "backslash", "folder"),
        *("in a folder", "of a drive", "line break", "nested", "beside a folder"),
    ],
)
def test_a_zip_holds_one_csv(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = _zip(tmp_path / "bars.zip", members)
    why = _refusal(path)
    assert why.startswith(f" holds {list(members)!r}"[:12])
    assert "expected one csv file and no folder, stored or deflated, as in Binance's kline" in why
    assert why.endswith("; unpack it and give the path of the csv.")


def test_a_zip_is_not_followed_where_it_links_to(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text(_text())
    path = tmp_path / "bars.zip"
    link = zipfile.ZipInfo("bars.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, str(tmp_path / "secret.csv"))
    assert _refusal(path).startswith(" holds a link or a folder by the name bars.csv; expected one")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_another_method_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bars.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("bars.csv", _text())
    why = f" is packed by method {method}; expected one csv file and no folder, stored"
    assert _refusal(path).startswith(why)


def test_the_name_in_a_zip_ends_where_a_reader_ends_it(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bars.zip", {"bars.csv~.exe": _text().encode()})
    path.write_bytes(path.read_bytes().replace(b"~", b"\0"))
    # zipfile reads such a name up to its NUL, and the member's own header says another
    _read_or_refuse(path)


@pytest.mark.parametrize("comment", [b"x" * 65535, b"PK\5\6" * 1000])
def test_a_comment_on_a_zip_does_no_harm(tmp_path: Path, comment: bytes) -> None:
    path = _put(tmp_path / "bars.zip", _text())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment
    _read_or_refuse(path)


def test_a_gzip_of_several_members_is_read_through(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    head, tail = _text()[:100].encode(), _text()[100:].encode()
    path.write_bytes(gzip.compress(head) + gzip.compress(tail) + gzip.compress(b""))
    pd.testing.assert_frame_equal(read_bars(path), _expected())


CUT = gzip.compress(b"x", mtime=0)[:-3]


@pytest.mark.parametrize("rubbish", [b"x", b"\x1f\x8b", CUT, b"\0\0x"])
def test_a_gzip_with_rubbish_behind_it_is_refused(tmp_path: Path, rubbish: bytes) -> None:
    path = _put(tmp_path / "bars.csv.gz", _text())
    path.write_bytes(path.read_bytes() + rubbish)
    assert _refusal(path).startswith(" cannot be read: ")


def test_a_bomb_of_many_gzip_members_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress(_text().encode()) + gzip.compress(b"\n" * 10**6) * 100)
    assert _refusal(path).startswith(" cannot be read: it unpacks to more than 200 times its size;")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.zip", _text())
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in the member's own header
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # and in the archive's directory
    path.write_bytes(bytes(content))
    assert "encrypted" in _refusal(path)


@pytest.mark.parametrize("ending", [".csv.gz", ".zip"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, ending: str) -> None:
    path = _put(tmp_path / f"bars{ending}", _text() + "\n" * 30_000_000)
    why = " cannot be read: it unpacks to more than 200 times its size; expected a whole file of"
    assert _refusal(path).startswith(why)


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.zip", _text())
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = (50).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert _refusal(path).startswith(" cannot be read: ")


# --- what is refused: columns ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_column_that_is_missing_is_named(tmp_path: Path, ending: str) -> None:
    frame = _opened().drop(columns=["date", "low"])
    table = ending in ENDINGS[3:]
    path = _put(tmp_path / f"bars{ending}", frame if table else frame.to_csv(index=False))
    assert _refusal(path).startswith(" has no column open_time or low, only ['open', 'high', ")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_without_volume_is_a_market_without_volume(tmp_path: Path, ending: str) -> None:
    frame = _opened().drop(columns="volume")
    table = ending in ENDINGS[3:]
    path = _put(tmp_path / f"bars{ending}", frame if table else frame.to_csv(index=False))
    bars = read_bars(path)
    assert bars["volume"].isna().all()
    complete = _put(tmp_path / "complete.parquet", _opened())
    pd.testing.assert_frame_equal(bars[["open", "close"]], read_bars(complete)[["open", "close"]])

    write_bars(tmp_path / "kept.parquet", bars)
    kept = read_bars(tmp_path / "kept.parquet")
    pd.testing.assert_frame_equal(kept, bars)
    assert fingerprint(kept) == fingerprint(bars) != fingerprint(read_bars(complete))


@pytest.mark.parametrize("name", ["vol", "Volume USDT", "quote_volume"])
def test_a_volume_by_another_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    path = _put(tmp_path / "bars.parquet", _opened().rename(columns={"volume": name}))
    why = _refusal(path)
    assert why.startswith(" has no column volume, only ['date', ")
    assert why.endswith("rename the columns (a file without any volume may lack that one).")


def test_other_separators_are_no_columns(tmp_path: Path) -> None:
    why = _refusal(_put(tmp_path / "bars.csv", _text().replace(",", ";")))
    assert why.startswith(
        " has no column open_time or open or high or low or close or volume, only"
    )


@pytest.mark.parametrize("twice", ["open", "OPEN ", "open_time"])
def test_a_column_that_stands_twice_is_named(tmp_path: Path, twice: str) -> None:
    text = _text(*_lines(tail=",1"), header=f"{HEADER},{twice}")
    why = f" has the column {twice.strip().lower()} twice; expected each column once; remove or"
    assert _refusal(_put(tmp_path / "bars.csv", text)).startswith(why)


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_a_column_of_a_table_that_stands_twice_is_named(tmp_path: Path, ending: str) -> None:
    table = pa.Table.from_pandas(_opened())
    table = table.append_column("close", table["open"])
    path = tmp_path / f"bars{ending}"
    if ending == ".parquet":
        pq.write_table(table, path)
    else:
        pa_feather.write_feather(table, str(path))
    assert _refusal(path).startswith(" has the column close twice; ")


@pytest.mark.parametrize(("row", "cells"), [(2, 7), (5, 5)])
def test_a_row_of_another_length_is_named(tmp_path: Path, row: int, cells: int) -> None:
    lines = _lines()
    lines[row] = f"{lines[row]},9" if cells == 7 else lines[row].rpartition(",")[0]
    why = _refusal(_put(tmp_path / "bars.csv", _text(*lines[:1], "", *lines[1:])))
    assert why.startswith(
        f", line {row + 3}: it has {cells} cells; expected 6, as in the file's first"
    )


# --- what is refused: cells -----------------------------------------------------------------------


def _spoilt(row: int, column: int, cell: str) -> list[str]:
    lines = [line.split(",") for line in _lines()]
    lines[row][column] = cell
    return [",".join(line) for line in lines]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("abc", "close is 'abc'; expected a number; repair the row, or leave it out: a gap"),
        ("", "close is empty; expected a number"),
        (" ", "close is empty; expected a number"),
        ("nan", "close is 'nan'; expected a number"),
        ("1_000", "close is '1_000'; expected a number"),
        ("inf", "close is inf at 2025-05-04 15:38:00+00:00; expected a finite positive price"),
        ("0", "close is 0.0 at 2025-05-04 15:38:00+00:00; expected a finite positive price"),
        ("-1", "close is -1.0 at "),
        ("900", "open is 588.9, high is 589.0, low is 588.8, close is 900.0 at "),
    ],
)
@pytest.mark.parametrize(
    ("header", "above", "line", "ending"),
    [(None, 0, 5, ".csv"), (HEADER, 0, 6, ".zip"), (HEADER, 3, 9, ".csv"), (None, 2, 7, ".csv.gz")],
)
def test_a_cell_at_fault_is_named_with_its_line(
    tmp_path: Path, cell: str, found: str, header: str, above: int, line: int, ending: str
) -> None:
    spoilt = _spoilt(4, 4, cell)
    text = _text(*spoilt[:2], *[""] * above, *spoilt[2:], header=header)
    assert text.splitlines()[line - 1] == spoilt[4]
    path = _put(tmp_path / f"bars{ending}", text)
    assert _refusal(path).startswith(f", line {line}: {found}")


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
@pytest.mark.parametrize(
    ("column", "found"),
    [
        (
            [1.0, 2.0, None, 4.0, 5.0, 6.0],
            "close is nan at 2025-05-04 15:36:00+00:00; expected a f",
        ),
        (["1", "2", "three", "4", "5", "6"], "close is 'three'; expected a number"),
        (["1", "2", None, "4", "5", "6"], "close is "),
        ([588.47, 588.28, float("inf"), 1, 1, 1], "close is inf at"),
    ],
)
def test_a_cell_of_a_table_at_fault_is_named(
    tmp_path: Path, ending: str, column: list[Any], found: str
) -> None:
    path = _put(tmp_path / f"bars{ending}", _opened().assign(close=column))
    assert _refusal(path).startswith(f", row 2: {found}")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([True] * 6, "bool"),
        ([None] * 6, "null"),
        ([{"a": 1}] * 6, "struct<a: int64>"),
        ([[1.0, 2.0]] * 6, "list<"),
        ([b"\xff"] * 6, "binary"),
        (pd.to_timedelta(range(6)), "duration["),
        (pd.Categorical(list("aabbcc")), "dictionary<"),
    ],
    ids=["bools", "nothing", "structs", "lists", "bytes", "durations", "categories"],
)
@pytest.mark.parametrize("name", ["date", "volume"])
def test_a_column_that_is_no_number_is_refused(
    tmp_path: Path, name: str, column: Any, kind: str
) -> None:
    path = _put(tmp_path / "bars.parquet", _opened().assign(**{name: column}))
    assert _refusal(path).startswith(f" holds {name} as '{kind}")


def test_times_are_no_prices(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.parquet", _opened().assign(open=_opened()["date"]))
    assert _refusal(path).startswith(" holds open as 'timestamp[")


def test_a_long_cell_does_not_fill_the_screen(tmp_path: Path) -> None:
    path = _put(tmp_path / "bars.csv", _text(*_spoilt(2, 1, "x" * 5000)))
    assert len(_refusal(path)) < 200


# --- what is refused: times -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "found"),
    [
        ("", "the time is empty; expected a whole epoch"),
        ("17463730", "the time is '17463730'; expected a whole epoch in s, ms, us, ns, from 1973"),
        ("1746373080000001", "a step of 60000001000ns among bars of 1min; expected bars of"),
        ("-5", "the time is '-5'; expected a whole epoch"),
        ("1746373080000.5", "the time is '1746373080000.5'; expected a whole epoch"),
        ("9" * 30, "the time is "),
        ("inf", "the time is 'inf'; expected a whole epoch"),
        ("soon", "the time is 'soon'; expected a whole epoch"),
        (
            f"{START + 60_000 * 3}",
            "the time 2025-05-04 15:37:00+00:00 stands twice; expected times",
        ),
        (f"{START}", "the time 2025-05-04 15:34:00+00:00 is before the last one; expected times"),
        (f"{START + 60_000 * 4 + 1}", "a step of 60001ms among bars of 1min; expected bars of one"),
    ],
)
def test_a_time_at_fault_is_named_with_its_line(tmp_path: Path, time: str, found: str) -> None:
    path = _put(tmp_path / "bars.csv", _text(*_spoilt(4, 0, time)))
    assert _refusal(path).startswith(f", line 6: {found}")


@pytest.mark.parametrize(
    ("time", "found"),
    [
        (
            "2025-05-04T15:38:00",
            "the time 2025-05-04T15:38:00 has no timezone; expected UTC epochs",
        ),
        ("2025-05-04", "the time 2025-05-04 has no timezone"),
        ("now", "the time now has no timezone"),
        ("", "the time is empty; expected an epoch"),
        ("2025-13-04T15:38:00Z", "the time is '2025-13-04T15:38:00Z'; expected an epoch"),
        (
            "9999-05-04T15:38:00Z",
            "the time is 9999-05-04T15:38:00",
        ),
        (
            "1800-05-04T15:38:00Z",
            "the time is 1800-05-04T15:38:00",
        ),
        ("2025-05-04T15:38:00+99:99", "the time "),
    ],
)
def test_an_iso_time_at_fault_is_named_with_its_line(tmp_path: Path, time: str, found: str) -> None:
    lines = _lines(lambda ms: f"{pd.Timestamp(ms, unit='ms')}Z")
    lines[4] = f"{time},{lines[4].partition(',')[2]}"
    path = _put(tmp_path / "bars.csv", _text(*lines))
    assert _refusal(path).startswith(f", line 6: {found}")


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_a_column_of_times_without_a_timezone_is_refused(tmp_path: Path, ending: str) -> None:
    path = _put(tmp_path / f"bars{ending}", _opened(_opened()["date"].dt.tz_localize(None)))
    assert _refusal(path).startswith(", row 0: the time 2025-05-04 15:34:00 has no timezone; expec")


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_a_time_that_is_missing_from_a_table_is_named(tmp_path: Path, ending: str) -> None:
    times = _opened()["date"].where(_opened().index != 3)
    assert _refusal(_put(tmp_path / f"bars{ending}", _opened(times))).startswith(
        ", row 3: the time is NaT; expected one from 1970 to 2100"
    )
    path = _put(tmp_path / f"bars{ending}", _opened([START, START, START, None, START, START]))
    assert _refusal(path).startswith(", row 3: the time is 'nan'; expected a whole epoch")


@pytest.mark.parametrize("seconds", [2**40, 2**62, -(2**62)])
def test_a_time_that_no_calendar_has_is_named(tmp_path: Path, seconds: int) -> None:
    times = pa.array([START // 1000, seconds] * 3, pa.timestamp("s", "UTC"))
    table = pa.Table.from_pandas(_opened()).set_column(0, "date", times)
    pa_feather.write_feather(table, str(tmp_path / "bars.feather"))
    why = f", row 1: the time is {np.datetime64(seconds, 's')}; expected one from 1970 to 2100"
    assert _refusal(tmp_path / "bars.feather").startswith(why)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_bar_that_closes_after_every_calendar_is_named(tmp_path: Path, ending: str) -> None:
    # both open in time, a lifetime apart: so the second would close a lifetime after it opened
    frame = _opened()[:2].assign(date=[START, 3_492_633_720_000])
    content = frame if ending == ".parquet" else frame.to_csv(index=False)
    place = "row 1" if ending == ".parquet" else "line 3"
    assert _refusal(_put(tmp_path / f"bars{ending}", content)).startswith(
        f", {place}: the time is 2136-"
    )


@pytest.mark.parametrize("asked", ["30s", "2min", "1h"])
def test_an_interval_that_the_file_contradicts_is_refused(tmp_path: Path, asked: str) -> None:
    path = _put(tmp_path / "bars.csv", _text())
    why = f" holds bars of 1min; expected bars of {asked}, the interval asked for; leave"
    assert _refusal(path, asked).startswith(why)
    assert read_bars(path, "60s").attrs == {"interval": MINUTE}


# --- whatever a file holds ------------------------------------------------------------------------

CELLS = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "nan", "1e400", "2025-05-04T00:00:00Z", "now", '"', ","]),
    st.none(),
    st.booleans(),
)


def _check_schema(bars: pd.DataFrame) -> None:
    """Everything that whoever has bars may rely on."""
    assert list(bars.columns) == list(COLUMNS)
    assert (bars.dtypes == np.float64).all()
    assert isinstance(bars.index, pd.DatetimeIndex)
    assert (bars.index.name, str(bars.index.dtype)) == ("close_time", "datetime64[ns, UTC]")
    steps = np.diff(bars.index.asi8)
    assert list(bars.attrs) == ["interval"]
    interval = bars.attrs["interval"].value
    assert interval > 0
    assert len(steps) > 0
    assert (steps > 0).all()
    assert (steps % interval == 0).all()
    assert (steps == interval).any()
    prices = bars[list(COLUMNS[:4])].to_numpy()
    assert (np.isfinite(prices) & (prices > 0)).all()
    assert (bars["high"] == prices.max(axis=1)).all()
    assert (bars["low"] == prices.min(axis=1)).all()
    volume = bars["volume"].to_numpy()
    assert np.isnan(volume).all() or (np.isfinite(volume) & (volume >= 0)).all()


def _read_or_refuse(path: Path) -> None:
    """Bars that `check_bars` accepts again, or one sentence."""
    refusal = ""
    try:
        bars = read_bars(path)
    except BarsError as error:
        refusal = str(error)
    else:
        _check_schema(bars)
        pd.testing.assert_frame_equal(check_bars(bars, path), bars)
    assert not refusal or (str(path) in refusal and len(refusal.splitlines()) == 1)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_are_bars_or_refused(ending: str, data: st.DataObject) -> None:
    content = data.draw(
        st.one_of(
            st.binary(max_size=300),
            st.text(max_size=200).map(str.encode),
            st.text("0123456789.,-\n\"'e nopclhwZT:_", max_size=300).map(str.encode),
        )
    )
    packed = data.draw(st.booleans()) and ending in (".csv.gz", ".zip")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"bars{ending}")
        _put(path, content) if packed else path.write_bytes(content)
        _read_or_refuse(path)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_file_with_any_bytes_changed_is_bars_or_refused(ending: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"bars{ending}")
        content = bytearray(
            _put(path, _opened() if ending in ENDINGS[3:] else _text()).read_bytes()
        )
        places = st.integers(0, len(content) - 1)
        for place, byte in data.draw(st.dictionaries(places, st.integers(0, 255))).items():
            content[place] = byte
        path.write_bytes(bytes(content))
        _read_or_refuse(path)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_table_is_bars_or_refused(ending: str, data: st.DataObject) -> None:
    table = {name: list(column) for name, column in _opened().items()}
    names = st.sampled_from(list(table))
    for name, row, cell in data.draw(
        st.lists(st.tuples(names, st.integers(0, 5), CELLS), min_size=1, max_size=8)
    ):
        table[name][row] = cell
    frame = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in table.items()})
    if ending in ENDINGS[3:]:
        # a column of a table has one type
        frame = frame.infer_objects()
        frame = frame.apply(lambda c: c.astype(str) if c.dtype == object else c)
    with tempfile.TemporaryDirectory() as folder:
        text = io.StringIO()
        frame.to_csv(text, index=False)
        content = frame if ending in ENDINGS[3:] else text.getvalue().encode(errors="replace")
        _read_or_refuse(_put(Path(folder, f"bars{ending}"), content))


def _listed(values: pa.Array) -> pa.Array:
    return pa.array([[value] for value in values.to_pylist()])


def _structs(values: pa.Array) -> pa.Array:
    return pa.array([{"value": value} for value in values.to_pylist()])


def _categories(values: pa.Array) -> pa.Array:
    return values.cast(pa.string()).dictionary_encode()


def _cast(kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda values: values.cast(kind, safe=False)


_OTHER = [_listed, _structs, _categories, lambda values: pa.nulls(len(values))]
_TEXTS = [_cast(kind) for kind in (pa.string(), pa.large_string(), pa.string_view())]
NUMBERS = [
    *(_cast(kind) for kind in (pa.int16(), pa.uint64(), pa.float16(), pa.float32(), pa.bool_())),
    *(_cast(kind) for kind in (pa.decimal128(20, 4), pa.decimal256(60, 30), pa.float64())),
    *(lambda values, kind=kind: values.cast(pa.int64(), safe=False).cast(kind) for kind in (
        pa.timestamp("ms", "UTC"), pa.duration("s"), pa.date64(),
    )),
    lambda values: values.cast(pa.string()).cast(pa.binary()),
    *_TEXTS,
    *_OTHER,
]  # fmt: skip
MOMENTS = [
    *(_cast(pa.timestamp(unit, zone)) for unit in ("s", "ms", "us", "ns") for zone in (
        "UTC", "Asia/Kolkata", "+05:45", None,
    )),
    *(_cast(kind) for kind in (pa.date32(), pa.date64(), pa.int64(), pa.time64("us"))),
    lambda values: values.cast(pa.int64()).cast(pa.float64()),
    lambda values: values.cast(pa.int64()).cast(pa.decimal128(30, 2)),
    lambda values: values.cast(pa.int64()).cast(pa.string()),
    *_TEXTS,
    *_OTHER,
]  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_columns_of_any_type_are_bars_or_refused(ending: str, data: st.DataObject) -> None:
    plain = {
        "date": pa.array(START + 60_000 * np.arange(6)).cast(pa.timestamp("ms", "UTC")),
        **{
            name: pa.array(column)
            for name, column in zip(COLUMNS, np.transpose(VALUES), strict=True)
        },
    }
    columns = dict(plain)
    for name in data.draw(st.sets(st.sampled_from(list(plain)), max_size=2)):
        kinds = MOMENTS if name == "date" else NUMBERS
        columns[name] = kinds[data.draw(st.integers(0, len(kinds) - 1))](plain[name])
    for name in data.draw(st.sets(st.sampled_from(list(plain)), max_size=1)):
        row = data.draw(st.integers(0, 5))
        cells = columns[name].to_pylist()
        cells[row] = None
        columns[name] = pa.array(cells)
    table = pa.table(columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"bars{ending}")
        if ending == ".parquet":
            pq.write_table(table, path)
        elif ending == ".feather":
            pa_feather.write_feather(table, str(path))
        else:
            _put(path, table.to_pandas().to_csv(index=False))
        _read_or_refuse(path)


# --- writing --------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bars.parquet"
    write_bars(path, _expected()[:3])
    write_bars(path, _expected())
    pd.testing.assert_frame_equal(read_bars(path), _expected())
    assert [entry.name for entry in path.parent.iterdir()] == ["bars.parquet"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    write_bars(path, _expected())
    before = path.read_bytes()
    with pytest.raises(pa.ArrowException):
        write_bars(path, _expected().assign(note=[1, "a", 2.0, b"", None, object()]))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["bars.parquet"]
