"""Images: what a network sees of a window, and where it is kept.

`gaf` makes Gramian Angular Fields of series, `writing` writes those of every decision time to one
array on disk, `store` opens it, memory-mapped. A store knows no labels and no splits: both are
positions into it, so another label, horizon or fold needs no new images.
"""

from gafcnn.images.gaf import encode
from gafcnn.images.store import ImageStore, open_store
from gafcnn.images.writing import build_store

__all__ = ["ImageStore", "build_store", "encode", "open_store"]
