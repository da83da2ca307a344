"""Reading of bars from files of any exporter, and writing of bars.

A file is a csv (also .txt or .tsv, compressed by gzip, or several in a zip), parquet or feather.
What a csv consists of is recognised by its first lines: text before the table, the separator, one
or more lines of header or none, the notation of the times. See `docs/how-to/data.md` for a list of
the exporters whose files are read. What cannot be read raises a BarsError.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import logging
import os
import re
import unicodedata
import zipfile
import zlib
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from pyarrow import dataset as pa_dataset
from pydantic import BeforeValidator, Field

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import PRICES, REPAIR, Origin, ensure_bars, fill_quiet, resample
from gafcnn.data.columns import KLINE, find_columns
from gafcnn.data.conversion import Part, Repair, join, parts_of
from gafcnn.data.sources import Interval, Symbol, Symbols, load_bars, register_source
from gafcnn.data.times import kind_of
from gafcnn.durations import Duration, DurationLike
from gafcnn.errors import BarsError, ConfigError, GafcnnError
from gafcnn.settings import create, settings

TEXTS = (".csv", ".txt", ".tsv")
ENDINGS = (*TEXTS, *(f"{ending}.gz" for ending in TEXTS), ".zip", ".parquet", ".feather")

# bars are compressed five- to tenfold; a table that grows far more is damaged or malicious
_MAX_GROWTH = 200
_ALWAYS_ALLOWED = 2**26  # bytes; bars without trades are compressed to almost nothing

_LEAST_CELLS = 5  # a time and four prices
_POOL = pa.system_memory_pool()  # the default one keeps memory that is free
_HEAD = 2**16  # bytes in which a table begins
_SEPARATORS = ",;\t"
_OTHER = "other"  # the name of columns that are not of the symbol that is read
_NO_NUMBERS = ("time", "clock", "symbol")

# in the name of a file: 2024, 202401, 2024-01-31, 20240131 or 202401310930, 31.01.2024
_DATES = r"(?:19|20)\d\d([-_]?[01]\d([-_]?[0-3]\d([0-2]\d[0-5]\d)?)?)?|\d\d\.\d\d\.(?:19|20)\d\d"
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?")

log = logging.getLogger(__name__)


class NoTableError(BarsError):
    """A text without a table, such as a report beside the bars."""


@dataclass(frozen=True)
class Table:
    """A table of a file, of which only some columns will be loaded.

    Attributes:
        source: The file, for messages.
        names: The names of its columns; a pair for a header of two levels.
        first: The cells of its first row.
        load: Returns columns by their positions, and where their rows come from.
        symbol: The symbol, if the header names it.
        file: The name of the file, within a zip if it is in one.
    """

    source: object
    names: Sequence[str | tuple[str, str]]
    first: Sequence[Any]
    load: Callable[[Mapping[str, int]], tuple[pd.DataFrame, Origin]]
    symbol: str | None = None
    file: str = ""


def read_tables(path: Path) -> Iterator[Table]:
    """Yield the tables of a file: one, or one per file of a zip and per symbol of a header."""
    ending = next((end for end in reversed(ENDINGS) if path.name.lower().endswith(end)), None)
    if not path.is_file() or ending is None:
        what = "has an unknown ending" if path.is_file() else "is not a file"
        raise BarsError(
            f"{path} {what}",
            expected=f"a file of bars, whose name ends in {', '.join(ENDINGS)}",
            instead="rename or convert the file" if path.is_file() else "correct the path",
        )
    try:
        if ending in (".parquet", ".feather"):
            tables = [_stored_table(path, ending[1:])]
        elif ending == ".zip":
            tables = zipped_tables(path, path)
        else:
            opener = gzip.open if ending.endswith(".gz") else open
            tables = [_text_table(path, partial(opener, path, "rb"))]
        for table in tables:
            yield from _by_symbol(table)
    except BarsError:
        raise
    except Exception as error:  # the parsers raise many types for damaged files
        raise unreadable(path, error) from error


def unreadable(source: object, why: object) -> BarsError:
    """Return the error for a file that is damaged or of another format."""
    first_line = (str(why).splitlines() or ["it is incomplete"])[0]
    return BarsError(
        f"{source} cannot be read: {first_line[:200].rstrip('. ')}",
        expected="a complete file of bars",
        instead="write a time and four numbers in each row, or download it again",
    )


def _stored_table(path: Path, kind: str) -> Table:
    dataset = pa_dataset.dataset(path, format=kind)
    columns = list(dataset.schema.names)
    # pandas stores a header of two levels as the text of a tuple
    names = [literal_eval(name) if name.startswith("('") else name for name in columns]
    size = 8 * dataset.count_rows() * len(names)
    for part in dataset.get_fragments() if kind == "parquet" else ():
        size = max(size, sum(group.total_byte_size for group in part.row_groups))
    if size > _MAX_GROWTH * path.stat().st_size + _ALWAYS_ALLOWED:
        raise unreadable(path, f"it unpacks to more than {_MAX_GROWTH} times its size")
    head = dataset.head(1, memory_pool=_POOL)
    if not head.num_rows:
        raise unreadable(path, "it has no rows")

    def load(places: Mapping[str, int]) -> tuple[pd.DataFrame, Origin]:
        table = dataset.to_table([columns[place] for place in places.values()], memory_pool=_POOL)
        table = table.rename_columns(list(places))
        table.validate(full=True)  # pandas would fail later, at the first use of a damaged value
        frame = table.to_pandas(memory_pool=_POOL, ignore_metadata=True, split_blocks=True)
        return frame, Origin(path)

    return Table(path, names, [column[0].as_py() for column in head.columns], load)


def zipped_tables(source: object, file: Path | BytesIO) -> Iterator[Table]:
    """Yield the tables of a zip, without what a Mac adds to it."""
    with zipfile.ZipFile(file) as archive:
        held = archive.namelist()
    names = [
        name
        for name in sorted(held)
        if name.lower().endswith(TEXTS) and not re.search(r"(^|/)(__MACOSX|\.)", name)
    ]
    if not names:
        raise BarsError(
            f"{source} holds {', '.join(held[:5]) or 'nothing'}",
            expected="csv files, as in Binance's kline archives",
            instead="unpack it and give the path of the file with the bars",
        )
    lacking = list[NoTableError]()
    for name in names:
        of_file = source if len(names) == 1 else f"{source}, {name}"
        try:
            table = _text_table(of_file, partial(_member, file, name))
        except NoTableError as error:
            lacking.append(error)
        else:
            yield replace(table, file=Path(name).name)
    if len(lacking) == len(names):
        raise lacking[0]


def _member(file: Path | BytesIO, name: str) -> Any:
    return zipfile.ZipFile(file).open(name)


def _text_table(source: object, opener: Callable[[], Any]) -> Table:
    """Return the table of a text, which is read again to load it; blank lines are skipped."""

    def read(size: int = -1) -> bytes:
        with opener() as file:
            return file.read(size)

    found = re.finditer(rb"[^\r\n]+", _as_utf8(read(_HEAD), "ignore"))  # cut within a character
    lines = [(one.start(), one[0].decode(errors="replace")) for one in found if one[0].strip()]
    separator, skipped = _find_table(lines, source)
    rows = [_cells(line, separator) for _, line in lines[skipped : skipped + 4]]
    headers = next((k for k, cells in enumerate(rows) if _is_data(cells)), None)
    if headers is None:
        raise unreadable(source, "it has no rows below the header")
    first, above = rows[headers], skipped + headers
    names = _names(rows[:headers], first)
    with_comma = [cell for cell in first if re.fullmatch(r"-?\d[\d.]*,\d+", cell)]
    with_dot = any(re.fullmatch(r"\$?-?\d+\.\d+[KMB]?", cell) for cell in first)
    commas = any(not with_dot or not re.search(r",\d{3}$", cell) for cell in with_comma)
    commas &= separator != ","
    decimal = "," if commas else "."

    def load(places: Mapping[str, int]) -> tuple[pd.DataFrame, Origin]:
        types = {
            str(place): pa.string() if role in _NO_NUMBERS else pa.float64()
            for role, place in places.items()
        }
        time = first[places["time"]]
        if kind_of(time) == "epoch":
            types[str(places["time"])] = pa.int64()
        elif _ISO.fullmatch(time):  # several times faster than by pandas
            zone = None if kind_of(time) == "naive" else "UTC"
            types[str(places["time"])] = pa.timestamp("us", zone)
        content = _as_utf8(read())
        options = content, lines[above][0], separator, decimal, len(first)
        try:
            table = _parse(source, *options, types)
        except pa.ArrowInvalid:  # as texts, so that the row can be named
            table = _parse(source, *options, dict.fromkeys(types, pa.string()))
        if b'"' in content and table.num_rows != len(_line_numbers(read)) - above:
            raise unreadable(source, "a quotation mark is not closed in its line")
        table = table.select([str(place) for place in places.values()])
        frame = table.rename_columns(list(places)).to_pandas(split_blocks=True)
        kept = np.arange(len(frame))
        if commas and frame["open"].dtype == "str":  # dots are of thousands
            numbers = [name for name in frame if name not in _NO_NUMBERS]
            without = frame[numbers].replace(r"\.(?=\d{3}(?:\D|$))", "", regex=True)
            frame[numbers] = without.replace(",", ".", regex=True)
        if headers and frame["open"].dtype == "str":  # of files that were joined
            header = rows[headers - 1][places["open"]]
            kept = np.flatnonzero(frame["open"].str.strip() != header)
        origin = Origin(source, lambda row: f"line {_line_numbers(read)[above + kept[row]]}")
        if len(kept) < len(frame):
            frame = frame.iloc[kept].reset_index(drop=True)
        return frame, origin

    return Table(source, names, first, load)


def _find_table(lines: Sequence[tuple[int, str]], source: object) -> tuple[str, int]:
    """Return the separator of the table, and how many lines are above its first."""
    for number, (_, line) in enumerate(lines[:20]):
        separator = max(_SEPARATORS, key=line.count)
        if len(_cells(line, separator)) >= _LEAST_CELLS:
            return separator, number
    raise NoTableError(*unreadable(source, "it has no row of time, open, high, low, close").args)


def _line_numbers(read: Callable[[], bytes]) -> list[int]:
    """Return the numbers of the lines that are not blank, counted from 1."""
    lines = _as_utf8(read()).splitlines()
    return [number for number, line in enumerate(lines, 1) if line.strip()]


def _as_utf8(content: bytes, errors: str = "strict") -> bytes:
    """Return a text in UTF-8, without the mark of its encoding.

    A text that does not begin in UTF-8 or UTF-16 is taken as Windows-1252, in which Excel writes.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as MetaTrader 5 writes
        content = content.decode("utf-16", errors).encode()
    try:  # of a character that is cut off there is no error
        codecs.getincrementaldecoder("utf-8")().decode(content[:_HEAD])
    except UnicodeDecodeError:
        content = content.decode("cp1252", "replace").encode()
    if not content.isascii():
        content.decode(errors=errors)  # fails here if it is not UTF-8
    return content.removeprefix(codecs.BOM_UTF8)


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _is_data(cells: Sequence[str]) -> bool:
    number = re.compile(r"\$?-?\d[\d.,]*(E[+-]?\d+)?", re.IGNORECASE)
    return kind_of(cells[0]) == "epoch" or sum(map(bool, map(number.fullmatch, cells[1:]))) > 1


def _names(
    header: Sequence[Sequence[str]], first: Sequence[str]
) -> Sequence[str | tuple[str, str]]:
    """Return the names of the columns; pairs for a header of several lines."""
    two_times = kind_of(first[0]) == "date" and kind_of(first[1]) == "clock"
    if not header:
        names = ["date", "time", *KLINE[1:6]] if two_times else [*KLINE[:6]]
        if len(first) == len(KLINE):
            names = [*KLINE]
        elif len(first) == 7 and kind_of(first[0]) == "epoch" and first[6].isdecimal():  # Kraken
            names += ["trades"]
        elif len(first) > len(names):  # the sixth may be another mean price
            names = names[:-1]
        return [*names, *[_OTHER] * len(first)][: len(first)]
    if len(header) == 1:
        names = [*header[0]]
        while len(names) > len(first) and not names[-1]:
            names.pop()
        if two_times and len(names) == len(first) - 1:  # the times have no name
            names.insert(1, "time")
        return names
    # as of yfinance: names, symbols, and a line for the name of the index
    above, below = header[0], header[1]
    return ["date", *zip(above[1:], below[1:], strict=False)]


def _by_symbol(table: Table) -> Iterator[Table]:
    """Yield a table per symbol of a header of two levels; without prices, the table itself."""
    pairs = [name for name in table.names if isinstance(name, tuple)]
    level = max((0, 1), key=lambda k: sum(pair[k].lower() in PRICES for pair in pairs))
    symbols = dict.fromkeys(pair[1 - level] for pair in pairs if pair[level].lower() in PRICES)
    if not symbols:
        names = [name if isinstance(name, str) else " ".join(name) for name in table.names]
        yield replace(table, names=names)
    for symbol in symbols:
        own = {pair: pair[level] for pair in pairs if pair[1 - level] in (symbol, "")}
        names = [name if isinstance(name, str) else own.get(name, _OTHER) for name in table.names]
        yield replace(table, names=names, symbol=symbol or None)


def _parse(
    source: object,
    content: bytes,
    start: int,
    separator: str,
    decimal: str,
    width: int,
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    """Return columns of a csv, by their positions; blank lines are skipped."""
    invalid: list[str] = []

    def skip_or_fail(row: pa_csv.InvalidRow) -> str:
        invalid.extend([row.text] if row.text.strip() else [])
        return "error" if invalid else "skip"

    try:
        return pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(content).slice(start)),
            pa_csv.ReadOptions(column_names=[str(k) for k in range(width)]),
            pa_csv.ParseOptions(delimiter=separator, invalid_row_handler=skip_or_fail),
            pa_csv.ConvertOptions(
                column_types=types, include_columns=list(types), decimal_point=decimal
            ),
        )
    except pa.ArrowInvalid:
        if not invalid:
            raise
        line = content.splitlines().index(invalid[0].encode()) + 1
        raise BarsError(
            f"{source}, line {line}: it has more or fewer cells than the first row",
            expected=f"{width} cells",
            instead=REPAIR,
        ) from None


def read_bars(
    path: str | Path | Sequence[str | Path],
    *,
    timezone: str | None = None,
    symbol: str | None = None,
    interval: DurationLike | None = None,
    fill: Literal["quiet"] | None = None,
    fill_limit: DurationLike = "1h",
    repair: Repair | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read the bars of one symbol, see `gafcnn.data.bars`.

    Files of all common exporters are read as they are. Times are open times, as exchanges write
    them, unless the file's only time is `close_time`. A file may lack a volume; its bars then have
    NaN there. Volumes of other kinds are kept where a file has them, see `gafcnn.data.bars`.

    Args:
        path: A csv (also .txt, .tsv, .gz or .zip), parquet or feather file; a folder of them; a
            pattern such as "klines/*.zip"; or a list. Several files are joined.
        timezone: Time zone of times without one, for example "UTC" or "America/New_York".
        symbol: The symbol, for files of several symbols.
        interval: Time between two bars; by default the most common one.
        fill: "quiet" carries the close on, with a volume of 0, where bars are missing because
            nothing was traded.
        fill_limit: The longest gap that is filled.
        repair: "drop" leaves out rows with impossible values, which then are gaps.
        calendar: The trading calendar, "24/7" or a code of exchange_calendars such as "XNYS", in
            which nights and weekends are no gaps; by default the one that the bars clearly follow.
        columns: Names of the columns of time, symbol, open, high, low, close or volume, where they
            are not recognised. `{"close": "Adj Close"}` scales the other prices with the close.

    Raises:
        BarsError: The file has no valid bars. Names file, row, value and remedy: the line of a csv,
            counted from 1, or the row of another format, counted from 0.
        ConfigError: `interval` or `fill_limit` is invalid.
    """
    if isinstance(path, pd.DataFrame):
        return ensure_bars(path)
    name = None if symbol is None else _plain_symbol(symbol)
    options: Any = {"timezone": timezone, "fill": fill, "fill_limit": fill_limit, "repair": repair}
    source = FileSource(path, name, calendar=calendar, columns=columns or {}, **options)  # pyright: ignore[reportArgumentType]
    found = source.read(interval)
    if len(found) > 1:
        raise BarsError(
            f"{path} holds {len(found)} symbols, {', '.join([*found][:5])}",
            expected="the name of one of them",
            instead=f'add symbol="{next(iter(found))}", or use gc.read_markets for all of them',
        )
    return next(iter(found.values()))


def read_markets(
    path: str | Path | Sequence[str | Path], *, symbols: Sequence[str] | None = None, **options: Any
) -> dict[str, pd.DataFrame]:
    """Read the bars of several symbols, by name, from files of one each or from a table of all.

    Args:
        path: As of `read_bars`.
        symbols: The symbols to read, or one name per file, in order; by default all, as the files
            name them.
        **options: The other options of `read_bars`, whose errors are raised.
    """
    given = {"path": path, "symbols": symbols} | options
    return load_bars(create(FileSource, "market", given))


_ONE_OR_MORE = BeforeValidator(lambda path: path if isinstance(path, list | tuple) else [path])


def _named(columns: Any) -> Any:
    """Leave out columns without a name, as conf/market/file.yaml lists them."""
    if not isinstance(columns, Mapping):
        return columns or {}
    return {role: name for role, name in columns.items() if name is not None}


@register_source("file")
@settings("market")
class FileSource:
    """Bars from files, see `read_bars`.

    A symbol is named by a column or a header of the file, else by the name of the file. Files whose
    names differ only in a date are of one symbol.

    Attributes:
        path: A file, a folder, a pattern, or a list of these.
        symbol: The only symbol to read; the name of the bars, if the files do not name them.
        symbols: The symbols to read, in place of `symbol`; or those of as many files, in their
            order; by default all.
        interval: Resample to this time between two bars; by default the file's own.
        timezone: See `read_bars`, as for all that follow; `fill` and `repair` are switches here.
    """

    path: Annotated[tuple[Path, ...], _ONE_OR_MORE, Field(min_length=1)]
    symbol: Symbol | None = None
    symbols: Symbols | None = None
    interval: Interval | None = None
    timezone: str | None = None
    fill: Literal["quiet"] | None = None
    fill_limit: Duration = pd.to_timedelta("1h")
    repair: Repair | None = None
    calendar: str | None = None
    columns: Annotated[Mapping[str, str], BeforeValidator(_named)] = Field(default_factory=dict)

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol; raises what `read_bars` and `resample` raise."""
        found = dict[str, pd.DataFrame]()
        if self.symbols is not None and 1 < len(self.path) == len(self.symbols):
            for symbol, path in zip(self.symbols, self.path, strict=True):
                found |= replace(self, path=(path,), symbol=symbol, symbols=None).read()
        else:
            found = self.read()
        if self.interval is not None:
            found = {symbol: resample(bars, self.interval) for symbol, bars in found.items()}
        return found

    def read(self, interval: DurationLike | None = None) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol, not resampled, given the time between two bars."""
        found, unnamed = dict[str, list[Part]](), True
        lacking = list[NoTableError]()
        for path in (files := [*_files(self.path)]):
            try:
                tables = [*read_tables(path)]
            except NoTableError as error:
                lacking.append(error)
                continue
            for table in tables:
                names, parts = dict[str, str | None](), parts_in(table, self.timezone, self.columns)
                log.info("%s: %s", table.source, parts[0].description)
                for part in parts:
                    first: Any = part.frame.index.min()
                    name = _plain_symbol(part.symbol or _symbol_of(table.file or path.name, first))
                    if names.setdefault(name, part.symbol) != part.symbol:
                        raise BarsError(
                            f"{table.source} has the symbols {names[name]} and {part.symbol}",
                            expected="names that differ in letters and digits",
                            instead="rename one of them",
                        )
                    found.setdefault(name, []).append(part)
                    unnamed &= part.symbol is None
        if not found:
            raise lacking[0]
        for error in lacking:
            log.info("left out: %s", error.found)
        wanted = self.symbols if self.symbol is None else [self.symbol]
        # the given symbol is the name of a file without one, or of files that are listed one by one
        one_market = len(found) == 1 or len(files) == len(self.path)
        if wanted is not None and len(wanted) == 1 and one_market and unnamed:
            found = {wanted[0]: [part for parts in found.values() for part in parts]}
        if missing := [name for name in wanted or () if name not in found]:
            raise BarsError(
                f"{files[0]} has no bars of {missing[0]}",
                expected=f"one of {', '.join([*found][:20])}",
                instead="correct the symbol",
            )
        bars, closes = dict[str, pd.DataFrame](), pd.Index([])
        for name in wanted or [*found]:
            parts = found.pop(name)  # which frees them before the next symbol
            if len(parts) > 1:
                log.info("%s: %d files are joined", name, len(parts))
            frame = join(parts, name, interval, self.repair, self.calendar)
            if self.fill is not None:
                frame = fill_quiet(frame, self.fill_limit)
            closes = max(closes, frame.index, key=len)
            first = closes.searchsorted(frame.index[0])
            same = closes[first : first + len(frame)]  # a view: equal times are kept once
            bars[name] = frame.set_axis(same) if same.equals(frame.index) else frame
        return bars


def write_bars(path: str | Path, bars: pd.DataFrame) -> None:
    """Write bars to a parquet file, which `read_bars` returns unchanged.

    Raises:
        ConfigError: The path does not end in .parquet.
        BarsError: They are not bars of gafcnn, see `gafcnn.as_bars`.
        DiskError: The file cannot be written.
    """
    if Path(path).suffix != ".parquet":
        raise ConfigError(
            f"the path is {path}", expected="one that ends in .parquet", instead="rename it"
        )
    write_bytes(Path(path), ensure_bars(bars).reset_index().to_parquet(None, index=False))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that paths, folders and patterns stand for."""
    for given in paths:
        path = Path(os.path.expanduser(given))  # noqa: PTH111 - Path's fails for a file ~x.csv
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.name.lower().endswith(ENDINGS))
        elif path.exists() or not glob.has_magic(str(path)):
            found = [path]
        else:
            found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise BarsError(
                f"{path} contains no file of bars",
                expected=f"files whose names end in {', '.join(ENDINGS)}",
                instead="correct the path",
            )
        yield from (one for one in found if not one.name.startswith("."))


def parts_in(
    table: Table, timezone: str | None = None, columns: Mapping[str, str] | None = None
) -> list[Part]:
    """Return the rows of each symbol of a table, see `parts_of`."""
    try:
        found = find_columns([str(one) for one in table.names], table.first, table.source, columns)
        frame, origin = table.load(found.places)
        if frame.empty:
            raise unreadable(table.source, "it has no rows")
        return parts_of(frame, found, origin, timezone, table.symbol)
    except GafcnnError:
        raise
    except Exception as error:  # the parsers raise many types for damaged files
        raise unreadable(table.source, error) from error


def _symbol_of(file: str, first: pd.Timestamp) -> str:
    """Return the name of a file without its ending, an interval (`, 60`), and the date of its bars.

    A date that is not that of the first bar stays, such as the month in which a future expires.
    """
    ending = max((end for end in ENDINGS if file.lower().endswith(end)), key=len, default="")
    whole = re.sub(r"(, \d+[A-Z]?)+$", "", file[: len(file) - len(ending)])
    stem = re.sub(rf"([-_ ]+({_DATES}))+$", "", whole)
    begins = [first + pd.Timedelta(days=days) for days in (-1, 1)]  # in any time zone
    digits = re.sub(r"\D", "", re.sub(r"(\d\d)\.(\d\d)\.(\d{4})", r"\3\2\1", whole[len(stem) :]))
    dated = any(f"{time:%Y%m%d}".startswith(digits[:6]) for time in begins)
    return stem if stem and dated else whole


def _plain_symbol(symbol: str) -> str:
    """Return a symbol that can be part of a folder's name: BTCUSD for BTC/USD, GSPC for ^GSPC."""
    text = unicodedata.normalize("NFKD", symbol).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]", "", text).lstrip(".")
    return plain or f"BARS_{zlib.crc32(symbol.encode()):08x}"
