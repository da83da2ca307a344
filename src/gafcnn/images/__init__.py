"""Images: Gramian Angular Fields and other pictures of series, and their storage on disk.

`spec` describes and encodes images, `kinds` registers further kinds, and `store` keeps the images
of all decision times in one memory-mapped array. A store knows neither labels nor splits, so
another label, horizon or fold needs no new images.
"""

from gafcnn.images.spec import encode

__all__ = ["encode"]
