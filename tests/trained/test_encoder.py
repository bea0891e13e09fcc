"""`load`: the features of paths, frames and an index are those of the evaluation."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import vidssl
from tests.clips import make_frames
from vidssl.evaluate.features import extract
from vidssl.evaluate.run import View, load_run, trained_encoder
from vidssl.index.table import VideoIndex
from vidssl.pretext import OddOneOut
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError
from vidssl.video.decode import decode


def test_features_are_those_of_the_evaluation(run: Path, index: VideoIndex, recipe: Recipe) -> None:
    trained = vidssl.load(run)
    encoder, _ = trained_encoder(checkpoint.find(run))
    rows = index.usable(trained.frames)
    (expected,) = extract([encoder], index, View(clips=4).of(recipe), progress=False)
    paths = [index.video(int(row)).path for row in rows]
    found = trained.features(paths, clips=4, device="cpu")
    assert torch.equal(found, expected.feature)
    assert torch.equal(trained.features(str(paths[3]), clips=4, device="cpu"), expected.feature[3])
    again = trained.features([paths[5], paths[0], paths[5]], clips=4, device="cpu")
    assert torch.equal(again, expected.feature[[5, 0, 5]])
    of_index = trained.extract(index, clips=4, device="cpu", progress=False)
    assert torch.equal(of_index.feature, expected.feature)
    assert of_index.label == expected.label
    assert not trained.encoder.training


def test_what_an_encoder_says_of_its_input(run: Path, recipe: Recipe) -> None:
    trained, augment = vidssl.load(run), recipe.pretext.augment
    assert (trained.frames, trained.stride, trained.size, trained.resize) == (8, 1, augment.crop, augment.resize)
    assert (trained.mean, trained.std, trained.step) == (augment.mean, augment.std, 2)


def test_frames_in_memory_give_the_features_of_their_file(run: Path, index: VideoIndex) -> None:
    trained, path = vidssl.load(run), index.video(0).path
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    clips = trained.preprocess(frames, clips=3)
    assert clips.shape == (3, 3, 8, 16, 16)
    of_file = trained.preprocess(path, clips=3)
    assert torch.equal(trained.preprocess(decode(index.video(0), np.arange(36)), clips=3), of_file)
    assert (clips - of_file).abs().mean() * 255 < 4  # FFmpeg's conversion to RGB rounds, and repeats chroma
    with torch.no_grad():
        expected = trained.encoder(clips).mean(0)
    assert torch.equal(trained.features(frames, clips=3, device="cpu"), expected)
    assert torch.equal(trained.features(torch.from_numpy(frames), clips=3, device="cpu"), expected)


def test_a_folder_of_frames_is_a_path(run: Path, tmp_path: Path) -> None:
    trained, folder = vidssl.load(run), make_frames(tmp_path / "v.1", frames=20)
    (tmp_path / "empty").mkdir()
    one = trained.features(folder, clips=3, device="cpu")
    assert torch.equal(one, trained.features([str(folder)], clips=3, device="cpu")[0])
    index = VideoIndex.build(tmp_path, progress=False)
    assert torch.equal(one, trained.extract(index, clips=3, device="cpu", progress=False).feature[0])
    with pytest.raises(VidsslError, match="a folder without frames; `vidssl features` takes a folder of videos"):
        trained.features(tmp_path / "empty", device="cpu")


def test_an_encoder_of_differences_gets_differences(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    pretext = OddOneOut(augment=recipe.pretext.augment, length=4, stride=2, encoding="stack_of_differences")
    train(
        replace(recipe, pretext=pretext, encoder="resnet_tiny"),
        index,
        tmp_path / "run",
        steps=1,
        device="cpu",
        quiet=True,
    )
    trained = vidssl.load(tmp_path / "run")
    clips = trained.preprocess(index.video(0).path, clips=2)
    assert clips.shape == (2, 9, 1, 16, 16)
    assert trained.features([index.video(0).path], device="cpu").shape == (1, trained.encoder.features)


@pytest.mark.parametrize("name", ["a b.avi", 'comma,quote".avi', "umlaut ä.avi", "# 1.avi", "line\nbreak.avi"])
def test_any_name(name: str, run: Path, index: VideoIndex, tmp_path: Path) -> None:
    source = index.video(2).path
    shutil.copy(source, tmp_path / name)
    trained = vidssl.load(run)
    expected = trained.features(source, clips=2, device="cpu")
    assert torch.equal(trained.features(tmp_path / name, clips=2, device="cpu"), expected)
    link = tmp_path / "link.avi"
    link.symlink_to(tmp_path / name)
    os.chdir(tmp_path)
    assert torch.equal(trained.features("link.avi", clips=2, device="cpu"), expected)


def test_wrong_sources(run: Path, index: VideoIndex, tmp_path: Path) -> None:
    trained, short = vidssl.load(run), index.root / "a" / "short.avi"
    (tmp_path / "broken.avi").write_bytes(b"no video")
    trained.features(short, device="cpu")  # one clip is as long as the video
    for source, problem in (
        (tmp_path, "a folder without frames; `vidssl features` takes a folder of videos"),
        (tmp_path / "none.avi", "no such file"),
        (tmp_path / "broken.avi", "it cannot be used: "),
        ([short, tmp_path / "broken.avi"], "it cannot be used: "),
        ([], "pass at least one path"),
        (np.zeros((3, 20, 20, 3), np.uint8), "source has 3 frames: a clip spans 8"),
        (np.zeros((9, 20, 20, 4), np.uint8), "source has shape"),
        (3, "source is a int"),
    ):
        with pytest.raises(VidsslError, match=r"^source") as raised:
            trained.features(source, device="cpu")
        assert problem in str(raised.value)


def test_checkpoints_and_what_is_none(run: Path, tmp_path: Path) -> None:
    assert vidssl.load(checkpoint.find(run)).step == 2
    with pytest.raises(VidsslError, match="no checkpoint in it"):
        vidssl.load(tmp_path)
    with pytest.raises(VidsslError, match="does not say which encoder"):
        vidssl.load(checkpoint.find(run) / "head.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"not this")
    with pytest.raises(VidsslError, match="cannot be read"):
        vidssl.load(tmp_path / "a.safetensors")
    assert load_run(run).step == 2


def test_frames_of_several_videos(run: Path, index: VideoIndex) -> None:
    trained = vidssl.load(run)
    frames = [np.random.default_rng(seed).integers(0, 256, (20, 24, 32, 3), np.uint8) for seed in range(2)]
    found = trained.features(frames, clips=2, device="cpu")
    assert torch.equal(found, torch.stack([trained.features(one, clips=2, device="cpu") for one in frames]))
    for mixed in ([frames[0], index.video(0).path], [index.video(0).path, frames[0]], [1.5], [None, None]):
        with pytest.raises(VidsslError, match=r"^source\[\d\] is a \w+: pass paths"):
            trained.features(mixed, clips=2, device="cpu")


def test_what_is_no_frame_or_number_of_clips_is_answered_by_the_fix(run: Path, tmp_path: Path) -> None:
    trained, frames = vidssl.load(run), np.zeros((20, 24, 32, 3), np.uint8)
    for kind in ("float64", "float32", "int64"):
        with pytest.raises(VidsslError, match=rf"^source is {kind}: frames are uint8.*255 \* x"):
            trained.features(frames.astype(kind), device="cpu")
    with pytest.raises(VidsslError, match=r"^source is float32: frames are uint8"):
        trained.preprocess(torch.zeros(20, 24, 32, 3))
    for clips in (float("nan"), 0, -1, 2.5, 10**12, "3", None):
        with pytest.raises(VidsslError, match=r"clips=.*: take a whole number(?: from 1 to 10000)?$"):
            trained.preprocess(frames, clips=clips)
    (tmp_path / "list.csv").touch()
    with pytest.raises(VidsslError, match=r"list.csv': it is a file, and no run; name the folder"):
        vidssl.load(tmp_path / "list.csv")
