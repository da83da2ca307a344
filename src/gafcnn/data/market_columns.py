"""The market: the bars of other symbols, as further columns of the bars of each symbol.

A window shows one symbol. Fields that compare it with others read columns that `with_market` adds:

    market             the equal-weighted index of all symbols
    BTCUSDT:open, ...  the bars of the asset BTCUSDT at the same times

A value at `t` depends on bars that close at or before `t` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from gafcnn.data.bars import EXTRAS, PRICES, has_volume
from gafcnn.data.features import FIELDS, split_asset
from gafcnn.errors import ConfigError, SamplesError


def with_market(bars: Mapping[str, pd.DataFrame], fields: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return the bars of each symbol, by name, with the columns that fields read of others.

    Where an asset has no bar, its last close is carried on with a volume of 0; before its first bar
    its prices are NaN, and `WindowReader` takes them as constant. Without such fields, the bars
    themselves are returned.

    Raises:
        ConfigError: A field is unknown, or of an asset that is not among the symbols.
    """
    fields, found = FIELDS.all_of(fields, "images.fields"), dict(bars)
    assets = dict.fromkeys(asset for asset, _ in map(split_asset, fields) if asset)
    if absent := [asset for asset in assets if asset not in found]:
        raise ConfigError(
            f"{absent[0]} has no bars, and images show it",
            expected=f"one of the symbols, {', '.join([*found][:9])}",
            instead="correct images.assets or images.fields, or add its bars",
        )
    if any(FIELDS[name].market for name in fields):
        index = market_index(bars)
        for symbol, frame in bars.items():
            found[symbol] = frame.assign(market=index.reindex(frame.index))
    for asset, of_asset in [(asset, found[asset]) for asset in assets]:
        for symbol, frame in found.items():
            columns = _carried_on(of_asset, frame.index).add_prefix(f"{asset}:")
            found[symbol] = frame.assign(**columns)
    return found


def market_index(bars: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Return the level of the equal-weighted index of all symbols, at all close times of any.

    It is the product of `1 + r` up to each time, where `r` is the mean of the returns since the
    close time before, over the symbols with a bar at both times. It is 1 at the first time.
    """
    closes = pd.DataFrame({symbol: frame["close"] for symbol, frame in bars.items()}).sort_index()
    return (1 + closes.pct_change(fill_method=None).mean(axis=1).fillna(0)).cumprod()


def bars_of(bars: pd.DataFrame, asset: str) -> pd.DataFrame:
    """Return the bars of an asset from the columns that `with_market` added."""
    names = {name: split_asset(name) for name in bars}
    return pd.DataFrame({field: bars[k] for k, (of, field) in names.items() if of == asset})


def check_columns(bars: pd.DataFrame, fields: Sequence[str]) -> None:
    """Raise a SamplesError if bars lack a column that fields read of other symbols."""
    for asset, field in map(split_asset, fields):
        prefix = f"{asset}:" if asset else ""
        needed = f"{prefix}market" if FIELDS[field].market else f"{prefix}close"
        if needed not in bars:
            raise SamplesError(
                f"the bars have no column {needed!r}, which the field {prefix + field!r} needs",
                expected="bars from gc.with_market, given those of all symbols of the training",
                instead=f"pass gc.with_market(bars_by_symbol, {[*fields]})[symbol] for these bars",
            )


def _carried_on(bars: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Return the bars of an asset at close times, with its last close where it has none."""
    found, now = bars.reindex(index, method="ffill"), index.isin(bars.index)
    for name in PRICES:
        found[name] = found[name].where(now, found["close"])
    for name in found.columns.intersection(["volume", *EXTRAS]) if has_volume(bars) else ():
        found[name] = found[name].where(now, 0.0)
    return found
