"""Lightning's loggers by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from gafcnn.errors import ConfigError

# name: class, packages, extra; a name in the folder where there is one
_LOGGERS = {
    "csv": ("CSVLogger", (), ""),
    "tensorboard": ("TensorBoardLogger", ("tensorboard",), "tensorboard"),
    "mlflow": ("MLFlowLogger", ("mlflow", "sqlalchemy"), "tracking"),
    "wandb": ("WandbLogger", ("wandb",), "tracking"),
}
_IN_FOLDER = ("csv", "tensorboard")


def create_loggers(
    loggers: Mapping[str, Mapping[str, Any] | None] | None, folder: Path | None
) -> list[Logger]:
    """Create Lightning's loggers.

    The telemetry of MLflow and Weights & Biases is off unless an environment variable turns it on.

    Args:
        loggers: Options of each logger by its name: `csv`, `tensorboard`, `mlflow`, `wandb`. The
            options are those of Lightning's class; an entry of None is skipped.
        folder: The folder of the run, where `csv` and `tensorboard` write by default.

    Raises:
        ConfigError: A logger is unknown or not installed, or does not accept its options.
    """
    import lightning.pytorch.loggers as available

    created = []
    for name, options in (loggers or {}).items():
        if options is None:
            continue
        if name not in _LOGGERS:
            raise ConfigError(
                f"logger {name} is unknown",
                expected=f"one of {', '.join(_LOGGERS)}",
                instead="correct the name",
            )
        kind, packages, extra = _LOGGERS[name]
        if missing := [package for package in packages if find_spec(package) is None]:
            raise ConfigError(
                f"{missing[0]} is not installed",
                expected=f"it for logger={name}",
                instead=f"pip install 'gafcnn[{extra}]', or logger=csv",
            )
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if name in _IN_FOLDER:
            options = {"name": name, "save_dir": folder and str(folder)} | dict(options)
            if options["save_dir"] is None:
                raise ConfigError(
                    f"logger {name} has no folder",
                    expected="the folder to write to",
                    instead=f'pass folder=..., or loggers={{"{name}": {{"save_dir": ...}}}}',
                )
        try:
            created.append(getattr(available, kind)(**options))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"logger.{name} does not accept its options ({' '.join(str(error).split())})",
                expected=f"those of Lightning's {kind}",
                instead=f"correct logger.{name}",
            ) from error
    return created
