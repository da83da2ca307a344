"""Images: what a network sees of a window, and where it is kept.

`spec` says of which fields and how images are made, `encoding` makes them: Gramian Angular Fields
by a kernel of its own (`gaf`), other pictures by pyts (`further`), of series that `scaling` scales.
`writing` writes those of every decision time, or the series that they are made of, to one array on
disk, as `plans` says; `store` opens it, memory-mapped. A store knows no labels and no splits: both
are positions into it, so another label, horizon or fold needs no new images.
"""

from gafcnn.images.encoding import encode, encode_polar, point_weights
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import ImageStore, SeriesStore, open_series, open_store
from gafcnn.images.writing import build_series, build_store, check_room

__all__ = [
    "ImageSpec",
    "ImageStore",
    "SeriesStore",
    "build_series",
    "build_store",
    "check_room",
    "encode",
    "encode_polar",
    "open_series",
    "open_store",
    "point_weights",
]
