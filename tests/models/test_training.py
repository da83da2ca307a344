"""Trainings that are stopped, resumed, averaged and shared; their devices and precision."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback

from gafcnn.data.labels import Direction
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate_universe
from gafcnn.errors import LearningError
from gafcnn.models import training
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.module import BEST, LAST, load_plain
from gafcnn.models.training import AveragedWeights, Device, Epochs, choose_precision, find_device

Train = Callable[..., GafClassifier]


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def kill_in_epoch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes trainings end in the middle of an epoch, counted from 1."""

    seed = Epochs.on_train_epoch_start

    def install(epoch: int | None) -> None:
        def on_train_epoch_start(self: Any, trainer: Any, pl_module: Any) -> None:
            if epoch is not None and trainer.current_epoch + 1 == epoch:
                raise KilledError
            seed(self, trainer, pl_module)

        monkeypatch.setattr(Epochs, "on_train_epoch_start", on_train_epoch_start)

    return install


def equal(one: GafClassifier, other: GafClassifier) -> bool:
    states = (model.module_.state_dict() for model in (one, other))
    return all(torch.equal(*pair) for pair in zip(*(s.values() for s in states), strict=True))


@pytest.mark.parametrize(
    "options",
    [{}, {"average_weights": 0.9, "monitor": "val/auc", "monitor_mode": "max"},
     {"precision": "bf16-mixed"}],
    ids=["plain", "averaged", "bf16"],
)  # fmt: skip
def test_a_killed_training_resumes_to_the_same_numbers(
    train: Train, options: dict[str, Any], samples: Samples, tmp_path: Path, kill_in_epoch: Any
) -> None:
    undisturbed = train(samples, **options)
    kill_in_epoch(3)
    with pytest.raises(KilledError):
        train(samples, **options, folder=tmp_path / "run")
    kill_in_epoch(None)
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed = train(samples, **options, folder=tmp_path / "moved")
    assert equal(undisturbed, resumed)
    assert undisturbed.history_.equals(resumed.history_)
    assert undisturbed.best_epoch_ == resumed.best_epoch_
    loaded = GafClassifier.load(tmp_path / "moved", accelerator="cpu")
    assert equal(undisturbed, loaded)
    rows = samples.split.test
    expected = undisturbed.predict_samples(samples, rows)
    assert np.array_equal(loaded.predict_samples(samples, rows), expected)


def test_a_finished_training_trains_no_more(train: Train, samples: Samples, tmp_path: Path) -> None:
    options = {"max_epochs": 6, "patience": 1, "lr": 1.0, "folder": tmp_path}
    first = train(samples, **options)
    assert first.facts_["epochs"] < 6  # early stopping ended it
    content = (tmp_path / LAST).read_bytes()
    again = train(samples, **options)
    assert equal(first, again)
    for fact in ("steps", "epochs"):
        assert again.facts_[fact] == first.facts_[fact]
    assert (tmp_path / LAST).read_bytes() == content


def test_a_folder_of_another_training_is_rejected(
    train: Train, samples: Samples, tmp_path: Path
) -> None:
    train(samples, max_epochs=1, folder=tmp_path)
    for option, value in (("seed", 1), ("max_epochs", 4), ("window", "30m")):
        with pytest.raises(LearningError, match=option):
            train(samples, **{"max_epochs": 1, option: value}, folder=tmp_path)


def test_a_file_that_is_no_checkpoint_is_left_alone(
    train: Train, samples: Samples, tmp_path: Path
) -> None:
    path = tmp_path / LAST
    path.parent.mkdir()
    path.write_text("my notes")
    with pytest.raises(LearningError, match=f"{path.name} cannot be read .* another"):
        train(samples, folder=tmp_path)
    assert path.read_text() == "my notes"


def test_checkpoints_hold_plain_data_and_describe_their_training(
    train: Train, samples: Samples, tmp_path: Path
) -> None:
    model = train(samples, max_epochs=1, folder=tmp_path)
    checkpoint = torch.load(tmp_path / BEST, weights_only=True)
    assert checkpoint["hyper_parameters"]["network"] == {
        "kind": "small_cnn", "width": 4, "channels": 2, "outputs": 1, "size": 16,
    }  # fmt: skip
    loaded = GafClassifier.load(tmp_path / BEST)
    assert loaded.classes_ == model.classes_
    assert loaded.model_name == "15m"
    assert loaded._spec == model._spec
    for damage in ({"hyper_parameters": {}}, {"state_dict": {}}):
        torch.save(checkpoint | damage, tmp_path / "other.ckpt")
        with pytest.raises(LearningError, match="other.ckpt"):
            GafClassifier.load(tmp_path / "other.ckpt")


def test_averaged_weights_follow_their_formula(
    train: Train, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Keep(Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            seen.append(pl_module.state_dict()["network.head.2.weight"].clone())

    trainer = training._trainer

    def observed(*args: Any) -> Any:
        made = trainer(*args)
        at = next(i for i, c in enumerate(made.callbacks) if isinstance(c, AveragedWeights))
        made.callbacks.insert(at, Keep())
        return made

    monkeypatch.setattr(training, "_trainer", observed)
    model = train(samples, max_epochs=1, average_weights=0.9)
    mean = seen[0]
    for step, weight in enumerate(seen[1:], start=1):
        keep = min(0.9, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * weight
    averaged = model.module_.state_dict()["network.head.2.weight"]
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert not torch.allclose(averaged, seen[-1], atol=1e-4)


def test_throughput_leaves_out_the_first_epoch(
    train: Train, trained: GafClassifier, samples: Samples
) -> None:
    assert train(samples, max_epochs=1).facts_["samples_per_second"] is None
    assert trained.facts_["samples_per_second"] > 0
    assert 0 <= trained.facts_["data_wait_share"] < 1


def test_loggers_write_into_the_folder(train: Train, samples: Samples, tmp_path: Path) -> None:
    loggers = {"csv": {}, "tensorboard": {"name": "board"}, "mlflow": None}
    train(samples, max_epochs=1, loggers=loggers, folder=tmp_path)
    [metrics] = tmp_path.glob("csv/*/metrics.csv")
    columns = metrics.read_text().splitlines()[0].split(",")
    assert {"val/auc", "train/loss", "lr-AdamW"} <= set(columns)
    assert list(tmp_path.glob("board/*/events.*"))


SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from gafcnn.data.samples import make_samples
from gafcnn.data.simulated import simulate
from gafcnn.models.classifier import GafClassifier
samples = make_samples(simulate(1500, seed=0)[0])
model = GafClassifier({options}).fit(samples)
print("predicting", flush=True)
while True:
    model.predict_samples(samples, samples.split.train)
"""


def start(options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT.format(options=options)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("line", ["epoch 2", "predicting"])
def test_sigterm_ends_a_training_or_a_prediction_at_once(line: str, tmp_path: Path) -> None:
    epochs = 1000 if line.startswith("epoch") else 1
    options = f"max_epochs={epochs}, patience=1000, progress=False, folder={str(tmp_path)!r}"
    with start(options) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text.startswith(line):
                break
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        for text in process.stdout:
            if "SIGTERM" in text:
                break
        assert time.monotonic() - begun < 2  # the interpreter takes longer to exit
        process.stdout.read()
        assert process.wait(timeout=60) == (143 if epochs > 1 else -signal.SIGTERM)
    assert load_plain(tmp_path / LAST, "")["epoch"] >= min(epochs - 1, 1)


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "bf16", "network", "precision"),
    [
        ("cuda", True, "resnet18", "bf16-mixed"), ("cuda", True, "small_cnn", "bf16-mixed"),
        ("cuda", False, "resnet18", "32-true"), ("cpu", True, "resnet18", "bf16-mixed"),
        ("cpu", True, "small_cnn", "32-true"), ("cpu", True, "another", "32-true"),
        ("cpu", False, "resnet18", "32-true"), ("mps", False, "resnet18", "32-true"),
    ],
)  # fmt: skip
def test_auto_precision(kind: str, bf16: bool, network: str, precision: str) -> None:
    assert choose_precision("auto", Device(kind, "", bf16), network) == precision


def test_other_precisions_are_passed_on_except_float16_on_a_cpu() -> None:
    for precision in ("16-mixed", "16", 16):
        assert choose_precision(precision, Device("cuda", "", bf16=True), "x") == precision
        with pytest.raises(LearningError, match=f"precision={precision} on a CPU"):
            choose_precision(precision, Device("cpu", "", bf16=True), "x")
    assert choose_precision("64-true", Device("cpu", "", bf16=True), "x") == "64-true"


@pytest.mark.parametrize(
    ("accelerator", "cuda", "mps", "kind"),
    [
        ("auto", False, False, "cpu"), ("auto", True, True, "cuda"), ("auto", False, True, "mps"),
        ("gpu", False, True, "mps"), ("cpu", True, False, "cpu"), ("gpu", False, False, None),
        ("cuda", False, True, None), ("abacus", True, True, None),
    ],
)  # fmt: skip
def test_an_accelerator_is_the_first_one_available(
    accelerator: str, cuda: bool, mps: bool, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if kind is None:
        with pytest.raises(LearningError, match=f"accelerator={accelerator}"):
            find_device(accelerator)
    else:
        assert find_device(accelerator).kind == kind


@pytest.mark.parametrize(
    ("capabilities", "bf16"),
    [
        ({}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"neon": True, "bf16": True}, False),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),  # half the ports of float32
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
    ],
)
def test_a_cpu_gains_from_bf16_by_its_units(
    capabilities: dict[str, Any], bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert find_device("cpu").bf16 == bf16


def test_this_cpu_is_recognised() -> None:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        pytest.skip("no /proc/cpuinfo here")
    words = set(path.read_text().split())
    units = {"amx_bf16"} if "GenuineIntel" in words else {"amx_bf16", "avx512_bf16"}
    assert find_device("cpu").bf16 == bool(units & words)


# --- memory ---------------------------------------------------------------------------------------


def test_memory_for_each_bar_and_symbol(train: Train) -> None:
    # without that of the bars, which was allocated before, and of torch
    peaks = []
    for symbols in (2, 2, 8):  # the first imports what is needed
        bars, _ = simulate_universe(symbols, 4000)
        tracemalloc.start()
        samples = make_samples(bars, label=Direction("8h"), lookback="32h")
        tracemalloc.reset_peak()
        train(samples, window="16x1h", batch_size=1024, max_epochs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 0 < (peaks[2] - peaks[1]) / (6 * 6000) < 16  # bytes
