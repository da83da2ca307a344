"""Judge the volatility of the last week alone as a forecast, before the test blocks of the study.

    python studies/low_volatility.py FOLDER

The folder has the bars perp-30m. Explains why models that rank well need not earn: calm symbols
often end the next day above the median of all, and do not return more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import gafcnn as gc

WEEK, DAY = 7 * 48, 48  # bars of 30 minutes


def main(folder: Path) -> None:
    """Print rank IC, return of the calmest less the most volatile fifth, and net Sharpe ratio."""
    files = sorted((folder / "perp-30m").glob("*.parquet"))
    bars = {one.stem: gc.read_bars(one, repair="drop")[:"2024-01-01"] for one in files}
    long: Any = {name: one for name, one in bars.items() if len(one) > 2 * WEEK}
    tables = []
    for name, one in long.items():
        prices: Any = np.log(one["close"])
        calm = -prices.diff().rolling(WEEK).std()
        times = pd.DatetimeIndex(one.index)
        decided = (times.hour % 8 == 0) & (times.minute == 0) & calm.notna() & (times < times[-DAY])
        table = pd.DataFrame({"time": times[decided], "score": calm[decided].to_numpy()})
        tables.append(table.assign(symbol=name))
    label: Any = gc.Relative("1D")
    judged = gc.judge({"calm": pd.concat(tables)}, long, label=label, cost_bps=5.0)
    print(judged.summary.T.loc[["rank_ic", "spread_bps", "sharpe"]])
    print(*judged.verdict, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
