"""Several tasks at once: each head sees its own slots and learns from its own loss; settings survive a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.pretext.tasks import Fast, Reversed
from vidssl.kernels.augment import Augment
from vidssl.pretext import METHODS, Joint, OddOneOut, Pretext, Vcop, build_model, join, pretext_from, register
from vidssl.train.config import Recipe, recipe_from
from vidssl.types import VidsslError

SMALL = Augment(resize=(36, 44), crop=(24, 32), flip=0.5)
VCOP = Vcop(clip_length=8, interval=2, dropout=0.0, augment=SMALL)
JOINT = Joint(tasks=(VCOP, Fast(clip_length=8), Reversed(clip_length=8)), weights=(1.0, 0.5, 2.0), augment=SMALL)


@pytest.fixture
def registered() -> Iterator[None]:
    register(Fast)
    register(Reversed)
    yield
    del METHODS["fast"], METHODS["reversed"]


def test_it_says_what_its_tasks_are() -> None:
    assert (JOINT.name, JOINT.plan.slots, JOINT.input) == ("vcop+fast+reversed", 6, (3, 8, 24, 32))
    names = [(one.name, len(one.class_names), one.chance, one.weight) for one in JOINT.objectives]
    assert names == [("vcop", 6, 1 / 6, 1.0), ("fast", 2, 0.5, 0.5), ("reversed", 3, 0.5, 2.0)]
    assert JOINT.class_names[5:8] == ["vcop 210", "fast 1x", "fast 2x"]
    assert JOINT.plain_biases == ("heads.fast.1.bias",)
    assert all(task.augment == SMALL for task in JOINT.tasks)
    (alone,) = VCOP.objectives
    assert (alone.name, alone.metric("loss"), alone.titles()[0]) == ("", "loss", "012")
    assert JOINT.objectives[1].metric("loss") == "loss/fast"


def test_the_loss_of_a_task_moves_no_other_head() -> None:
    torch.manual_seed(0)
    model = build_model(JOINT, "r3d_tiny").train()
    clips, label = torch.randn(4, 6, 3, 8, 24, 32), torch.tensor([[0, 1, 2], [5, 0, 1], [3, 1, 0], [2, 0, 2]])
    losses = model.losses(model(clips), label)
    assert losses.shape == (4, 3)
    losses[:, 1].sum().backward()
    touched = {name.split(".")[2] for name, one in model.named_parameters() if "head." in name and one.grad is not None}
    moved = {
        name.split(".")[2]
        for name, one in model.named_parameters()
        if name.startswith("head.") and one.grad is not None and one.grad.abs().sum() > 0
    }
    assert moved == {"fast"}
    assert touched <= {"vcop", "fast", "reversed"}
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in model.encoder.parameters())


def test_each_head_gives_what_it_gives_alone() -> None:
    torch.manual_seed(0)
    model = build_model(JOINT, "r3d_tiny").eval()
    clips = torch.randn(2, 6, 3, 8, 24, 32)
    with torch.no_grad():
        logits, features = model(clips), model.features(clips)
        parts = {"vcop": features[:, :3], "fast": features[:, 3:4], "reversed": features[:, 4:]}
        heads: Any = model.head
        alone = [heads.heads[name](part) for name, part in parts.items()]
    assert torch.equal(logits, torch.cat(alone, dim=1))
    assert torch.equal(model.predict(logits), torch.stack([part.argmax(1) for part in alone], dim=1))
    label = torch.tensor([[0, 1, 2], [5, 0, 1]])
    wanted = [torch.nn.functional.cross_entropy(part, label[:, at], reduction="none") for at, part in enumerate(alone)]
    assert torch.equal(model.losses(logits, label), torch.stack(wanted, dim=1))


def test_a_checkpoint_makes_it_again(registered: None) -> None:
    recipe = Recipe(pretext=JOINT, encoder="r3d_tiny")
    written = json.loads(json.dumps(recipe.as_dict()))
    assert written["method"] == "vcop+fast+reversed"
    assert written["pretext"]["tasks"]["vcop"] == {
        "tuple_length": 3,
        "clip_length": 8,
        "stride": 1,
        "interval": 2,
        "interval_max": None,
        "dropout": 0.0,
    }
    assert recipe_from(written) == recipe
    assert pretext_from(VCOP.name, VCOP.as_dict() | {"augment": VCOP.as_dict()["augment"]}) == VCOP
    del written["pretext"]["tasks"]["vcop"]["stride"]
    written["pretext"]["tasks"]["unknown"] = {}
    with pytest.raises(VidsslError, match=r"this version of vidssl cannot read it \('unknown'\)"):
        recipe_from(written)


def test_another_augment_is_that_of_all_tasks() -> None:
    other = replace(JOINT, augment=replace(SMALL, crop=(16, 16)))
    assert [part.augment.crop for part in other.plan.parts] == [(16, 16)] * 3
    assert other.weights == JOINT.weights


def test_tasks_take_the_settings_that_they_share(registered: None) -> None:
    found = join(replace(VCOP, dropout=0.25), ["vcop", "reversed", "fast"], (1, 2, 3))
    assert isinstance(found, Joint)
    assert found.weights == (1, 2, 3)
    assert found.tasks == (
        replace(VCOP, dropout=0.25),
        Reversed(clip_length=8, dropout=0.25, augment=SMALL),
        Fast(clip_length=8, augment=SMALL),
    )
    assert join(VCOP, ["fast"]) == Fast(clip_length=8, augment=SMALL)
    with pytest.raises(VidsslError, match=r"pretext=vcop,paces: 'paces' is not known; take some of shuffle_learn, opn"):
        join(VCOP, ["vcop", "paces"])


def joint(*tasks: Pretext, **settings: Any) -> Joint:
    return Joint(tasks=tasks, augment=SMALL, **settings)


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(VidsslError, match=r"joint: tasks=\['vcop'\]: take two tasks or more, each of another name"):
        joint(VCOP)
    with pytest.raises(VidsslError, match=r"joint: tasks=\['vcop', 'vcop'\]: take two tasks or more, each of another"):
        joint(VCOP, VCOP)
    with pytest.raises(VidsslError, match=r"name the single tasks, not a joint one"):
        joint(JOINT, VCOP)
    for weights in ((1.0,), (1.0, 0.0), (1.0, float("nan")), (1.0, 2.0, 3.0)):
        with pytest.raises(VidsslError, match=r"joint: weights=\(.*\): take 2 numbers > 0, one for each task"):
            joint(VCOP, Fast(clip_length=8), weights=weights)
    with pytest.raises(VidsslError, match=r"joint: fast: frames of a slot=9: vcop shows 8 frames in a slot"):
        joint(VCOP, Fast(clip_length=9))
    odd = OddOneOut(length=8, sampler="consecutive", wrong="adjacent")
    with pytest.raises(
        VidsslError,
        match=r"odd_one_out shows the encoder another encoding of a clip than vcop \(channels x frames 21 x 1 and 3 x 8"
        r"\).*; leave one out, or give both the same encoding",
    ):
        joint(VCOP, odd)
    with pytest.raises(VidsslError, match="it has no table of its own"):
        JOINT.table()
    with pytest.raises(VidsslError, match="it has no single chance"):
        _ = JOINT.chance
