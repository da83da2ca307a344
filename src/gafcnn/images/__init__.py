"""Images: Gramian Angular Fields and other pictures of series, and their storage on disk.

`spec` describes and encodes images, `kinds` registers further kinds, and `store` keeps the images
of all decision times in one memory-mapped array. A store knows neither labels nor splits, so
another label, horizon or fold needs no new images.
"""

from gafcnn.images.kinds import IMAGE_KINDS, ImageKind, register_image
from gafcnn.images.spec import ImageSpec, encode, point_weights
from gafcnn.images.store import Store, build_store, open_store

__all__ = [
    "IMAGE_KINDS",
    "ImageKind",
    "ImageSpec",
    "Store",
    "build_store",
    "encode",
    "open_store",
    "point_weights",
    "register_image",
]
