"""The classifier answers with the mean over views, keeps its frozen parts, and is trained on the videos' classes."""

from __future__ import annotations

import pytest
import torch

from vidssl import VideoIndex, VidsslError
from vidssl.evaluate.classifier import Classifier, Labelled
from vidssl.evaluate.features import Clips, extract
from vidssl.kernels.augment import Augment
from vidssl.models import r3d_tiny
from vidssl.train.config import Recipe


def test_answers_are_averaged_over_views(index: VideoIndex) -> None:
    model = Classifier(r3d_tiny(), lambda clips: clips, 3, ()).eval()
    clips = Clips(count=2, length=8, augment=Augment(resize=(24, 32), crop=(16, 16)), crops="ten")
    (found,) = extract([torch.nn.Sequential(model.encoder, model.head)], index.select([0]), clips, progress=False)
    with torch.no_grad():
        views = clips.read(index.video(0))
        torch.testing.assert_close(found.feature[0], model(views[:, None]).mean(0))


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    model = Classifier(r3d_tiny(), lambda clips: clips, 3, ("stem", "stages.0"))
    model.train()
    assert not model.encoder.stem.training  # type: ignore[union-attr]
    assert model.head.training
    learnt = {name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad}
    frozen = {name for name, _ in model.encoder.named_parameters() if name.startswith(("stem.", "stages.0."))}
    assert frozen
    assert learnt == {name for name, _ in model.encoder.named_parameters()} - frozen


@pytest.mark.parametrize("name", ["conv1", ""])
def test_a_part_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(VidsslError, match=rf"freeze=\['{name}'\]: take some of stem, stem.0"):
        Classifier(r3d_tiny(), lambda clips: clips, 3, (name,))


def test_labels_are_the_classes_of_the_videos(index: VideoIndex, recipe: Recipe) -> None:
    classes, labels = ["c", "a", "b"], index.column("label").to_pylist()
    with Labelled(index, recipe.pretext.plan, classes=classes, batch_size=2, device="cpu", workers=1) as loader:
        found = {
            (int(row), classes[label]) for batch in loader for row, label in zip(batch.video, batch.label, strict=True)
        }
    assert len(found) == 8  # of nine, four batches of two
    assert all(labels[row] == name for row, name in found)
