"""Time sensitivity: what knows the order of frames is seen, what does not stays at chance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate.features import Clips
from vidssl.evaluate.time import PLAYED, PlayedFeatures, Player, class_probe, low_level, question_probe
from vidssl.kernels.augment import Augment
from vidssl.pretext import Vcop
from vidssl.train.config import Recipe
from vidssl.train.train import train

SMALL = Clips(count=2, length=4, stride=2, augment=Augment(resize=(24, 32), crop=(16, 16)))


def played(forward: torch.Tensor, **others: torch.Tensor) -> PlayedFeatures:
    """Features of videos; each is a group, and every second one has the class "a"."""
    count = len(forward)
    feature = {way: others.get(way, forward.clone()) for way in PLAYED}
    return PlayedFeatures(feature, np.arange(count), ["a", "b"] * (count // 2), [f"{at:03d}" for at in range(count)])


def noise(seed: int, count: int = 40, clips: int = 3, wide: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, clips, wide)).astype(np.float32))


def test_features_that_know_the_direction_answer_it_and_nothing_else() -> None:
    forward, shuffled = noise(0), noise(1)
    backward = noise(2)
    forward[..., 2] += 3
    shuffled[..., 2] += 3
    found = played(forward, reversed=backward, shuffled=shuffled)
    direction, groups = question_probe(found, "direction")
    order, _ = question_probe(found, "order")
    assert float(direction.double().mean()) > 0.85
    assert abs(float(order.double().mean()) - 0.5) < 0.15
    assert len(direction) == len(groups) == 2 * 40 * 3


def test_features_that_are_the_same_in_any_order_stay_at_chance() -> None:
    same = played(noise(3))
    for question in ("direction", "order", "speed"):
        assert abs(float(question_probe(same, question)[0].double().mean()) - 0.5) < 0.01


def test_a_video_is_never_asked_about_by_a_probe_that_learnt_on_its_group() -> None:
    """Each group answers by a sign of its own: whoever has seen it is right, whoever has not is at chance."""
    sign = torch.from_numpy(np.random.default_rng(4).choice([-1.0, 1.0], (20, 1, 1))).float().repeat_interleave(2, 0)
    own = torch.eye(20).repeat_interleave(2, 0)[:, None].expand(40, 3, 20) * sign * 5
    found = played(own.contiguous(), reversed=-own)._replace(group=[f"{at // 2:03d}" for at in range(40)])
    assert abs(float(question_probe(found, "direction")[0].double().mean()) - 0.5) < 0.1


def test_a_class_that_is_read_from_the_order_is_lost_in_reverse() -> None:
    forward = noise(5)
    forward[::2, :, 0] += 6  # class a
    turned = forward.clone()
    turned[..., 0] = 6 - turned[..., 0]
    predicted, label, classes = class_probe(played(forward, reversed=turned))
    right = {way: float((answer == label).double().mean()) for way, answer in predicted.items()}
    assert classes == ["a", "b"]
    assert right["forward"] > 0.95
    assert right["reversed"] < 0.05
    assert right["shuffled"] == right["forward"]


def test_few_groups_are_refused() -> None:
    with pytest.raises(VidsslError, match="the videos are of 8 groups; give at least 10"):
        question_probe(played(noise(6, count=8)), "order")


def test_a_clip_is_played_in_four_ways(index: VideoIndex) -> None:
    row = int(index.usable()[0])
    player = Player(clips=SMALL, seed=7)
    video = index.video(row)
    found = player.read(row, video)
    assert set(found) == set(PLAYED)
    torch.testing.assert_close(found["reversed"], found["forward"].flip(2), rtol=0, atol=0)
    for clip in range(2):
        order = player.order(row, clip)
        assert sorted(order) == [0, 1, 2, 3]
        assert list(order) not in ([0, 1, 2, 3], [3, 2, 1, 0])
        shown = found["forward"][clip][:, torch.from_numpy(order)]
        torch.testing.assert_close(found["shuffled"][clip], shown, rtol=0, atol=0)
    assert (player.order(row, 0) == Player(clips=SMALL, seed=7).order(row, 0)).all()
    assert player.extent == 13  # 4 frames, 4 apart
    fast = Clips(count=2, length=4, stride=4, augment=SMALL.augment).read(video)
    torch.testing.assert_close(found["fast"], fast, rtol=0, atol=0)
    slow = Player(clips=SMALL, seed=7, ways=("forward", "reversed", "shuffled"))
    assert slow.extent == 7
    assert set(slow.read(row, video)) == {"forward", "reversed", "shuffled"}


def test_two_frames_are_forward_or_reversed_in_any_order(index: VideoIndex) -> None:
    row = int(index.usable()[0])
    two = Player(clips=replace(SMALL, length=2), seed=7, ways=("forward", "reversed", "fast"))
    assert set(two.read(row, index.video(row))) == {"forward", "reversed", "fast"}
    with pytest.raises(VidsslError, match="shuffled needs clips of 3 frames; leave it out"):
        replace(two, ways=PLAYED).read(row, index.video(row))


def test_low_level_cues_are_brightness_and_change() -> None:
    clips = torch.zeros(1, 3, 3, 2, 2)
    clips[:, :, 1] = 0.5
    np.testing.assert_allclose(low_level(clips)[0], [0, 0.5, 0, 0.5, 0.5], atol=1e-6)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for number in range(12):
        path = root / "ab"[number % 2] / f"{number}.avi"
        path.parent.mkdir(exist_ok=True)
        make_clip(path, "mpeg4", frames=30 if number else 16, size=(48 + 2 * number, 64))
    return root


def test_the_command(
    videos: Path,
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    train(recipe, index, run, steps=2, device="cpu", quiet=True)
    arguments = ["evaluate", "time", str(run), "--data", str(videos), "--clips", "2", "--device", "cpu"]
    assert main([*arguments, "--pairs", "a:b"]) == 0
    said = capsys.readouterr().out
    assert "12 videos, 12 groups, 2 clips a video; 5 folds of whole groups" in said
    assert "order: trained minus untrained" in said
    assert "a:b: 12 videos of these two classes." in said
    found = json.loads((run / "time.json").read_text())["numbers"]
    columns = {"direction", "order", "speed", "class, forward", "class, reversed", "class, shuffled", "a:b"}
    assert set(found) == {"trained", "untrained", "low level", "chance"}
    assert all(set(row) == columns for row in found.values())
    assert found["chance"]["order"]["value"] == 0.5
    assert main([*arguments, "--pairs", "a:c"]) == 2
    assert "no video has the label 'c'; take two of a, b" in capsys.readouterr().err
    assert main([*arguments, "--pairs", "a:a"]) == 2
    assert "pairs=a:a: take two different labels" in capsys.readouterr().err
    assert main([*arguments, "--pairs", "a"]) == 2
    assert "take FIRST:SECOND" in capsys.readouterr().err
    monkeypatch.delattr("vidssl.evaluate.time.played_features")  # nothing is decoded before this is said
    assert main(["evaluate", "time", str(run), "--data", str(videos / "a"), "--device", "cpu"]) == 2
    assert "the videos are of 6 groups; give at least 10" in capsys.readouterr().err


def test_the_order_of_clips_of_two_frames_is_not_asked(
    videos: Path, index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, own = tmp_path / "run", tmp_path / "own.py"
    own.write_text("from torch import nn\n\ndef net(channels):\n    return nn.Conv3d(channels, 4, 1)\n")
    vcop = Vcop(clip_length=2, interval=2, augment=recipe.pretext.augment)
    train(replace(recipe, pretext=vcop, encoder=f"{own}:net"), index, run, steps=1, device="cpu", quiet=True)
    command = ["evaluate", "time", str(run), "--data", str(videos), "--clips", "1", "--device", "cpu"]
    assert main([*command, "--trust-code"]) == 0
    said = capsys.readouterr().out
    assert "Order is not measured: clips of two frames are forward or reversed in any order." in said
    assert "it is tested on clips that are played forward and reversed." in said
    found = json.loads((run / "time.json").read_text())["numbers"]
    assert all(set(row) == {"direction", "speed", "class, forward", "class, reversed"} for row in found.values())
