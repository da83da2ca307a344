"""What cannot be done ends in one sentence and exit code 1, and harms nothing on disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gafcnn.app.command import main
from gafcnn.data.simulated import simulate

Refuse = Callable[..., str]


TINY = ("market=simulated", "market.days=3", "model=small_cnn", "images.size=16")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["windw=30m"], "there is no key windw; expected one that conf/train.yaml has; did you"),
        (["model.lrr=1"], "did you mean model.lr?"),
        (["window=99m"], "window has no option 99m; expected one of 15m, 15m_x10, 15m_x64, 30m"),
        (["model.lr=1e-3,1e-4"], "add -m in front for a sweep"),
        (["study=../elsewhere"], "study=../elsewhere; expected letters, digits"),
        (["seed=-1"], "seed=-1; expected a whole number, 0 or more"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs=abc; expected a whole number, 1 or more"),
        (["model.lr=0"], "model.lr=0; expected a number above 0"),
        (["images.size=0"], "the image size is 0; expected a whole number of pixels"),
        (["images.size=abc"], "the image size is 'abc'; expected a whole number of pixels"),
        (
            ["images.size=7"],
            "images.size=7 is too small for small_cnn's strides of [2, 2, 2] with a kernel",
        ),
        (["model=resnet18"], "images.size=16 leaves nothing after ResNet18's five halvings"),
        (["images.fields=[bodi]"], "the field 'bodi' is unknown; expected a list of open, high"),
        (["images.fields=[bodi]"], "range_to_mean_range, gap_to_mean_range"),
        (["images.fields=[bodi]"], "; did you mean body?"),
        (["images.fields=close"], "the fields are 'close'; expected a list of open, high"),
        (
            ["images.fields=[gap,body_to_mean_body]", "window=60m"],
            "the field 'body_to_mean_body' reads 10 candles of 1min before window.span=1h; "
            "expected all of them within window.lookback, 1h; set window.lookback to 70min or more",
        ),
        (
            ["images.kinds=[gaff]"],
            "the image kind 'gaff' is unknown; expected a list of gasf, gadf",
        ),
        (["images.kinds=[gasf,gasf]"], "the image kind 'gasf' stands twice; expected a list of"),
        (["images.range=[1,0]"], "the image range is [1, 0]; expected [-1, 1], or [0, 1], which"),
        (["images.scaling=robust"], "the image scaling is 'robust'; expected per_field or jointly"),
        (
            ["images=on_the_fly", "images.kinds=[gasf,markov]"],
            "images of the kind 'markov' cannot be made on the fly; expected gasf or gadf; "
            "set images=stored.",
        ),
        (["images=on_the_fly", "images.kinds=[recurrence]"], "; set images=stored."),
        (["images.stored=perhaps"], "images.stored=perhaps; expected true or false"),
        (["images=on_the_fly", "window.lookback=6h", "market.days=0.1"], "there are only 144 bars"),
        (["images=on_the_fly", "model.batch_size=100000"], "with 2692 labelled training samples"),
        (["objective=majority"], "objective=majority; expected accuracy or auc"),
        (["monitor=val/foo"], "monitor=val/foo; expected train/loss"),
        (
            ["model.weights=gone.pth", "model=resnet18", "images.size=32"],
            "model.weights=gone.pth is not a file",
        ),
        (["window.span=50s"], "window.span is 50s; expected a multiple of window.step, 1min"),
        (["window=30m", "market.interval=15min"], "window 30m has 2 points over bars of 15min"),
        (["window.lookback=6h", "market.days=0.1"], "there are only 144 bars of 1min"),
        (["model=xgboost", "model.rounds=0"], "model.rounds=0; expected a whole number, 1 or more"),
        (["model=xgboost", "model.trees.max_depth=-1"], "XGBoost refuses its parameters (value"),
        (["model.batch_size=100000"], "with 2692 labelled training samples"),
        (
            ["trainer.accelerator=cpu", "trainer.devices=0"],
            "trainer.devices=0; expected a whole number, 1 or more, auto, or a list of devices",
        ),
        (["trainer.devices=[0,0]"], "trainer.devices=[0, 0]; expected a whole number, 1 or more"),
        (
            ["trainer.accelerator=cpu", "trainer.devices=2"],
            "trainer.devices=2 and trainer.strategy=auto; expected one device, or trainer.strategy",
        ),
        (
            ["trainer.strategy=fsdp"],
            "trainer.strategy=fsdp; expected auto or ddp; set trainer.stra",
        ),
        (
            ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "model.batch_size=255"],
            "model.batch_size=255 shared by 2 processes; expected a multiple of 2, for each has",
        ),
        (["window=60m", "market.days=0.02"], "there are only 28 bars of 1min; expected 60 without"),
        (["trainer.accelerator=abacus"], "trainer.accelerator=abacus; expected one of auto, gpu"),
        (["trainer.accelerator=null"], "trainer.accelerator=None; expected one of auto, gpu, cpu"),
        (
            ["trainer.precision=half"],
            "trainer.precision=half; expected auto, or of Lightning's 32-true, bf16-mixed",
        ),
        (["trainer.precision=true"], "trainer.precision=True; expected auto, or of Lightning's"),
        (["trainer.precision=[32]"], "trainer.precision=[32]; expected auto, or of Lightning's"),
        (
            ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"],
            "hydra.launcher.n_jobs=0; expected how many jobs run at a time, 1 or more, or -1 for",
        ),
        (["-m", "hydra.launcher.n_jobs=two"], "hydra.launcher.n_jobs=two; expected how many jobs"),
        (
            ["trainer=gpu", "trainer.compile=1"],
            "trainer.compile=1; expected true, false, or a mode of torch.compile: default, ",
        ),
        (
            ["trainer.accelerator=cpu", "trainer.precision=16-mixed"],
            "trainer.precision=16-mixed on a CPU, where torch does not mix in float16; expected",
        ),
    ],
)
def test_training_refuses(refused: Refuse, words: list[str], told: str) -> None:
    assert told in refused("train", *TINY, *words)


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU"
)
def test_a_gpu_that_is_not_there_is_told_before_anything_is_read(
    refused: Refuse, typed: Callable[..., str], tmp_path: Path
) -> None:
    words = [*TINY, "trainer=gpu"]
    assert refused("train", *words) == (
        "error: trainer.accelerator=gpu, but torch sees no CUDA or MPS device; expected one, with "
        "its driver and a torch that is built for it; set trainer=default, which takes what there "
        "is."
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "images of 15m are in" in typed("prepare", *words)  # no GPU is needed for them


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "0 bytes"),
        (b"PAR1 and no more", "cannot be read"),
    ],
)
def test_a_market_file_that_is_no_market_is_named(
    refused: Refuse, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "bars.parquet").write_bytes(content)
    sentence = refused("train", "market=file", "market.path=bars.parquet", "model.weights=null")
    assert "bars.parquet" in sentence
    assert told in sentence


def test_volume_is_refused_where_a_file_has_none(
    refused: Refuse, typed: Callable[..., str], tmp_path: Path
) -> None:
    bars = simulate(200)[0].drop(columns="volume")
    bars.to_csv(tmp_path / "bars.csv")
    words = ["prepare", "market=file", "market.path=bars.csv", "images.size=8"]
    assert refused(*words, "images.fields=[close,volume]") == (
        "error: the 200 bars from 2024-01-01 00:01 to 2024-01-01 03:20 UTC have no volume to make "
        "the field 'volume' of; expected bars with a column volume, or fields that are made of "
        "prices; write images.fields=[close], say."
    )
    assert not (tmp_path / "data" / "gaf").exists()
    assert "no gap, no volume" in typed(*words, "images.fields=[close,body]")


def test_a_market_file_that_is_not_there_is_named(refused: Refuse) -> None:
    words = ["train", "market=file", "model.weights=null"]
    assert "market.path has no value" in refused(*words)
    assert "gone.csv is not a file" in refused(*words, "market.path=gone.csv")


@pytest.mark.parametrize("path", ["gone.csv", "5", "[gone.csv,lost.csv]"])
def test_a_market_file_that_is_not_there_is_told_before_weights_are_fetched(
    refused: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a port where nothing listens
    told = refused("train", "market=file", f"market.path={path}", "model.weights=imagenet")
    assert f"market.path={path.strip('[').split(',')[0]} is not a file" in told
    assert not (tmp_path / "torch").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["study=nowhere"], "there is no study nowhere in outputs"),
        (["study=x", "windows=15m"], "windows=15m; expected a list of names"),
        (["study=x", "ensemble.methods=[mean,mean]"], "expected a list of names, each once"),
        (["study=a/b"], "study=a/b; expected letters, digits"),
        (["trading.cost_bps=-1"], "trading.cost_bps is -1; expected basis points per side, 0 or"),
        (["trading.threshold=0.7"], "trading.threshold is 0.7; expected a confidence from 0 to"),
        (
            ["judging.resamples=-1"],
            "judging.resamples=-1; expected 0 for no intervals, or 100",
        ),
        (["judging.resamples=1"], "judging.resamples=1; expected 0 for no intervals, or 100"),
        (["receipts=maybe"], "receipts=maybe; expected true or false"),
        (["study=nan"], "study=nan; expected letters, digits"),
        (["trust=mylabels"], "trust=mylabels; expected a list of names of packages, such as"),
        (["trust=[-x]"], "trust=['-x']; expected a list of names of packages, such as"),
    ],
)
def test_evaluation_refuses(refused: Refuse, words: list[str], told: str) -> None:
    assert told in refused("evaluate", *words)


def test_a_shared_training_is_no_job_of_a_sweep(refused: Refuse, tmp_path: Path) -> None:
    assert refused("train", "-m", *TINY, "window=15m,30m", "trainer=ddp") == (
        "error: trainer=ddp inside a multirun, which each of its processes would start again; "
        "expected one device a job of a sweep; leave trainer=ddp out, or give each run a command "
        "of its own, without -m."
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(shutil.which("srun") is not None, reason="there is a Slurm")
def test_a_sweep_for_slurm_is_refused_where_there_is_none(refused: Refuse) -> None:
    assert refused("train", *TINY, "-m", "hydra/launcher=submitit_slurm", "window=15m,30m") == (
        "error: hydra/launcher=submitit_slurm, but there is no srun here; expected a machine that "
        "hands jobs to Slurm; type the command on one, or take hydra/launcher=joblib."
    )


def test_a_batch_larger_than_the_samples_is_told_before_images_are_made(
    refused: Refuse, tmp_path: Path
) -> None:
    assert "with 2692 labelled training samples" in refused(
        "train", *TINY, "model.batch_size=10000"
    )
    assert not (tmp_path / "data" / "gaf").exists()


def test_overwriting_with_bad_input_harms_nothing(refused: Refuse, tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "x" / "15m"
    for name in ("config.yaml", "metrics.json", "checkpoints/last.ckpt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    refused("train", *TINY, "study=x", "overwrite=true", "model.batch_size=100000")
    refused("train", *TINY, "study=x", "overwrite=true", "window.span=50s")
    left = [(run / name).read_text() for name in ("config.yaml", "metrics.json")]
    assert left == ["{}", "{}"]
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_a_sweep_tells_each_job_that_it_refuses(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["-m", *TINY, "window=15m,30m", "window.lookback=10h", "market.days=0.3", "study=x"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    with pytest.raises(SystemExit):
        main("train", root / "conf")
    os.environ.pop("HYDRA_FULL_ERROR", None)
    assert capfd.readouterr().out.count("error: there are only 432 bars") == 2
