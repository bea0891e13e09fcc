"""What is compared in bench_why: features of every layer, and each change by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench_why import SCALED, WAYS, asked, main, not_normalised
from benchmarks.clip_features import LAYERS, POOLS, explained, outputs, recalibrated
from benchmarks.why_table import table
from tests.clips import make_clip
from vidssl.evaluate.features import Clips, Features
from vidssl.evaluate.layers import layer_output
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.models import r3d_tiny
from vidssl.types import VidsslError


@pytest.fixture
def videos(tmp_path: Path) -> VideoIndex:
    """Twelve clips of two actions of six persons."""
    for action in ("bend", "jump"):
        for number, person in enumerate(("ann", "bob", "cat", "dan", "eve", "fay")):
            path = tmp_path / "set" / action / f"{person}_{action}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            make_clip(path, frames=36 + number, gop=12)
    return VideoIndex.build(tmp_path / "set")


def test_one_pass_gives_every_layer() -> None:
    encoder, clips = r3d_tiny().eval(), torch.rand(2, 3, 8, 32, 32)
    with torch.no_grad():
        found = outputs(encoder, clips)
        assert tuple(found) == LAYERS
        for name, output in found.items():
            torch.testing.assert_close(output, layer_output(encoder, clips, name))


def test_statistics_are_those_of_the_clips(videos: VideoIndex) -> None:
    """Of the first norm: the mean over batches of eight videos and of the four that are left."""
    clips = Clips(count=2, length=8, augment=Augment(resize=(36, 36), crop=(32, 32)))
    encoder = r3d_tiny()
    fresh = recalibrated(encoder, videos, clips, 0)
    shown = [clips.read(videos.video(int(row))) for row in np.random.default_rng(0).permutation(12)]
    conv = encoder.stem[0]
    with torch.no_grad():
        means = [conv(torch.cat(part)).mean((0, 2, 3, 4)) for part in (shown[:8], shown[8:])]
    old, new = (one.state_dict()["stem.1.running_mean"] for one in (encoder, fresh))
    torch.testing.assert_close(new, (means[0] + means[1]) / 2, rtol=1e-3, atol=1e-5)
    assert not old.any()  # the original is as it was
    assert not fresh.training


def test_explained_variance() -> None:
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, 10, 3000))
    noise = torch.from_numpy(rng.normal(size=(3000, 4)))
    of = torch.from_numpy(rng.normal(size=(10, 4)))[ids]
    assert explained(noise, ids) == pytest.approx(0, abs=0.01)
    assert explained(of, ids) == pytest.approx(1)
    wanted = float((of - of.mean(0)).square().sum() / (of + noise - (of + noise).mean(0)).square().sum())
    assert explained(of + noise, ids) == pytest.approx(wanted, abs=0.03)


def test_every_way_is_another_question() -> None:
    """The nearest video by distance, of another group; and each way of rescaling gives other answers."""
    x = torch.tensor([[1.0, 0.1], [10.0, 1.0], [1.2, 0.6], [0.9, 0.0], [9.0, 4.8]])
    some = Features(x, ["a", "a", "b", "b", "b"], np.arange(5), ["p", "q", "r", "p", "t"])
    # nearest: 2 (not 3, of the same group), 4, 0, 2, 1
    assert not_normalised(some, some, leave_group_out=True).tolist() == [False, False, False, True, False]
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy((rng.normal(size=(30, 5)) * (1, 2, 5, 1, 1) + (3, 0, 0, 0, 0)).astype(np.float32))
    many = Features(drawn, ["a", "b", "c"] * 10, np.arange(30))
    right = asked(many, many, leave_group_out=True)
    assert set(right) == set(WAYS)
    assert len({tuple(right[way].tolist()) for way in ("R@1", *SCALED)}) == 1 + len(SCALED)


def test_a_line_for_each_set_and_method(videos: VideoIndex, tmp_path: Path) -> None:
    out, keep = tmp_path / "why.jsonl", tmp_path / "keep"
    main(keep=keep, weizmann=videos.root, methods=("vcop",), demo=False, steps=4, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["workload"], line["videos"], line["groups"], line["steps"]) == ("weizmann, vcop", 12, 6, 4)
    names = list(line["numbers"])
    assert names[4:7] == [f"after {step} of 4 steps" for step in (1, 2, 3)]
    assert len(names) == 7 + len(LAYERS) * len(POOLS) - 1
    for ways in line["numbers"].values():
        assert set(ways) == set(WAYS)
        for one in ways.values():
            assert one["trained"] * 12 == pytest.approx(round(one["trained"] * 12))
            assert one["gain"] == pytest.approx(one["trained"] - one["untrained"])
    assert 0 < line["facts"]["trained"]["common mean"] <= 1
    assert set(line["low level"]["frame difference"]) == set(WAYS)
    shown = table([line])
    assert "| no encoder: colour histogram |" in shown
    assert "**weizmann, vcop**" in shown
    assert shown.count("| stages.0, map |") == 1
    saved = {path: path.stat().st_mtime_ns for path in keep.rglob("meta.json")}
    assert len(saved) >= 4
    main(keep=keep, weizmann=videos.root, methods=("vcop",), demo=False, steps=4)
    assert saved == {path: path.stat().st_mtime_ns for path in keep.rglob("meta.json")}  # nothing is trained again
    with pytest.raises(VidsslError, match=r"methods=\['nope'\]"):
        main(keep=keep, methods=("nope",))
