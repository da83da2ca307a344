"""Images: what a network sees of a window, and where it is kept.

`gaf` makes Gramian Angular Fields of series, `store` writes those of every decision time to one
memory-mapped array on disk. A store knows no labels and no splits: both are positions into it, so
another label, horizon or fold needs no new images.
"""

from gafcnn.images.gaf import encode
from gafcnn.images.store import ImageStore, build_store, open_store

__all__ = ["ImageStore", "build_store", "encode", "open_store"]
