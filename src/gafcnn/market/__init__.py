"""Market: bars, however they come, checked once and labelled by the moment they are known."""

from gafcnn.market.bars import (
    COLUMNS,
    check_bars,
    fingerprint,
    gaps,
    has_volume,
    interval_of,
    resample,
    stretches,
)
from gafcnn.market.exchange import from_exchange
from gafcnn.market.indicators import MEMORY, indicators
from gafcnn.market.newest import NewestBars
from gafcnn.market.parts import damaged_parts
from gafcnn.market.reading import read_bars, write_bars
from gafcnn.market.several import check_together, per_symbol
from gafcnn.market.simulated import from_simulation, simulate
from gafcnn.market.sources import Market, from_file
from gafcnn.market.synthetic import from_tick_walk, mirrored, most_bars, shuffled, tick_walk

__all__ = [
    "COLUMNS",
    "MEMORY",
    "Market",
    "NewestBars",
    "check_bars",
    "check_together",
    "damaged_parts",
    "fingerprint",
    "from_exchange",
    "from_file",
    "from_simulation",
    "from_tick_walk",
    "gaps",
    "has_volume",
    "indicators",
    "interval_of",
    "mirrored",
    "most_bars",
    "per_symbol",
    "read_bars",
    "resample",
    "shuffled",
    "simulate",
    "stretches",
    "tick_walk",
    "write_bars",
]
