"""Coverage-guided fuzzing of `read_bars`, in addition to the property tests: not run by pytest.

    pip install atheris
    python tests/market/fuzz_reading.py build/fuzz -max_total_time=3600

The folder keeps what was tried, and each finding as `finding-*.bin` (one byte for the format, then
the file) with its traceback beside it. The further options are libFuzzer's.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

try:
    atheris: Any = importlib.import_module("atheris")
except ImportError:
    sys.exit("atheris, which is no part of the environment, is missing: pip install atheris.")

with atheris.instrument_imports(include=["gafcnn.market", "pandas", "zipfile", "gzip", "csv"]):
    from gafcnn.data.bars import check_bars
    from gafcnn.data.reading import read_bars
    from gafcnn.errors import BarsError

ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet", ".feather")


def read_or_refuse(path: Path) -> None:
    """Assert that a file is bars that `check_bars` accepts again, or refused in one sentence."""
    refusal = ""
    try:
        bars = read_bars(path)
    except BarsError as error:
        refusal = str(error)
    else:
        pd.testing.assert_frame_equal(check_bars(bars, path), bars)
    assert not refusal or (str(path) in refusal and len(refusal.splitlines()) == 1)


class Fuzzer:
    """What tries one input, and keeps one finding for each place at fault."""

    def __init__(self, kept: Path, scratch: Path) -> None:
        self.kept, self.scratch = kept, scratch

    def __call__(self, content: bytes) -> None:
        if not content:
            return
        path = self.scratch / f"bars{ENDINGS[content[0] % len(ENDINGS)]}"
        path.write_bytes(content[1:])
        try:
            read_or_refuse(path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            place = f"{type(error).__name__}{traceback.format_tb(error.__traceback__)[-1]}"
            finding = self.kept / f"finding-{hashlib.sha256(place.encode()).hexdigest()[:12]}.bin"
            if not finding.exists():
                finding.write_bytes(content)
                finding.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))


def seeds() -> list[bytes]:
    """Small files of every format to begin with."""
    opened = pd.date_range("2025-05-04", periods=8, freq="1min", tz="UTC")
    prices = {"open": 600.0, "high": 601.5, "low": 599.25, "close": 600.5, "volume": 3.5}
    frame = pd.DataFrame({"open_time": opened.as_unit("ms"), **prices})
    epochs = frame.assign(open_time=frame["open_time"].astype("int64"))
    made: list[bytes] = []
    for text in (
        epochs.to_csv(index=False),
        epochs.to_csv(index=False, header=False),
        frame.to_csv(index=False),
    ):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bars.csv", text)
        made += [
            b"\0" + text.encode(),
            b"\1" + gzip.compress(text.encode()),
            b"\2" + packed.getvalue(),
        ]
    for table in (epochs, frame, epochs.astype({"open": str})):
        feather, bare = io.BytesIO(), io.BytesIO()
        table.to_feather(feather)
        table.to_feather(bare, compression="uncompressed")
        made += [
            b"\3" + table.to_parquet(None, index=False),
            b"\3" + table.to_parquet(None, index=False, compression=None),
            b"\4" + feather.getvalue(),
            b"\4" + bare.getvalue(),
        ]
    return made


def main(kept: Path, options: list[str]) -> None:
    """Fuzz until libFuzzer's options say that it is enough."""
    corpus = kept / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    with tempfile.TemporaryDirectory() as scratch:
        atheris.Setup([sys.argv[0], str(corpus), *options], Fuzzer(kept, Path(scratch)))
        atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
