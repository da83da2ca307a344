"""Market: bars, however they come, checked once and labelled by the moment they are known."""

from gafcnn.market.bars import (
    COLUMNS,
    check_bars,
    fingerprint,
    gaps,
    has_volume,
    interval_of,
    resample,
)
from gafcnn.market.exchange import from_exchange
from gafcnn.market.indicators import indicators
from gafcnn.market.reading import read_bars, write_bars
from gafcnn.market.simulated import from_simulation, simulate
from gafcnn.market.sources import Market, from_file

__all__ = [
    "COLUMNS",
    "Market",
    "check_bars",
    "fingerprint",
    "from_exchange",
    "from_file",
    "from_simulation",
    "gaps",
    "has_volume",
    "indicators",
    "interval_of",
    "read_bars",
    "resample",
    "simulate",
    "write_bars",
]
