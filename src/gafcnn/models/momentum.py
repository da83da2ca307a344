"""A rival without training: momentum, the return in the time before the decision.

Jegadeesh and Titman, "Returns to Buying Winners and Selling Losers: Implications for Stock Market
Efficiency", Journal of Finance, 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.atomic_io import read_sealed, seal, write_json
from gafcnn.data.bars import interval_of
from gafcnn.data.samples import Samples
from gafcnn.durations import NO_TIME, Duration, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.models.estimator import Estimator, Part

MOMENTUM = "checkpoints/momentum.json"


@dataclass(eq=False, repr=False)
class Momentum(Estimator):
    """Score symbols of a cross-section by their past return; nothing is learned.

        close[t - skip] / (open of the first bar of the lookback) - 1

    It needs a lookback without a gap, so that of the samples has to be as long, or longer.

    Args:
        lookback: The bars up to the decision, a multiple of their interval.
        skip: The last part of the lookback, which is left out; likewise.
        scaled: Whether the return is divided by its realised volatility, the square root of the sum
            of squares of the returns of its bars.
        reverse: Whether the score is the negative return: reversal.
        seed: The seed in the predictions table; nothing depends on it.
        folder: Folder to write `checkpoints/momentum.json` to; None writes nothing.
        name: Name in the predictions table.

    Attributes:
        classes_: Names of the classes; () for a continuous target.
        metrics_: Scores on the labelled validation samples.
        facts_: `bars` of the return, and those `skipped`.
    """

    lookback: Duration = "7D"  # pyright: ignore[reportIncompatibleVariableOverride]
    _: KW_ONLY
    skip: Duration = "0min"
    scaled: Annotated[bool, Field(strict=True)] = False
    reverse: Annotated[bool, Field(strict=True)] = False
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    folder: str | Path | None = None
    name: str | None = "momentum"

    _file = MOMENTUM

    def check(self, samples: Samples, y: None = None) -> None:
        """Check the parameters against samples.

        Raises:
            ConfigError: The label is not of a cross-section, the lookback of the samples is too
                short, or a parameter is invalid.
        """
        super().check(samples, y)
        if samples.task != "ranking":
            raise ConfigError(
                f"momentum for a label of {samples.task}",
                expected="a label of a cross-section, because scores only order symbols",
                instead='set label=relative, in Python make_samples(bars, label=gc.Relative("1D"))',
            )
        bars, _ = self._bars(interval_of(next(iter(samples.bars.values()))))
        needed = parse_duration("lookback", self.lookback)
        if bars < 1 or needed > samples.lookback:
            raise ConfigError(
                f"lookback={self.lookback}, skip={self.skip} and a lookback of the samples of "
                f"{format_duration(samples.lookback)}",
                expected="a lookback above skip, and at most that of the samples",
                instead=f"pass make_samples(bars, lookback='{format_duration(needed)}', ...); on "
                f"the command line set window.lookback={format_duration(needed)}"
                if bars > 0
                else "set a shorter skip",
            )

    def fit(self, samples: Samples, y: None = None) -> Self:
        """Score the validation samples after `check`; nothing is trained. Return the estimator."""
        self.check(samples, y)
        bars, skipped = self._bars(interval_of(next(iter(samples.bars.values()))))
        description, val = self._describe(samples), samples.labelled("val")
        self.classes_, self.facts_ = samples.classes, {"bars": bars, "skipped": skipped}
        if self.folder is not None:
            write_json(Path(self.folder) / MOMENTUM, seal(description))
        self._score(samples, self._source(samples)[val], "bars")
        return self

    @classmethod
    def _stored(cls, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        if (stored := read_sealed(path)) is None:
            raise ValueError("it is missing or damaged")
        return stored, {}

    def _parameters(self) -> dict[str, Any]:
        lookback = parse_duration("lookback", self.lookback)
        return super()._parameters() | {"lookback": format_duration(lookback)}

    def _bars(self, interval: pd.Timedelta) -> tuple[int, int]:
        """Return how many bars the return spans, and how many are skipped after it."""
        lookback, skip = (parse_duration(key, getattr(self, key)) for key in ("lookback", "skip"))
        skipped = multiple_of("skip", skip, interval) if skip > NO_TIME else 0
        return multiple_of("lookback", lookback, interval) - skipped, skipped

    def _read(self, parts: Sequence[Part]) -> NDArray[np.float64]:
        """Return the scores at rows of bars: shape (n,)."""
        found = []
        for bars, rows in parts:
            length, skipped = self._bars(interval_of(bars))
            close: Any = bars["close"].astype(np.float64)
            first, back = bars["open"].astype(np.float64), length - 1
            score = close / first.shift(back) - 1
            if self.scaled:
                total = (close.pct_change().fillna(0) ** 2).cumsum()
                variance = total - total.shift(back) + (close / first - 1).shift(back) ** 2
                score = (score / np.sqrt(variance.clip(lower=0))).where(variance > 0, 0.0)
            found.append(score.to_numpy()[rows - skipped])
        return np.concatenate(found) * (-1 if self.reverse else 1)

    def _predict(
        self, source: NDArray[np.float64], positions: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return source[positions]
