"""Files of the exporters that people use, read as they are."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS, gaps, interval_of
from gafcnn.data.conversion import as_bars
from gafcnn.data.reading import FileSource, read_bars
from gafcnn.errors import BarsError, ConfigError

NEW_YORK = "America/New_York"
TITLES = [name.title() for name in COLUMNS]

# eight bars of a minute, as (open, high, low, close, volume)
VALUES = [[100.0 + k, 101.5 + k, 99.5 + k, 101.0 + k, 10.0 + k] for k in range(8)]
OPENS = pd.date_range("2024-01-02 14:30", periods=8, freq="1min", tz="UTC")


def read_markets(path: Any, **options: Any) -> dict[str, pd.DataFrame]:
    return FileSource(path, **options).load()


def expected(opens: pd.DatetimeIndex = OPENS, **more: float) -> pd.DataFrame:
    closes = (opens + (opens[1] - opens[0])).as_unit("ns").rename("close_time")
    return pd.DataFrame(VALUES, closes, list(COLUMNS)).assign(**more)


def rows(time: Callable[[pd.Timestamp], str], separator: str = ",", tail: str = "") -> list[str]:
    local = OPENS.tz_convert(NEW_YORK)
    cells = zip(local, VALUES, strict=True)
    return [separator.join([time(t), *map(str, values)]) + tail for t, values in cells]


def written(folder: Path, *lines: str, name: str = "bars.csv") -> Path:
    """Return the path of a file that holds the lines."""
    path = folder / name
    path.write_text("\n".join(lines))
    return path


def stamp(notation: str, zone: str = "UTC") -> Callable[[pd.Timestamp], str]:
    return lambda time: time.tz_convert(zone).strftime(notation)


def epoch(unit: int) -> Callable[[pd.Timestamp], str]:
    return lambda time: str(time.value // unit)


S, MS, US = 10**9, 10**6, 10**3
BARS = list(zip(OPENS, VALUES, strict=True))
HEADER = "time,open,high,low,close,volume"
LINES = rows(epoch(MS))  # without a header
KLINE = ",1704205859999,1000.5,42,5.25,500.1,0"
EXTRAS = {"quote_volume": 1000.5, "trades": 42.0, "taker_buy_volume": 5.25}

Dialect = tuple[list[str], dict[str, str], dict[str, float]]


def exported(header: str, lines: list[str], timezone: str = "", **more: float) -> Dialect:
    """The lines of a file, the options that it takes, and what its further columns hold."""
    options = {"timezone": timezone} if timezone else {}
    return [*header.splitlines(), *lines], options, more


DIALECTS = {
    "Binance": exported("", rows(epoch(MS), tail=KLINE), **EXTRAS),
    "Binance since 2025": exported("", rows(epoch(US), tail=KLINE), **EXTRAS),
    "Kraken": exported("", rows(epoch(S), tail=",7"), trades=7.0),
    "CryptoDataDownload": exported(
        "https://www.CryptoDataDownload.com\n"
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        rows(lambda t: epoch(S)(t) + stamp(",%Y-%m-%d %H:%M:%S,BTC/USD")(t), tail=",9.0")[::-1],
        quote_volume=9.0,
    ),
    "Gemini": exported(
        "Created on 06-02-2019,https://www.CryptoDataDownload.com\n"
        "Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD",
        rows(stamp("%Y-%m-%d %H:%M:%S,BTCUSD"), tail=",9.0"),
        timezone="UTC",
        quote_volume=9.0,
    ),
    "Coinbase": exported(
        "time,low,high,open,close,volume",
        [f"{epoch(S)(t)},{low},{high},{o},{c},{v}" for t, (o, high, low, c, v) in BARS[::-1]],
    ),
    "Bitstamp": exported("timestamp,open,high,low,close,volume", rows(epoch(S))),
    "Bitstamp, Kaggle": exported(
        "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
        # nothing was traded in the last minute
        [*rows(epoch(S), tail=",9,4"), f"{OPENS[-1].value // S + 60}{',NaN' * 7}"],
        quote_volume=9.0,
    ),
    "Gemini, ms": exported(
        "Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume",
        rows(lambda t: f"{t.value // MS},{t:%Y-%m-%d %H:%M:%S},BTCUSD"),
    ),
    "Bybit": exported("startTime,openPrice,highPrice,lowPrice,closePrice,volume", LINES),
    "TradingView": exported(
        "time,open,high,low,close,Volume,Volume MA,Plot,Plot", rows(epoch(S), tail=",NaN,,")
    ),
    "TradingView, ISO": exported("time,open,high,low,close,Volume", rows(lambda t: t.isoformat())),
    "ccxt, freqtrade": exported(
        "timestamp,date,open,high,low,close,volume",
        rows(lambda t: f"{t.value // MS},{t:%Y-%m-%d}"),
    ),
    "MetaTrader 4": exported("", rows(stamp("%Y.%m.%d,%H:%M")), "UTC"),
    "MetaTrader 5": exported(
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        rows(stamp("%Y.%m.%d\t%H:%M:%S"), "\t", "\t0\t5"),
        "UTC",
    ),
    "HistData": exported("", rows(stamp("%Y%m%d %H%M%S"), ";"), "UTC"),
    "Dukascopy": exported(
        "Gmt time,Open,High,Low,Close,Volume", rows(stamp("%d.%m.%Y %H:%M:%S.000")), "UTC"
    ),
    "Dukascopy, local": exported(
        "Local time,Open,High,Low,Close,Volume",
        rows(stamp("%d.%m.%Y %H:%M:%S.000 GMT%z", NEW_YORK)),
    ),
    "Stooq": exported(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        rows(stamp("AAPL.US,1,%Y%m%d,%H%M%S"), tail=",0"),
        "UTC",
    ),
    "Interactive Brokers": exported(
        "Date,Open,High,Low,Close,Volume,Average,BarCount",
        rows(stamp("%Y%m%d %H:%M:%S US/Eastern", NEW_YORK), tail=",100.2,42"),
        trades=42.0,
    ),
    "Alpaca": exported(
        "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
        rows(stamp("AAPL,%Y-%m-%d %H:%M:%S+00:00"), tail=",42,100.2"),
        trades=42.0,
    ),
    "Polygon": exported(
        "ticker,volume,open,close,high,low,window_start,transactions",
        [f"AAPL,{v},{o},{c},{high},{low},{t.value},42" for t, (o, high, low, c, v) in BARS],
        trades=42.0,
    ),
    "Nasdaq": exported(
        "Date,Close/Last,Volume,Open,High,Low",
        [
            f"{t:%Y-%m-%d %H:%M},${c:.2f},{v:.0f},${o:.2f},${high:.2f},${low:.2f}"
            for t, (o, high, low, c, v) in BARS[::-1]
        ],
        "UTC",
    ),
    "Investing.com": exported(
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        [
            f'"{t:%Y-%m-%d %H:%M}","{c:,.2f}","{o:,.2f}","{high:,.2f}","{low:,.2f}",'
            f'"{v / 1e3}K","9%"'
            for t, (o, high, low, c, v) in BARS[::-1]
        ],
        "UTC",
    ),
    "backtrader": exported(
        "Date,Time,Open,High,Low,Close,Volume,OpenInterest",
        rows(stamp("%Y-%m-%d,%H:%M:%S"), tail=",0"),
        "UTC",
    ),
    "a time without a name": exported(
        "Date,Open,High,Low,Close,Volume", rows(stamp("%Y-%m-%d,%H:%M:%S")), "UTC"
    ),
    "a pandas index without a name": exported(
        ",open,high,low,close,volume", rows(stamp("%Y-%m-%d %H:%M:%S+00:00"))
    ),
    "digits of a calendar": exported(HEADER, rows(stamp("%Y%m%d%H%M")), "UTC"),
    "UTC in words": exported(HEADER, rows(stamp("%Y-%m-%d %H:%M:%S UTC"))),
    "decimal commas": exported(
        HEADER.replace(",", ";"),
        [row.replace(".", ",") for row in rows(stamp("%Y-%m-%d %H:%M"), ";")],
        "UTC",
    ),
    "a zone of its own": exported(HEADER, rows(stamp("%Y-%m-%d %H:%M:%S", NEW_YORK)), NEW_YORK),
    "twelve hours": exported(HEADER, rows(stamp("%Y-%m-%d %I:%M %p")), "UTC"),
    "joined files": exported(
        header := "open_time,open,high,low,close,volume",
        [*LINES[:4], header, *LINES[4:]],
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_is_read_as_it_was_exported(tmp_path: Path, name: str, encoding: str) -> None:
    lines, options, more = DIALECTS[name]
    path = tmp_path / "bars.csv"
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    bars = read_bars(path, **options)
    if name == "MetaTrader 5":
        assert list(bars.columns) == list(COLUMNS)
    assert_frame_equal(bars, expected(**more), check_freq=False)
    assert interval_of(bars) == pd.Timedelta("1min")


@pytest.mark.parametrize("name", [name for name, (_, options, _) in DIALECTS.items() if options])
def test_times_without_a_zone_are_refused_with_the_option_to_add(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, *DIALECTS[name][0])
    with pytest.raises(BarsError, match="timezone=") as caught:
        read_bars(path)
    assert "bars.csv, line" in str(caught.value)


@pytest.mark.parametrize("times", ["1.70421E+12", "1.70421E+09"])
def test_times_that_lost_digits_are_told_as_that(tmp_path: Path, times: str) -> None:
    path = written(tmp_path, HEADER, *rows(lambda _: times))
    with pytest.raises(BarsError, match="spreadsheet"):
        read_bars(path)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
@pytest.mark.parametrize("name", [None, "Date"])
def test_an_index_of_pandas(tmp_path: Path, ending: str, name: str | None) -> None:
    frame = pd.DataFrame(VALUES, OPENS.rename(name), TITLES)
    path = tmp_path / f"bars{ending}"
    if ending == ".csv":
        frame.to_csv(path)
    elif ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.rename_axis(name or "index").reset_index().to_feather(path)
    assert_frame_equal(read_bars(path), expected(), check_freq=False)


# --- headers of two levels, long tables, several files --------------------------------------------


def yahoo(tickers: list[str]) -> pd.DataFrame:
    """As yfinance.download returns it."""
    frame = pd.DataFrame(VALUES, OPENS.rename("Date"), TITLES)
    frame["Adj Close"] = frame["Close"]
    frames = {ticker: frame * factor for factor, ticker in enumerate(tickers, 1)}
    return pd.concat(frames, axis=1, names=["Ticker", "Price"]).swaplevel(axis=1).sort_index(axis=1)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("tickers", [["AAPL"], ["AAPL", "BRK-B"]])
def test_a_header_of_prices_and_tickers(tmp_path: Path, ending: str, tickers: list[str]) -> None:
    frame, path = yahoo(tickers), tmp_path / f"bars{ending}"
    (frame.to_csv if ending == ".csv" else frame.to_parquet)(path)
    markets = read_markets(path)
    assert list(markets) == tickers
    for factor, bars in enumerate(markets.values(), 1):
        assert_frame_equal(bars, expected() * factor, check_freq=False)
    if len(tickers) > 1:
        with pytest.raises(BarsError, match="2 symbols, AAPL, BRK-B"):
            read_bars(path)
    assert_frame_equal(read_bars(path, symbol="AAPL"), expected(), check_freq=False)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_header_of_two_levels_without_prices(tmp_path: Path, ending: str) -> None:
    frame, path = yahoo(["AAPL"]), tmp_path / f"bars{ending}"
    frame = frame.rename(columns=lambda name: f"my {name}")
    (frame.to_csv if ending == ".csv" else frame.to_parquet)(path)
    with pytest.raises(BarsError, match="no column open, high, low, close"):
        read_bars(path)


def test_a_ticker_that_was_listed_later(tmp_path: Path) -> None:
    frame = yahoo(["AAPL", "NEW"])
    frame.loc[frame.index[:3], [name for name in frame.columns if name[1] == "NEW"]] = np.nan
    frame.to_csv(tmp_path / "bars.csv")
    markets = read_markets(tmp_path / "bars.csv")
    assert [len(bars) for bars in markets.values()] == [8, 5]


@pytest.mark.parametrize("order", ["by symbol", "by time"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_symbols_of_a_long_table_are_never_mixed(tmp_path: Path, order: str, ending: str) -> None:
    one = pd.DataFrame(VALUES, columns=list(COLUMNS)).assign(symbol="AAPL", timestamp=OPENS)
    two = one.assign(symbol="MSFT", **{name: 2 * one[name] for name in COLUMNS})
    table = pd.concat([one, two])
    table = table.sort_values("timestamp" if order == "by time" else "symbol", kind="stable")
    path = tmp_path / f"bars{ending}"
    (table.to_csv if ending == ".csv" else table.to_parquet)(path, index=False)
    markets = read_markets(path)
    assert_frame_equal(markets["AAPL"], expected(), check_freq=False)
    assert_frame_equal(markets["MSFT"], expected() * 2, check_freq=False)
    assert list(read_markets(path, symbols=["MSFT"])) == ["MSFT"]
    with pytest.raises(BarsError, match=r"no bars of TSLA.*AAPL, MSFT"):
        read_bars(path, symbol="TSLA")
    with pytest.raises(BarsError, match="2 symbols"):
        as_bars(table, time="timestamp")
    with pytest.raises(BarsError, match="occurs twice"):
        as_bars(table.drop(columns="symbol"), time="timestamp")


MONTHS = ["BNBUSDT-1m-2024-01.csv", "BNBUSDT-1m-2024-01-02.csv"]


def parts(folder: Path, names: list[str] = MONTHS) -> list[Path]:
    """Two files, the second of which repeats the last bar of the first."""
    contents = zip(names, (LINES[:5], LINES[4:]), strict=True)
    return [written(folder, *lines, name=name) for name, lines in contents]


def test_several_files_of_one_symbol_are_joined(tmp_path: Path) -> None:
    paths = parts(tmp_path)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"months/{path.name}")
            archive.writestr(f"__MACOSX/._{path.name}", b"\x00\x05")
        archive.writestr("BNBUSDT.CHECKSUM", "0123")
    for given in (paths, paths[::-1], tmp_path / "*.csv", tmp_path / "all.zip"):
        assert_frame_equal(read_bars(given), expected(), check_freq=False)
    assert list(read_markets(paths)) == ["BNBUSDT-1m"]
    (tmp_path / "all.zip").unlink()
    assert_frame_equal(read_bars(tmp_path), expected(), check_freq=False)


def test_overlaps_must_agree(tmp_path: Path) -> None:
    first, second = parts(tmp_path)
    second.write_text(second.read_text().replace("104.0,", "104.5,", 1))
    with pytest.raises(BarsError, match="occurs twice") as caught:
        read_bars([first, second])
    assert f"{second}, line 1" in str(caught.value)


def test_files_of_two_symbols_are_two_markets(tmp_path: Path) -> None:
    names = ["BRK.A", "BRK.B", "ONE"]
    for name in names:
        written(tmp_path, *LINES, name=f"{name}.csv")
    assert list(read_markets(tmp_path)) == names


@pytest.mark.parametrize(
    "name",
    [
        "BINANCE_BTCUSDT, 60.csv", "Jürgen.csv", "^GSPC.csv", "a&b.csv", "with space.csv", "~1.csv",
        "[1] a=b.csv",
    ],
)  # fmt: skip
def test_any_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    [symbol] = read_markets(written(tmp_path, *LINES, name=name))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", symbol)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (name, f"~/{name}"):
        assert list(read_markets(path)) == [symbol]


# --- choices --------------------------------------------------------------------------------------


def test_adjusted_closes_scale_the_other_prices() -> None:
    frame = pd.DataFrame(VALUES, OPENS, TITLES)
    ratio = np.linspace(0.5, 1, 8)
    frame["Adj Close"] = frame["Close"] * ratio
    bars = as_bars(frame, columns={"close": "Adj Close"})
    for name in COLUMNS[:4]:
        np.testing.assert_allclose(bars[name], expected()[name] * ratio)
    assert (bars["volume"] == expected()["volume"].to_numpy()).all()


def test_columns_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "when,o1,hi,lo,last,size", *LINES)
    names = dict(zip(("time", *COLUMNS), ["when", "o1", "hi", "lo", "last", "size"], strict=True))
    assert_frame_equal(read_bars(path, columns=names), expected(), check_freq=False)
    with pytest.raises(ConfigError, match="'adjusted'.*close"):
        read_bars(path, columns={"adjusted": "last"})
    with pytest.raises(BarsError, match="no column price"):
        read_bars(path, columns={"close": "price"})
    with pytest.raises(BarsError, match="no column time, open, high, low, close, among") as caught:
        read_bars(path)
    assert all(f"market.columns.{role}=" in str(caught.value) for role in ("time", *COLUMNS[:4]))


@pytest.mark.parametrize(
    ("currencies", "volume"),
    [
        (["BTC"], 0), (["XRP"], 0), (["USDT"], None), (["BTC", "USD"], 0), (["USD", "BTC"], 1),
        (["USDT", "SOL"], 1), (["EUR", "USDT"], 0), (["ETH", "BTC"], 0), (["XRP", "XYZ"], 0),
    ],
)  # fmt: skip
def test_which_of_two_currencies_is_the_base(currencies: list[str], volume: int | None) -> None:
    names = [f"Volume {currency}" for currency in currencies]
    values = [[*row[:4], *range(len(names))] for row in VALUES]
    bars = as_bars(pd.DataFrame(values, OPENS, ["open", "high", "low", "close", *names]))
    assert bars["volume"].isna().all() if volume is None else (bars["volume"] == volume).all()


def test_a_volatility_or_a_difference_of_volumes_is_no_volume(tmp_path: Path) -> None:
    lines = [row.rpartition(",")[0] + ",0.3" for row in LINES]
    path = written(tmp_path, "time,open,high,low,close,volatility", *lines)
    assert read_bars(path)["volume"].isna().all()
    frame = expected().assign(volume_delta=-1.0)[["volume_delta", *COLUMNS]]
    frame.to_csv(tmp_path / "a.csv")
    assert_frame_equal(read_bars(tmp_path / "a.csv"), expected(), check_freq=False)


def test_faulty_rows_are_counted_and_may_be_left_out(tmp_path: Path) -> None:
    lines = LINES.copy()
    for k in (2, 4, 5, 6):
        cells = lines[k].split(",")
        lines[k] = ",".join([*cells[:3], "500", *cells[4:]])
    path = written(tmp_path, *lines)
    with pytest.raises(BarsError, match=r"line 3: .*3 more: line 5: .*; line 6: "):
        read_bars(path)
    bars = read_bars(path, repair="drop")
    assert len(bars) == 4
    assert gaps(bars)["missing"].tolist() == [1, 3]


def test_bars_off_the_grid_may_be_left_out(tmp_path: Path) -> None:
    frame = expected().reset_index().rename(columns={"close_time": "time"})
    frame.loc[[3, 4], "time"] += pd.Timedelta("14s")
    with pytest.raises(BarsError, match="row 3: a step of 74s"):
        as_bars(frame, time="time")
    frame.to_csv(tmp_path / "bars.csv", index=False)
    bars = read_bars(tmp_path / "bars.csv", repair="drop")
    assert gaps(bars)["missing"].tolist() == [2]


def test_rounded_highs_are_accepted() -> None:
    frame = expected()
    frame["high"] = frame["close"] * (1 - 5e-10)
    frame["low"] = frame["open"] * (1 + 5e-10)
    assert len(as_bars(frame, label="close")) == 8


def test_quiet_minutes_are_filled_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, *LINES[:2], *LINES[4:])
    assert gaps(read_bars(path))["missing"].tolist() == [2]
    bars = read_bars(path, fill="quiet", fill_limit="2min")
    assert gaps(bars).empty
    filled = bars.iloc[2:4]
    assert (filled[["open", "high", "low", "close"]] == VALUES[1][3]).all(axis=None)
    assert (filled["volume"] == 0).all()
    assert_frame_equal(bars.drop(filled.index), expected().drop(filled.index), check_freq=False)
    assert not gaps(read_bars(path, fill="quiet", fill_limit="1min")).empty


def test_files_of_open_and_of_close_times_are_joined(tmp_path: Path) -> None:
    paths = [tmp_path / "ABC-1m-2024-01.csv", tmp_path / "ABC-1m-2024-01-02.csv"]
    expected()[:4].set_axis(OPENS[:4]).to_csv(paths[0], index_label="open_time")
    expected()[4:].to_csv(paths[1])
    assert_frame_equal(read_bars(paths), expected(), check_freq=False)


def test_dates_that_may_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    dates = [f"{month:02}/01/2024" for month in range(1, 9)]
    expected().set_axis(dates).rename_axis("date").to_csv(tmp_path / "a.csv")
    with pytest.raises(BarsError, match="day or the month"):
        read_bars(tmp_path / "a.csv", timezone="UTC")


@pytest.mark.parametrize(
    "names",
    [
        ["DAT_ASCII_EURUSD_M1_2024.csv", "DAT_ASCII_EURUSD_M1_202401.csv"],
        ["EURUSD_BID_01.01.2024-31.12.2024.csv", "EURUSD_BID_02.01.2024-31.12.2024.csv"],
        ["XAUUSD 2024.csv", "XAUUSD_202401020000_202401022359.csv"],
    ],
)
def test_files_whose_names_differ_in_a_date_are_joined(tmp_path: Path, names: list[str]) -> None:
    parts(tmp_path, names)
    (tmp_path / "README.txt").write_text("Minutes, two files.")
    assert_frame_equal(read_bars(tmp_path), expected(), check_freq=False)


def test_a_date_that_is_not_of_the_bars_is_part_of_the_name(tmp_path: Path) -> None:
    names = ["ES_202403", "ES_202406", "fund-2030"]
    for name in names:
        written(tmp_path, *LINES, name=f"{name}.csv")
    assert list(read_markets(tmp_path)) == names


def test_overlaps_agree_where_one_file_lacks_a_column(tmp_path: Path) -> None:
    one = written(tmp_path, HEADER, *LINES[:5], name="a.csv")
    with_trades = (f"{line},7" for line in LINES[4:])
    two = written(tmp_path, f"{HEADER},trades", *with_trades, name="b.csv")
    bars = as_bars(pd.concat([pd.read_csv(one), pd.read_csv(two)]), time="time")
    assert bars["trades"].count() == 3
    assert_frame_equal(bars[list(COLUMNS)], expected(), check_freq=False)


def test_a_volume_of_minus_one_is_unknown() -> None:
    frame = pd.DataFrame(VALUES, OPENS, list(COLUMNS)).assign(volume=-1, barCount=-1)
    assert as_bars(frame)[["volume", "trades"]].isna().all(axis=None)
    frame.iloc[0, frame.columns.get_loc("volume")] = 5  # not of all bars, and so an error
    with pytest.raises(BarsError, match=r"volume is -1\.0"):
        as_bars(frame)


@pytest.mark.parametrize("names", [["Price", "Ticker"], ["Ticker", "Price"], [None, None]])
def test_a_frame_as_yfinance_downloads_it(names: list[str | None]) -> None:
    def download(*tickers: str) -> pd.DataFrame:
        found = {ticker: pd.DataFrame(VALUES, OPENS, TITLES) for ticker in tickers}
        frame = pd.concat(found, axis=1).rename_axis("Datetime")
        frame = frame if names[0] == "Ticker" else frame.swaplevel(axis=1)
        return frame.rename_axis(columns=names)

    assert_frame_equal(as_bars(download("AAPL")), expected(), check_freq=False)
    with pytest.raises(BarsError, match=r'2 symbols.*df\.xs\("AAPL", axis=1, level=') as raised:
        as_bars(download("AAPL", "MSFT"))
    level = int(str(raised.value).rpartition("level=")[2][0])
    one = download("AAPL", "MSFT").xs("AAPL", axis=1, level=level)
    assert_frame_equal(as_bars(one), expected(), check_freq=False)


@pytest.mark.parametrize("step", [1, -1])
def test_the_hour_that_occurs_twice(step: int) -> None:
    opens = pd.date_range("2024-10-26 22:00", periods=32, freq="15min", tz="UTC")
    local = opens.tz_convert("Europe/Berlin").tz_localize(None)
    close = np.arange(100.0, 132.0)
    frame = pd.DataFrame({"time": local, **dict.fromkeys(COLUMNS, close)})[::step]
    bars = as_bars(frame, time="time", timezone="Europe/Berlin")
    assert (bars.index == opens + pd.Timedelta("15min")).all()
    assert (bars["close"] == close).all()
    once = frame.drop_duplicates("time")
    with pytest.raises(BarsError, match="remove the hours"):
        as_bars(once, time="time", timezone="Europe/Berlin")
    kept = once[once["time"].dt.hour != 2]
    assert len(as_bars(kept, time="time", timezone="Europe/Berlin")) == 24


@pytest.mark.parametrize("dtype", ["int64", "str"])
def test_dates_without_a_century_are_no_epochs(dtype: str) -> None:
    frame = pd.DataFrame(VALUES, columns=list(COLUMNS)).assign(time=OPENS.strftime("%y%m%d%H%M"))
    with pytest.raises(BarsError, match="2401021430"):
        as_bars(frame.astype({"time": dtype}), time="time")


def test_a_zone_in_the_name_of_the_times_and_names_in_any_case(tmp_path: Path) -> None:
    lines = rows(stamp("%Y.%m.%d %H:%M:%S", "Europe/Athens"))
    path = written(tmp_path, "Time (EET),Open,High,Low,Close,Volume ", *lines)
    bars = read_bars(path, timezone="Europe/Athens", columns={"close": "close"})
    assert_frame_equal(bars, expected(), check_freq=False)
    with pytest.raises(BarsError, match="no column date for time"):
        read_bars(path, timezone="Europe/Athens", columns={"time": "date"})


def test_bars_from_before_1970() -> None:
    days = pd.date_range("1927-12-30", periods=8, freq="1D", tz="UTC")
    frame = pd.DataFrame(VALUES, days, list(COLUMNS))
    assert_frame_equal(as_bars(frame), expected(days), check_freq=False)


def test_files_of_a_bar_each_have_the_interval_of_all(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-28", periods=8, freq="1D", tz="UTC")
    lines = [f"{day.value // MS},{','.join(map(str, VALUES[k]))}" for k, day in enumerate(days)]
    written(tmp_path, *lines[:4], name="BTC-1d-2024-01.csv")  # one file of several bars
    for day, line in zip(days[4:], lines[4:], strict=True):
        written(tmp_path, line, name=f"BTC-1d-{day:%Y-%m-%d}.csv")
    assert_frame_equal(read_bars(tmp_path), expected(days), check_freq=False)
    written(tmp_path, lines[0], lines[3], name="BTC-1d-2024-01.csv")  # a sparse one
    bars = read_bars(tmp_path)
    assert_frame_equal(bars, expected(days).iloc[[0, *range(3, 8)]], check_freq=False)


@pytest.mark.parametrize("notation", ["%Y%m%d%H", "%Y%m%d%H%M.0", "%Y%m%d.0", "%Y-%m-%d %H"])
def test_digits_of_dates_are_no_epochs(tmp_path: Path, notation: str) -> None:
    opens = pd.date_range("2024-01-01", periods=8, freq="1D", tz="UTC")
    times = opens.strftime(notation)
    lines = [f"{t},{','.join(map(str, v))}" for t, v in zip(times, VALUES, strict=True)]
    bars = read_bars(written(tmp_path, HEADER, *lines), timezone="UTC")
    assert_frame_equal(bars, expected(opens), check_freq=False)


@pytest.mark.parametrize("later", ["%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%SZ"])
def test_offsets_in_some_rows_only_are_refused(tmp_path: Path, later: str) -> None:
    lines = rows(stamp("%Y-%m-%d %H:%M:%S"))[:4] + rows(stamp(later))[4:]
    path = written(tmp_path, HEADER, *lines)
    with pytest.raises(BarsError, match="line 6: the time is 2024-01-02"):
        read_bars(path, timezone=NEW_YORK)


def test_dots_of_thousands_beside_decimal_commas(tmp_path: Path) -> None:
    volumes = ["987", "7.685", "1.234.567"] * 2
    opens = map(epoch(MS), OPENS[:6])
    lines = [f"{t};1.000,5;1.001,25;999,75;1000,0;{v}" for t, v in zip(opens, volumes, strict=True)]
    bars = read_bars(written(tmp_path, HEADER.replace(",", ";"), *lines))
    assert bars.iloc[0].tolist() == [1000.5, 1001.25, 999.75, 1000, 987]
    assert bars["volume"].tolist() == [987, 7685, 1234567] * 2


def test_commas_of_thousands_and_units_of_volumes(tmp_path: Path) -> None:
    volumes = ["987", "1,028.4K", "1.25M", "2B"]
    opens = map(epoch(MS), OPENS[:4])
    cells = '"1,000.5","$1,001,000.25","999.75","999.8","{}"'
    lines = [f"{t},{cells.format(v)}" for t, v in zip(opens, volumes, strict=True)]
    bars = read_bars(written(tmp_path, HEADER, *lines))
    assert bars.iloc[0].tolist() == [1000.5, 1001000.25, 999.75, 999.8, 987]
    assert bars["volume"].tolist() == [987, 1_028_400, 1_250_000, 2e9]


@pytest.mark.parametrize(
    "unknown", ["", "-", "--", "N/A", "n.a.", "NaN", "null", "none", "NA", None]
)
def test_unknown_volumes_in_words(unknown: str) -> None:
    prices: list[list[Any]] = [[*map(str, row[:4]), unknown] for row in VALUES]
    assert as_bars(pd.DataFrame(prices, OPENS, TITLES))["volume"].isna().all()


@pytest.mark.parametrize(
    "close",
    [
        "100,5",
        "1,234",
        "100.5 USD",
        "M",
        "$",
        "100.5M",
        "0.1K",
        "1,23,456",
        "12,345.6,7",
        "1e",
        "x",
    ],
)
def test_what_may_be_another_number_is_none(tmp_path: Path, close: str) -> None:
    """A comma may be decimal, a letter after a price may be a mark, times have no units."""
    lines = [*LINES[:4], f'{LINES[4].rpartition(",")[0].rpartition(",")[0]},"{close}",14']
    with pytest.raises(BarsError, match=rf"line 5: close is '{re.escape(close)}'"):
        read_bars(written(tmp_path, *lines))


def test_a_decimal_comma_beside_thousands_is_no_number(tmp_path: Path) -> None:
    lines = [f'{t},"1,000.5","1,001.5","999.5","1,000.5",1' for t in map(epoch(MS), OPENS)]
    lines[1] = lines[1].replace("1,000.5", "99,5")
    path = written(tmp_path, HEADER, *lines)
    with pytest.raises(BarsError, match=r"line 3: open is '99,5'"):
        read_bars(path)


def test_times_have_no_units(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, *[line.replace("000,", "K,", 1) for line in LINES])
    with pytest.raises(BarsError, match="time"):
        read_bars(path)


def test_units_beside_commas_in_tables_that_were_copied(tmp_path: Path) -> None:
    header = "time\tprice\topen\thigh\tlow\tVol."
    rows_ = [f"{t}\t81,500\t81,400\t82,000\t81,200\t10.5M" for t in map(epoch(MS), OPENS)]
    with pytest.raises(BarsError, match="open is '81,400'"):
        read_bars(written(tmp_path, header, *rows_))
    decimal = [row.replace("\t", ";").replace(",", ",1") for row in rows_]
    bars = read_bars(written(tmp_path, header.replace("\t", ";"), *decimal))
    assert bars.iloc[0].tolist() == [81.14, 82.1, 81.12, 81.15, 10.5e6]


def test_a_price_is_the_close_only_if_nothing_else_is() -> None:
    frame = pd.DataFrame(VALUES, OPENS, TITLES)
    means = frame["Close"] + 0.25
    assert_frame_equal(as_bars(frame.assign(Price=means)), as_bars(frame))
    first = frame.copy()
    first.iloc[0, :4] = np.nan
    assert as_bars(first.assign(Price=means))["close"].iloc[0] == 102
    settled = frame.rename(columns={"Close": "Settle"}).assign(Price=means)
    bars = as_bars(settled, columns={"close": "Settle"})
    assert_frame_equal(bars, as_bars(frame))
    assert as_bars(frame.drop(columns="Close").assign(Price=means))["close"].iloc[0] == 101.25


def test_other_columns_of_the_close_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    read_bars(written(tmp_path, HEADER.replace("close", "Price"), *LINES))
    assert "close from 'Price'" in caplog.text
    assert "scaled" not in caplog.text
    path = written(tmp_path, f"{HEADER},Adj Close", *[f"{line},50.5" for line in LINES])
    read_bars(path, columns={"close": "Adj Close"})
    assert "close from 'Adj Close'" in caplog.text
    assert "other prices scaled with the close" in caplog.text


def test_a_jump_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As of 1.105 beside 905, where a dot is of thousands."""
    others = [f"{t},1.105,1.11,1.1,1.105,9" for t in map(epoch(MS), OPENS[4:])]
    bars = read_bars(written(tmp_path, HEADER, *LINES[:4], *others))
    assert "the close moves by a factor of" in caplog.text
    assert str(bars.index[4]) in caplog.text
    caplog.clear()
    read_bars(written(tmp_path, HEADER, *LINES))
    assert "the close moves" not in caplog.text


def test_impossible_rows_of_a_file_without_volume_are_left_out(tmp_path: Path) -> None:
    lines = [line.rpartition(",")[0] for line in LINES]
    lines[3] = lines[3].replace("104.5", "1.5")
    path = written(tmp_path, HEADER.removesuffix(",volume"), *lines)
    assert len(read_bars(path, repair="drop")) == 7


@pytest.mark.parametrize("notation", ["%b %d, %Y", "%d-%b-%Y"])
def test_names_of_months(notation: str) -> None:
    dates = pd.date_range("2023-01-02", periods=8, freq="1D", tz="UTC")
    frame = pd.DataFrame(VALUES, columns=TITLES).assign(Date=dates.strftime(notation))
    assert (as_bars(frame, time="Date", timezone="UTC").index == dates + pd.Timedelta("1D")).all()


def test_dots_of_thousands_in_all_prices(tmp_path: Path) -> None:
    lines = [f"{t};1.804,79;1.810,5;1.800,25;1.805,0;28.400" for t in map(epoch(MS), OPENS)]
    bars = read_bars(written(tmp_path, HEADER.replace(",", ";"), *lines))
    assert bars.iloc[0].tolist() == [1804.79, 1810.5, 1800.25, 1805, 28_400]


def test_a_byte_that_is_not_utf8_after_the_head(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER},größe", *[f"{line},x" for line in LINES * 400])
    path.write_bytes(path.read_bytes() + b"\xe9")
    with pytest.raises(BarsError, match="utf-8"):
        read_bars(path)


def test_a_readme_in_another_encoding_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bars.zip", "w") as archive:
        archive.writestr("bars.csv", "\n".join([HEADER, *LINES]))
        archive.writestr("readme.txt", "日本語の説明".encode("shift-jis"))
    assert len(read_bars(tmp_path / "bars.zip")) == 8


@pytest.mark.parametrize("close", ["Volume", "High", "volume"])
def test_one_column_is_not_two(close: str) -> None:
    frame = pd.DataFrame(VALUES, OPENS, TITLES)
    with pytest.raises(BarsError, match=rf"one column '{close.title()}' for close and"):
        as_bars(frame, columns={"close": close})


@pytest.mark.parametrize("dtype", ["double[pyarrow]", "string[pyarrow]", "Float64", "object"])
def test_dtypes_of_other_libraries(dtype: Any) -> None:
    frame = pd.DataFrame(VALUES, OPENS, TITLES)
    assert_frame_equal(as_bars(frame.astype(dtype)), as_bars(frame))


def test_names_with_umlauts_in_the_encoding_of_excel(tmp_path: Path) -> None:
    path = tmp_path / "kurse.csv"
    lines = ["Zeit;Eröffnung;Hoch;Tief;Schluß;Volumen", *[row.replace(",", ";") for row in LINES]]
    names = dict(zip(("time", *COLUMNS), lines[0].split(";"), strict=True))
    for encoding in ("cp1252", "utf-8"):
        path.write_text("\n".join(lines), encoding=encoding)
        bars = read_bars(path, columns=names)
        assert_frame_equal(bars, expected(), check_freq=False)


def test_symbols_that_differ_in_punctuation_only_are_refused(tmp_path: Path) -> None:
    lines = [f"^GSPC,{row}" for row in LINES[:4]] + [f"GSPC,{row}" for row in LINES[4:]]
    path = written(tmp_path, f"Name,{HEADER}", *lines)
    with pytest.raises(BarsError, match=r"\^GSPC and GSPC"):
        read_bars(path)
    path.write_text(path.read_text().replace("^GSPC", "NDX"))
    assert list(read_markets(path)) == ["NDX", "GSPC"]


def test_rows_without_a_header_of_an_adjusted_close(tmp_path: Path) -> None:
    lines = [f"{row.rpartition(',')[0]},90,5000" for row in rows(stamp("%Y-%m-%d %H:%M"))]
    bars = read_bars(written(tmp_path, *lines), timezone="UTC")
    assert list(bars.columns) == list(COLUMNS)
    assert bars["volume"].isna().all()


def test_a_report_beside_the_bars_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "DAT.zip", "w") as archive:
        archive.writestr("DAT.csv", "\n".join(LINES))
        archive.writestr("DAT.txt", "Gap of 94s found between 20240101 and 20240102.\n")
    notes = written(tmp_path, "Nothing but words.", name="notes.txt")
    assert_frame_equal(read_bars(tmp_path), expected(), check_freq=False)
    with pytest.raises(BarsError, match=r"notes.txt"):
        read_bars(notes)


def test_a_symbol_names_the_files_of_a_list(tmp_path: Path) -> None:
    paths = parts(tmp_path, ["part.csv", "rest.csv"])
    assert_frame_equal(read_bars(paths, symbol="BTC"), expected(), check_freq=False)
    with pytest.raises(BarsError, match="no bars of BTC"):  # a folder may hold other symbols
        read_bars(tmp_path, symbol="BTC")


def test_faults_of_all_kinds_are_counted() -> None:
    frame = pd.DataFrame(VALUES, OPENS, list(COLUMNS))
    frame.iloc[1, 1], frame.iloc[3, 0], frame.iloc[5, 4], frame.iloc[6, 2] = 1, 0, -5, 999
    found = r"row 1: open is .*3 more: row 3: open is 0\.0.*row 5: vol"
    with pytest.raises(BarsError, match=found):
        as_bars(frame)


def test_times_that_are_all_equal_are_refused() -> None:
    frame = pd.DataFrame(VALUES, [OPENS[0]] * 8, list(COLUMNS))
    with pytest.raises(BarsError, match="twice"):
        as_bars(frame)


def test_frames_of_other_shapes() -> None:
    frame = pd.DataFrame(VALUES, OPENS, list(COLUMNS))
    pairs = frame.set_axis(pd.MultiIndex.from_product([["AAPL"], OPENS], names=["symbol", "time"]))
    numbered = frame.set_axis([1, 2, 3, 4, 5], axis=1).reset_index(names=0)
    names = dict(zip(COLUMNS, "12345", strict=True))
    for bars in (
        as_bars(pairs),
        as_bars(frame.rename_axis("close")),
        as_bars(numbered, time=0, columns=names),  # pyright: ignore[reportArgumentType]
    ):
        assert_frame_equal(bars, expected(), check_freq=False)
    adjusted = frame.assign(**{f"adj{name}": frame[name] / 2 for name in COLUMNS[:4]})
    chosen = {name: f"adj{name}" for name in COLUMNS[:4]}
    assert (as_bars(adjusted, columns=chosen)["open"] == expected()["open"] / 2).all()
