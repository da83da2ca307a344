"""Trainings that are stopped, resumed, averaged and shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback

from gafcnn.data.samples import Samples
from gafcnn.errors import LearningError
from gafcnn.models import training
from gafcnn.models.callbacks import AveragedWeights, EpochLog, EpochSeed
from gafcnn.models.checkpoints import BEST, LAST, load_plain
from gafcnn.models.classifier import GafClassifier


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def kill_in_epoch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes trainings end in the middle of an epoch, counted from 1."""

    seed = EpochSeed.on_train_epoch_start

    def install(epoch: int | None) -> None:
        def on_train_epoch_start(self: Any, trainer: Any, pl_module: Any) -> None:
            if epoch is not None and trainer.current_epoch + 1 == epoch:
                raise KilledError
            seed(self, trainer, pl_module)

        monkeypatch.setattr(EpochSeed, "on_train_epoch_start", on_train_epoch_start)

    return install


def weights(model: GafClassifier) -> dict[str, torch.Tensor]:
    return model.module_.state_dict()


def equal(one: GafClassifier, other: GafClassifier) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize(
    "options",
    [{}, {"average_weights": 0.9, "monitor": "val/auc", "monitor_mode": "max"},
     {"precision": "bf16-mixed"}],
    ids=["plain", "averaged", "bf16"],
)  # fmt: skip
def test_a_killed_training_resumes_to_the_same_numbers(
    quick: dict[str, Any],
    options: dict[str, Any],
    samples: Samples,
    tmp_path: Path,
    kill_in_epoch: Any,
) -> None:
    undisturbed = GafClassifier(**quick | options).fit(samples)
    kill_in_epoch(3)
    with pytest.raises(KilledError):
        GafClassifier(**quick | options, folder=tmp_path / "run").fit(samples)
    kill_in_epoch(None)
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed = GafClassifier(**quick | options, folder=tmp_path / "moved").fit(samples)
    assert equal(undisturbed, resumed)
    assert undisturbed.history_.equals(resumed.history_)
    assert undisturbed.best_epoch_ == resumed.best_epoch_
    loaded = GafClassifier.load(tmp_path / "moved", accelerator="cpu")
    assert equal(undisturbed, loaded)
    rows = samples.split.test
    expected = undisturbed.predict_samples(samples, rows)
    assert np.array_equal(loaded.predict_samples(samples, rows), expected)


def test_a_finished_training_trains_no_more(
    quick: dict[str, Any], samples: Samples, tmp_path: Path
) -> None:
    options = quick | {"max_epochs": 6, "patience": 1, "lr": 1.0, "folder": tmp_path}
    first = GafClassifier(**options).fit(samples)
    assert first.facts_["epochs"] < 6  # early stopping ended it
    content = (tmp_path / LAST).read_bytes()
    again = GafClassifier(**options).fit(samples)
    assert equal(first, again)
    for fact in ("steps", "epochs"):
        assert again.facts_[fact] == first.facts_[fact]
    assert (tmp_path / LAST).read_bytes() == content


def test_a_damaged_last_checkpoint_falls_back_to_the_best(
    quick: dict[str, Any],
    samples: Samples,
    tmp_path: Path,
    trained: GafClassifier,
    caplog: pytest.LogCaptureFixture,
) -> None:
    GafClassifier(**quick, folder=tmp_path).fit(samples)
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:1000])
    resumed = GafClassifier(**quick, folder=tmp_path).fit(samples)
    assert equal(resumed, trained)
    assert any("last.ckpt" in line for line in caplog.messages)


@pytest.mark.parametrize(("option", "value"), [("seed", 1), ("max_epochs", 4), ("window", "30m")])
def test_a_folder_of_another_training_is_rejected(
    quick: dict[str, Any], option: str, value: Any, samples: Samples, tmp_path: Path
) -> None:
    GafClassifier(**quick | {"max_epochs": 1}, folder=tmp_path).fit(samples)
    with pytest.raises(LearningError, match=option):
        GafClassifier(**quick | {"max_epochs": 1, option: value}, folder=tmp_path).fit(samples)


def test_checkpoints_hold_plain_data_and_describe_their_training(
    quick: dict[str, Any], samples: Samples, tmp_path: Path
) -> None:
    model = GafClassifier(**quick | {"max_epochs": 1}, folder=tmp_path).fit(samples)
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
    quick: dict[str, Any], samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Keep(Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            seen.append(pl_module.state_dict()["network.head.2.weight"].clone())

    trainer = training._trainer
    monkeypatch.setattr(training, "_trainer", lambda *args: _with_callback(trainer(*args), Keep()))
    options = quick | {"max_epochs": 1, "average_weights": 0.9}
    model = GafClassifier(**options).fit(samples)
    mean = seen[0]
    for step, weight in enumerate(seen[1:], start=1):
        keep = min(0.9, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * weight
    averaged = weights(model)["network.head.2.weight"]
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert not torch.allclose(averaged, seen[-1], atol=1e-4)


def _with_callback(trainer: Any, callback: Callback) -> Any:
    at = next(i for i, c in enumerate(trainer.callbacks) if isinstance(c, AveragedWeights))
    trainer.callbacks.insert(at, callback)
    return trainer


def test_throughput_leaves_out_the_first_epoch(quick: dict[str, Any], samples: Samples) -> None:
    one, two = (GafClassifier(**quick | {"max_epochs": n}).fit(samples).facts_ for n in (1, 2))
    assert one["samples_per_second"] is None
    assert two["samples_per_second"] > 0
    assert 0 <= two["data_wait_share"] < 1
    log = EpochLog()
    log.load_state_dict({"rows": [], "totals": [5, 2.0, 0.5]})
    assert log.throughput == {"samples_per_second": 2.5, "data_wait_share": 0.25}


def test_loggers_write_into_the_folder(
    quick: dict[str, Any], samples: Samples, tmp_path: Path
) -> None:
    loggers = {"csv": {}, "tensorboard": {"name": "board"}, "mlflow": None}
    options = quick | {"max_epochs": 1, "loggers": loggers, "folder": tmp_path}
    GafClassifier(**options).fit(samples)
    [metrics] = tmp_path.glob("csv/*/metrics.csv")
    assert {"val/auc", "train/loss", "lr-AdamW"} <= set(
        metrics.read_text().split("\n")[0].split(",")
    )
    assert list(tmp_path.glob("board/*/events.*"))


SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from gafcnn.data.samples import make_samples
from gafcnn.data.simulated import simulate
from gafcnn.models.classifier import GafClassifier
samples = make_samples(simulate(3000, seed=0)[0])
model = GafClassifier({options}).fit(samples)
print("predicting", flush=True)
while {forever}:
    model.predict_samples(samples, samples.split.train)
print(model.facts_["processes"], len(model.predict(samples)))
"""


def start(options: str, forever: bool = False) -> subprocess.Popen[str]:
    code = SCRIPT.format(options=options, forever=forever)
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("line", ["epoch 2", "predicting"])
def test_sigterm_ends_a_training_or_a_prediction_at_once(line: str, tmp_path: Path) -> None:
    epochs = 1000 if line.startswith("epoch") else 1
    options = f"max_epochs={epochs}, patience=1000, progress=False, folder={str(tmp_path)!r}"
    with start(options, True) as process:
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


@pytest.mark.slow
def test_two_processes_share_a_training(tmp_path: Path) -> None:
    script = tmp_path / "shared.py"
    options = f"""max_epochs=2, progress=False, accelerator="cpu", strategy="ddp", devices=2,
        batch_size=128, folder={str(tmp_path / "run")!r}"""
    script.write_text(SCRIPT.format(options=options, forever=False))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 2  # one process logs
    assert lines[-1].split()[0] == "2"
