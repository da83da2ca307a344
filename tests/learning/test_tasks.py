"""One direction or several classes: what is made of a network's outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn import metrics

from gafcnn.data.candlestick import PATTERNS
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.samples import LabelledSamples
from gafcnn.errors import LearningError
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.image_sources import StoredImages
from gafcnn.models.module import GafModule
from gafcnn.models.objectives import BalancedAccuracy, SeveralClasses, outputs_for, task_of

SEVERAL = {"name": "small_cnn", "channels": 2, "outputs": 9, "size": 16, "width": 4}
ONE = SEVERAL | {"outputs": 1}


@pytest.fixture
def probabilities() -> torch.Tensor:
    return torch.rand(300, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=1)


@pytest.fixture
def labels() -> torch.Tensor:
    """Of four classes, the last of which does not occur."""
    return torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(1))


def test_one_output_tells_two_classes_apart() -> None:
    assert outputs_for(DIRECTIONS) == 1
    assert outputs_for(PATTERNS) == 9


def test_figures_are_sklearn_s_where_a_class_is_called_that_does_not_occur(
    probabilities: torch.Tensor, labels: torch.Tensor
) -> None:
    called = probabilities.argmax(dim=1)
    assert (called == 3).any()
    figures = SeveralClasses(4).metrics()
    for part in (slice(0, 100), slice(100, 300)):
        figures.update(probabilities[part], labels[part])
    found = {name: float(value) for name, value in figures.compute().items()}
    recalls = metrics.recall_score(labels, called, labels=[0, 1, 2], average=None)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, called))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, called, average="macro"))


@pytest.mark.parametrize("classes", [2, 4])
def test_log_odds_are_those_of_the_probabilities(classes: int) -> None:
    task = task_of(outputs_for([*map(str, range(classes))]))
    outputs = torch.randn(50, 1 if classes == 2 else classes, dtype=torch.float64)
    logits = task.logits(outputs)
    p = task.probabilities(logits)
    p = torch.stack([1 - p, p], dim=1) if classes == 2 else p
    called = task.called(logits)
    assert torch.equal(called, p.argmax(dim=1))
    for asked in (called, (called + 1) % classes):
        of_it = p.gather(1, asked[:, None])[:, 0]
        torch.testing.assert_close(task.log_odds(logits, asked), torch.log(of_it / (1 - of_it)))


def test_nothing_is_the_balanced_accuracy_of_nothing() -> None:
    figure = BalancedAccuracy(3)
    figure.update(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert figure.compute().isnan()


def test_probabilities_of_several_classes_sum_to_one_and_one_logit_is_a_sigmoid() -> None:
    images = torch.rand(5, 2, 16, 16)
    several, one = GafModule(SEVERAL).eval(), GafModule(ONE).eval()
    p = several.predict_step((images, torch.zeros(5)), 0)
    assert p.shape == (5, 9)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5))
    assert one.predict_step((images, torch.zeros(5)), 0).shape == (5,)
    assert torch.equal(one.predict_step((images, torch.zeros(5)), 0), one(images).sigmoid())


def test_a_class_of_weight_two_counts_as_if_each_of_its_samples_were_there_twice(
    labels: torch.Tensor,
) -> None:
    task = task_of(4)
    logits = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
    again = (labels == 1).nonzero().squeeze(1)
    twice = torch.cat([torch.arange(300), again])
    weights = torch.tensor([1.0, 2.0, 1.0, 1.0])
    weighted = task.loss(logits, labels.float(), weights)
    torch.testing.assert_close(weighted, task.loss(logits[twice], labels[twice].float(), None))


def test_weights_are_set_on_the_module_and_refused_where_they_do_not_fit() -> None:
    weights = [float(k + 1) for k in range(9)]
    module = GafModule(SEVERAL, class_weights=weights)
    assert module.class_weights is not None
    assert module.class_weights.tolist() == weights
    assert "class_weights" not in module.state_dict()
    module.weigh(None)
    assert module.class_weights is None
    with pytest.raises(LearningError, match=r"class_weights=\[1.0,2.0\]; expected null, balanced"):
        GafModule(SEVERAL, class_weights=[1.0, 2.0])
    with pytest.raises(LearningError, match="with a label of two classes; expected null"):
        GafModule(ONE, class_weights=[1.0, 2.0])


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*")
def test_several_classes_are_learned_kept_and_predicted_the_same(
    stored: StoredImages, samples: LabelledSamples, tmp_path: Path
) -> None:
    label = (np.arange(len(samples.label)) % 10 - 1).astype(np.int8)  # the first of ten has none
    samples = replace(samples, label=label, classes=PATTERNS)
    torch.manual_seed(0)
    module = GafModule(SEVERAL, lr=1e-2, class_weights=[1.0] * 9)
    trainer = lightning.Trainer(
        max_epochs=1,
        limit_train_batches=4,
        callbacks=[
            ModelCheckpoint(tmp_path / "kept", filename="last", enable_version_counter=False)
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    data = GafDataModule(stored, samples, 32)
    trainer.fit(module, data, weights_only=True)
    logged = {name for name in trainer.callback_metrics if name.startswith("val/")}
    assert logged == {"val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1"}
    path = tmp_path / "kept" / "last.ckpt"
    hyper = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hyper == {"network": SEVERAL, "lr": 1e-2, "weight_decay": 1e-5}
    loaded = GafModule.load(path)
    images = torch.rand(3, 2, 16, 16) * 2 - 1
    assert torch.equal(loaded(images), module.cpu().eval()(images))
