"""Several symbols: a market for each, of options that were given once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from gafcnn.data.bars import resample
from gafcnn.data.multi_symbol import check_together, pair_of, per_symbol
from gafcnn.data.simulated import from_simulation, simulate
from gafcnn.data.sources import Market
from gafcnn.errors import ConfigError

EXCHANGE = {"_target_": "x", "symbol": "BNBUSDT", "pair": "BNB/USDT", "symbols": None, "days": 3}
FILE = {"_target_": "x", "symbol": None, "symbols": None, "path": "bars.csv"}
SIMULATED = {"_target_": "x", "symbol": "SIM", "symbols": None, "seed": 4}


@pytest.mark.parametrize("options", [EXCHANGE, FILE, SIMULATED])
def test_without_symbols_it_is_one_market_of_the_options_as_they_are(options: Any) -> None:
    one = {key: value for key, value in options.items() if key != "symbols"}
    assert per_symbol(options) == [one]
    assert per_symbol(one) == [one]  # a run may be older than the option


def test_one_symbol_in_a_list_is_that_symbol() -> None:
    assert per_symbol({**EXCHANGE, "symbols": ["BNBUSDT"]}) == per_symbol(EXCHANGE)
    assert per_symbol({**SIMULATED, "symbols": ["SIM"]}) == per_symbol(SIMULATED)
    assert per_symbol({**FILE, "path": ["bars.csv"]}) == per_symbol(FILE)


def test_each_symbol_has_its_pair() -> None:
    made = per_symbol({**EXCHANGE, "symbols": ["BTCUSDT", "ETHBTC"]})
    assert [(one["symbol"], one["pair"]) for one in made] == [
        ("BTCUSDT", "BTC/USDT"),
        ("ETHBTC", "ETH/BTC"),
    ]
    assert all(one["days"] == 3 for one in made)


def test_each_symbol_has_its_file() -> None:
    files = ["a.parquet", "b.feather"]
    made = per_symbol({**FILE, "symbols": ["BNB", "BTC"], "path": files})
    assert [(one["symbol"], one["path"]) for one in made] == [("BNB", files[0]), ("BTC", files[1])]
    own = per_symbol({**FILE, "path": files})
    assert [(one["symbol"], one["path"]) for one in own] == [(None, files[0]), (None, files[1])]


def test_each_simulated_symbol_has_its_seed() -> None:
    made = per_symbol({**SIMULATED, "symbols": ["ONE", "TWO", "THREE"]})
    assert [one["seed"] for one in made] == [4, 5, 6]


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BNBUSDT", "BNB/USDT"),
        ("BTCFDUSD", "BTC/FDUSD"),
        ("ADATUSD", "ADA/TUSD"),
        ("USDTTRY", "USDT/TRY"),
        ("ETHBTC", "ETH/BTC"),
        ("BTCUSD", "BTC/USD"),
        ("1000SATSUSDT", "1000SATS/USDT"),
        ("DOT-USD", "DOT/USD"),
        ("BNB-XYZ", "BNB/XYZ"),
    ],
)
def test_a_pair_follows_the_symbol_by_its_quote_currency(symbol: str, pair: str) -> None:
    assert pair_of(symbol) == pair


@pytest.mark.parametrize("symbol", ["BNBXYZ", "USDT", "-USDT-", "BNB-"])
def test_a_symbol_of_an_unknown_currency_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError) as refused:
        pair_of(symbol)
    assert str(refused.value) == (
        f"the symbol {symbol} ends in no known currency; expected one of FDUSD, USDT, USDC, USDP, "
        "BUSD, TUSD, USD, DAI, EUR, GBP, TRY, BRL, JPY, BTC, ETH, BNB; put a dash before its quote "
        "currency, as in BNB-XYZ."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {**SIMULATED, "symbols": "ONE"},
            "market.symbols is ONE; expected a list of names, or null for one market; write "
            "market.symbols=[BNBUSDT,BTCUSDT], say.",
        ),
        (
            {**SIMULATED, "symbols": []},
            "market.symbols is []; expected a list of names, or null for one market; write "
            "market.symbols=[BNBUSDT,BTCUSDT], say.",
        ),
        (
            {**SIMULATED, "symbols": ["ONE", "TWO", "ONE"]},
            "market.symbols names ONE more than once; expected each symbol once; write "
            "market.symbols=[ONE,TWO].",
        ),
        (
            {**SIMULATED, "symbols": ["A B"]},
            "market.symbol is 'A B'; expected letters, digits, dots, dashes and underscores, the "
            "first of them no dot; write market.symbol=BNBUSDT, say.",
        ),
        ({**SIMULATED, "symbols": [1, 2]}, "market.symbol is 1; expected letters, digits"),
        (
            {**FILE, "symbols": ["ONE", "TWO"]},
            "market.symbols names 2 symbols and market.path 1 files; expected a file for each "
            "symbol, in their order; write market.path=[one.parquet,another.feather].",
        ),
        (
            {**FILE, "path": ["x/bnb.csv", "y/bnb.parquet"]},
            "market.path lists files of the names bnb, bnb; expected files of different symbols, "
            "each by its own name; write market.symbols=[ONE,ANOTHER], a symbol for each file.",
        ),
        (
            {**FILE, "path": ["a.csv", "b.csv"], "symbol": "BNB"},
            "market.path lists 2 files for market.symbol=BNB; expected a name for each; write "
            "market.symbols=[ONE,ANOTHER] in its place, a symbol for each file.",
        ),
        (
            {**FILE, "path": []},
            "market.path is []; expected a file, or a list of them; write "
            "market.path=[one.parquet,another.feather].",
        ),
    ],
)
def test_what_makes_no_markets_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        per_symbol(options)
    assert str(refused.value).startswith(sentence)


def test_bars_of_different_lengths_are_refused() -> None:
    one, two = (from_simulation(name, 1, "1min", 0.5, "15min", 0, None) for name in ("ONE", "TWO"))
    check_together([one])
    check_together([one, two])
    coarse = Market("TWO", resample(two.bars, pd.Timedelta("15min")))
    with pytest.raises(ConfigError) as refused:
        check_together([one, coarse])
    assert str(refused.value) == (
        "ONE has bars of 1min and TWO of 15min; expected the same time between two bars of every "
        "symbol; set market.interval=15min."
    )


def test_bars_that_close_between_those_of_another_are_refused() -> None:
    bars, _ = simulate(50)
    late = bars.copy()
    late.index += pd.Timedelta("30s")
    check_together([Market("AAA", bars), Market("BBB", bars.iloc[7:])])
    with pytest.raises(ConfigError) as caught:
        check_together([Market("AAA", bars), Market("BBB", late)])
    assert str(caught.value) == (
        "a bar of AAA closes at 2024-01-01 00:01:00+00:00 and one of BBB at "
        "2024-01-01 00:01:30+00:00; expected times that are multiples of 1min apart, so that "
        "symbols are decided on at the same moments; leave one of them out of market.symbols."
    )


def test_symbols_that_differ_in_their_case_alone_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        per_symbol({"symbol": None, "symbols": ["BNB", "bnb"]})
    assert str(caught.value) == (
        "market.symbols is [BNB,bnb], of which some differ in their case alone; expected names of "
        "folders that every disk tells apart; give one of them another name."
    )
