"""Study after study in one process: `python soak.py CONF N`, in an empty folder.

After each prints, behind the word held, the memory in KiB that the process holds alone, its open
files and its threads.
"""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from gafcnn.app.evaluate import evaluate
from gafcnn.app.train import train

TINY = (
    "market=simulated", "market.days=3", "window=15m", "model=small_cnn", "model.network.width=4",
    "images.size=16", "trainer.accelerator=cpu", "trainer.max_epochs=2", "callbacks.progress=null",
)  # fmt: skip


def held() -> tuple[int, int, int]:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    memory = int(status.split("RssAnon:")[1].split()[0])
    return memory, len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def main(conf: str, n: int) -> None:
    torch.set_num_threads(1)
    with initialize_config_dir(conf, version_base="1.3"):
        for number in range(n):
            words = [f"study=soak{number}", f"market.seed={number}"]
            train(compose("train", [*TINY, *words]))
            evaluate(compose("evaluate", [words[0], "judging.resamples=100"]))
            sys.stdout.write(f"held {' '.join(map(str, held()))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
