"""The table that every model writes, and the only thing that ensembles, trading and reports read.

One row is one forecast of one run: a decision time, what was forecast, and what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.files import replacing

DTYPES = {
    "symbol": "str",
    "time": "datetime64[ns, UTC]",
    "window": "str",
    "fold": "Int64",
    "seed": "int64",
    "split": "str",
    "label": "Int8",
    "forward_return": "float64",
    "known_at": "datetime64[ns, UTC]",
    "p_up": "float64",
}
COLUMNS = tuple(DTYPES)
SPLITS = ("val", "test")
_TRAIN = "train that run anew with overwrite=true"


def write_predictions(path: Path | str, frame: pd.DataFrame) -> None:
    """Write predictions as parquet, whole or not at all; what stood at `path` is replaced.

    Raises:
        PredictionsError: The frame is not a table of predictions; `path` is then untouched.
    """
    path = Path(path)
    check_predictions(frame, f"predictions for {path}")
    with replacing(path) as beside:
        frame.to_parquet(beside, index=False, write_page_checksum=True)


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read and check a table of predictions.

    Raises:
        PredictionsError: The file is missing, not whole, or not a table of predictions.
    """
    path = Path(path)
    if not path.is_file():
        raise PredictionsError(
            f"{path}: there is no such file",
            expected="the predictions of a finished run",
            instead="train that run with `python train.py`",
        )
    try:
        frame = pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise PredictionsError(
            f"{path}: the file is damaged or was not written to its end",
            expected="a whole parquet file",
            instead=_TRAIN,
        ) from error
    return check_predictions(frame, path)


def check_predictions(frame: pd.DataFrame, source: object) -> pd.DataFrame:
    """Return `frame` if it is a table of predictions that can be believed.

    The columns are, in any order (further ones are left alone):

    - `symbol` (str), `time` (decision time, UTC, ns), `window` (str);
    - `fold` (Int64, null without walk-forward), `seed` (int64), `split` ("val" or "test");
    - `label` (Int8: 1 up, 0 down, null for a neutral sample);
    - `forward_return` (float64, a fraction, from `time` to the horizon);
    - `known_at` (UTC, ns: when the label is known, after `time`);
    - `p_up` (float64 in [0, 1]).

    A decision time stands once per symbol, window and fold.

    Args:
        frame: The table.
        source: What an error calls it: a path, or a model's name.

    Raises:
        PredictionsError: What is wrong, in how many rows, and the first of them.
    """
    _check_columns(frame, source)
    if frame.empty:
        raise PredictionsError(
            f"{source}: there are no rows",
            expected="at least one forecast",
            instead="give validation and test more of the bars (`split.val`, `split.test`)",
        )
    for fault in _FAULTS:
        _refuse(fault, frame, source)
    return frame


def place(row: Mapping[Hashable, Any]) -> str:
    """Where a row stands, in words: `BNBUSDT 2025-06-20 00:00 UTC, fold 2, val`."""
    time = f"{row['time']}"[:19].removesuffix(":00")
    fold = "" if pd.isna(row["fold"]) else f", fold {row['fold']}"
    return f"{row['symbol']} {time} UTC{fold}, {row['split']}"


def first_row(frame: pd.DataFrame, where: NDArray[np.bool_]) -> dict[Hashable, Any]:
    """The first row of `frame` for which `where` is true, by column."""
    return frame.iloc[int(np.argmax(where))].to_dict()


def _check_columns(frame: pd.DataFrame, source: object) -> None:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise PredictionsError(
            f"{source}: there is no column {', '.join(missing)}",
            expected=f"the columns {', '.join(COLUMNS)}",
            instead=_TRAIN,
        )
    for column, dtype in DTYPES.items():
        if not _is_of(frame[column], dtype):
            raise PredictionsError(
                f"{source}: column {column} is {frame[column].dtype}",
                expected=dtype,
                instead=f'convert it with `frame["{column}"].astype("{dtype}")`',
            )


def _is_of(column: Any, dtype: str) -> bool:
    # text is `object` before pandas 3 and `str` since
    return pd.api.types.is_string_dtype(column) if dtype == "str" else str(column.dtype) == dtype


@dataclass(frozen=True)
class _Fault:
    found: str
    column: str
    where: Callable[[pd.DataFrame], Any]
    expected: str
    instead: str = _TRAIN


def _refuse(fault: _Fault, frame: pd.DataFrame, source: object) -> None:
    bad = np.asarray(fault.where(frame), dtype=bool)
    if not bad.any():
        return
    first = first_row(frame, bad)
    raise PredictionsError(
        f"{source}: {fault.found} in {int(bad.sum()):,} of {len(frame):,} rows, "
        f"first {place(first)} ({fault.column} is {first[fault.column]})",
        expected=fault.expected,
        instead=fault.instead,
    )


def _missing(column: str) -> _Fault:
    return _Fault(
        f"{column} is missing", column, lambda frame: frame[column].isna(), "a value in every row"
    )


_FAULTS = (
    *(_missing(column) for column in ("symbol", "time", "window", "split", "known_at")),
    _Fault(
        "split is unknown",
        "split",
        lambda frame: ~frame["split"].isin(SPLITS),
        "val or test (training rows are not forecasts)",
    ),
    _Fault(
        "label is out of range",
        "label",
        lambda frame: frame["label"].notna() & ~frame["label"].isin([0, 1]),
        "1 (up), 0 (down) or null (neutral)",
    ),
    _Fault(
        "forward_return is not finite",
        "forward_return",
        lambda frame: ~np.isfinite(frame["forward_return"]),
        "a return as a fraction",
    ),
    _Fault(
        "p_up is not a probability",
        "p_up",
        lambda frame: ~frame["p_up"].between(0.0, 1.0),
        "a number from 0 to 1",
        "look for a loss that became NaN, lower `model.lr`, and train again",
    ),
    _Fault(
        "known_at is not after the decision time",
        "known_at",
        lambda frame: frame["known_at"] <= frame["time"],
        "a label that is known later than it is forecast",
        "check the label's horizon and train again",
    ),
    _Fault(
        "a decision time stands more than once in a fold",
        "window",
        lambda frame: frame.duplicated(["symbol", "time", "window", "fold"], keep=False),
        "one row per symbol, time, window and fold",
        "keep each run's predictions apart, and average seeds with `average_seeds`",
    ),
)
