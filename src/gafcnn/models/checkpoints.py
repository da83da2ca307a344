"""Checkpoints on disk: written whole, read where they are whole, and never run."""

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


class WholeCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints: the old one stands until the new one is on disk.

    Lightning's own are renamed before they are synced: after a power cut the new name may hold
    nothing, and the old file is gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, see `gafcnn.atomic_io.write_bytes`."""
        file = io.BytesIO()
        torch.save(checkpoint, file)
        write_bytes(Path(path), file.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, see `load_plain`; whoever uses it moves what it needs."""
        checkpoint = load_plain(Path(path), "train the run anew with overwrite=true")
        for state in checkpoint.get("callbacks", {}).values():
            if isinstance(state, dict) and "dirpath" in state:
                _move(state, Path(path).resolve().parent)
        return checkpoint


def _move(state: dict[str, Any], folder: Path) -> None:
    """Let what a checkpoint keeps of its siblings say where they lie now.

    The folder may have been renamed since. Lightning compares the paths, and would forget which
    epoch was the best: the first one after that would take its place, however bad it is.
    """
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        if state.get(key):
            state[key] = str(folder / Path(state[key]).name)
    best = state.get("best_k_models", {})
    state["best_k_models"] = {str(folder / Path(path).name): at for path, at in best.items()}
    state["dirpath"] = str(folder)


def load_plain(path: Path, instead: str) -> Any:
    """What `torch.save` wrote, onto the CPU: tensors and plain data, of which nothing is run.

    Args:
        path: The file.
        instead: What the error says to do.

    Raises:
        LearningError: The file is not whole, or it holds more than that.
    """
    try:
        if zipfile.is_zipfile(path):  # torch does not look at the checksums that it wrote
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"its part {damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises as many kinds as there are ways to be damaged
        why = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's sentence says how to run it
            why = "it holds code, or is damaged"
        raise LearningError(
            f"{path} cannot be read ({why.rstrip('. ')})",
            expected="tensors and plain data, as torch.save wrote them",
            instead=instead,
        ) from error
