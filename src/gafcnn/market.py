"""Reading of bars; `gafcnn.market.read_bars` is the same function as `gafcnn.read_bars`."""

from gafcnn.data.reading import read_bars

__all__ = ["read_bars"]
