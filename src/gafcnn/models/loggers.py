"""Lightning's loggers by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch.loggers
from lightning.pytorch.loggers import Logger

from gafcnn.errors import ConfigError

# class, packages that it needs, and the extra that has them
LOGGERS = {
    "csv": ("CSVLogger", (), ""),
    "tensorboard": ("TensorBoardLogger", ("tensorboard",), "tensorboard"),
    "mlflow": ("MLFlowLogger", ("mlflow", "sqlalchemy"), "tracking"),
    "wandb": ("WandbLogger", ("wandb",), "tracking"),
}


def create_loggers(
    loggers: Mapping[str, Mapping[str, Any] | None] | None, folder: Path | None
) -> list[Logger]:
    """Create Lightning's loggers.

    The telemetry of MLflow and Weights & Biases is off unless an environment variable turns it on.

    Args:
        loggers: Options of each logger by its name: `csv`, `tensorboard`, `mlflow`, `wandb`. The
            options are those of Lightning's class; an entry of None is skipped.
        folder: The folder of the run, where all but `mlflow` write.

    Raises:
        ConfigError: A logger is unknown or not installed, or does not accept its options.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    created = []
    for name, options in (loggers or {}).items():
        if options is None:
            continue
        kind, packages, extra = LOGGERS.get(name, ("", (), ""))
        missing = [package for package in packages if find_spec(package) is None]
        if not kind or missing:
            raise ConfigError(
                f"logger {name} is {'not installed' if missing else 'unknown'}",
                expected=f"one of {', '.join(LOGGERS)}",
                instead=f"pip install 'gafcnn[{extra}]'" if missing else "set logger=csv",
            )
        if name in ("csv", "tensorboard"):
            options = {"name": name, "save_dir": folder} | dict(options)
        elif name == "wandb" and folder is not None:
            options = {"save_dir": folder} | dict(options)
        try:
            created.append(getattr(lightning.pytorch.loggers, kind)(**options))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"logger {name} does not accept its options ({' '.join(str(error).split())})",
                expected=f"those of Lightning's {kind}, and a folder to write to",
                instead=f"correct logger.{name}, or pass folder=...",
            ) from error
    return created
