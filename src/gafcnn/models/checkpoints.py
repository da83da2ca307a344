"""Checkpoints on disk: written atomically, verified when read, and without code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from gafcnn.atomic_io import write_bytes
from gafcnn.errors import LearningError

BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
REMEDY = "train the run again with overwrite=true"


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, which replace the old file only when they are on disk.

    Lightning renames a file before it is synced: after a power cut the new file may be empty and
    the old one gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint atomically."""
        file = io.BytesIO()
        torch.save(checkpoint, file)
        write_bytes(Path(path), file.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, see `load_plain`."""
        return load_plain(Path(path), REMEDY)


def load_plain(path: Path, remedy: str) -> Any:
    """Read tensors and plain data written by `torch.save`, onto the CPU; no code is run.

    Args:
        path: The file.
        remedy: What the error suggests.

    Raises:
        LearningError: The file is damaged, or holds more than tensors and plain data.
    """
    try:
        if zipfile.is_zipfile(path):  # torch does not verify the checksums that it writes
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"its part {damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of error for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError):  # torch explains how to run the code
            reason = "it holds code, or is damaged"
        raise LearningError(
            f"{path} cannot be read ({reason.rstrip('. ')})",
            expected="tensors and plain data, as torch.save writes them",
            instead=remedy,
        ) from error
