"""The shortcut audit: its statistics by hand, its cues one by one, and whole audits of videos that leak or do not.

It is long because statistics, cues and audits share their videos.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from PIL import Image

from vidssl.cli import main
from vidssl.evaluate.audit import Audit, audit, measure
from vidssl.evaluate.confidence import clustered_half_width, student_t, wilson
from vidssl.evaluate.cues import BINS, KeyFrames, collect, color, difference, luma, restore, with_pairs
from vidssl.evaluate.logistic import choose_penalty, fit_logistic, predict_logits
from vidssl.index.lists import write_list
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.plots.bars import Bar, draw_bars
from vidssl.pretext import Opn, ShuffleLearn, Vcop
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train
from vidssl.types import VidsslError

PICTURE = ("color", "luma", "difference", "picture")


def _video(path: Path, pictures: list[np.ndarray], *, codec: str = "mpeg4", gop: int = 200) -> None:
    """Encode RGB pictures nearly without loss."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            codec, rate=25, options={"qscale": "1", "global_quality": "118", "flags": "+qscale"}
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuvj420p" if codec == "mjpeg" else "yuv420p", gop
        for picture in pictures:
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _index(
    root: Path, make: Callable[[np.random.Generator, int], np.ndarray], *, codec: str, frames: int = 40
) -> VideoIndex:
    """Sixteen videos; make(rng of the video, frame) is a picture."""
    for number in range(16):
        rng = np.random.default_rng(number)
        _video(root / f"{number:02d}.avi", [make(rng, at) for at in range(frames)], codec=codec)
    return VideoIndex.build(root, progress=False)


def _ramp(rng: np.random.Generator, at: int) -> np.ndarray:
    """Grey that rises with time, under noise."""
    return np.clip(40 + 4 * at + rng.integers(-20, 21, (32, 32, 3)), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, at: int) -> np.ndarray:
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return _index(tmp_path_factory.mktemp("ramps"), _ramp, codec="mpeg4")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return _index(tmp_path_factory.mktemp("noise"), _noise, codec="mjpeg")  # every frame is a key frame


SMALL = Augment(resize=(16, 16), crop=(12, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
TASKS = {
    "vcop": Vcop(clip_length=4, interval=3, augment=SMALL),
    "opn": Opn(interval_min=3, interval_max=8, augment=SMALL),
    "shuffle_learn": ShuffleLearn(tau_max=16, tau_min=4, similar=0, augment=SMALL),
}


def _recipe(task: str) -> Recipe:
    return Recipe(
        pretext=TASKS[task], encoder="r3d_tiny", train=TrainConfig(holdout=0.3, seed=3, workers=1, tuples_per_window=2)
    )


def _audit(task: str, index: VideoIndex, **options: Any) -> Audit:
    return audit(_recipe(task), index, progress=False, device="cpu", **options)


def test_wilson_by_hand() -> None:
    z = 1.959964
    assert wilson(0, 10) == pytest.approx((0, z * z / (10 + z * z)))
    assert wilson(10, 10) == pytest.approx((10 / (10 + z * z), 1))
    assert wilson(50, 100) == pytest.approx(
        (0.5 - 0.5 * z / math.sqrt(100 + z * z), 0.5 + 0.5 * z / math.sqrt(100 + z * z))
    )
    # the roots of (p - 0.8)^2 = z^2 p (1 - p) / 10
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_wilson_ends_are_where_the_share_is_just_z_away() -> None:
    for right, count in ((3, 40), (170, 1000)):
        for end in wilson(right, count):
            assert abs(right / count - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count))


def test_videos_that_differ_widen_the_interval() -> None:
    """Of four videos, two always right and two always wrong: four throws of a coin, not four hundred, with Student's t
    for four.
    """
    label, video = torch.zeros(400, dtype=torch.int64), torch.arange(4).repeat_interleave(100)
    logits = torch.nn.functional.one_hot(video // 2, 2).float()
    t = student_t(3)
    # as tabled
    assert [student_t(freedom) for freedom in (3, 9, 12, 30)] == pytest.approx([3.182, 2.262, 2.179, 2.042], abs=0.005)
    assert clustered_half_width((0.5 - video // 2).double() / 400, video) == pytest.approx(
        t * math.sqrt(4 / 3 * 4 * 0.125**2)
    )
    score = measure("x", logits, label, video, np.array([0, 1]))
    assert (score.accuracy, score.effective_size) == (0.5, pytest.approx(3 * 1.959964**2 / t**2))
    assert (score.low, score.high) == pytest.approx(wilson(score.effective_size / 2, score.effective_size))
    assert score.verdict == "solves nothing"
    alone = measure("x", logits, label, torch.arange(400), np.array([0, 1]))
    assert alone.effective_size == pytest.approx(400, rel=0.02)
    assert (
        measure("x", logits, label, 0 * video, np.array([0, 1])).effective_size == 400
    )  # the spread between videos needs two of them


def test_one_answer_to_an_uneven_draw_solves_nothing() -> None:
    """Of 400 tuples 280 have the first label, though the table has both equally often."""
    label = (torch.arange(400) >= 280).long()
    score = measure("x", torch.tensor([[1.0, 0.0]]).expand(400, 2), label, torch.arange(400), np.array([0, 1]))
    assert score.accuracy == 0.7
    assert score.low > 0.6
    assert score.verdict == "solves nothing"


def test_logistic_regression_by_hand() -> None:
    """Of four with x = 1 three are of class 1, of four with x = -1 one is: the log odds are ln 3 and -ln 3."""
    x = torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1], dtype=torch.float64)[:, None]
    label = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1])
    weight = fit_logistic(x, label, 2, 0.0)
    assert (weight[0, 1] - weight[0, 0]).item() == pytest.approx(math.log(3), abs=1e-5)
    assert (weight[1, 1] - weight[1, 0]).item() == pytest.approx(0, abs=1e-5)


def test_penalty_holds_the_weights_but_not_the_bias() -> None:
    """At the least loss the slope of the cross entropy is that of the penalty: (p - share) x = penalty * weight."""
    x = torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1], dtype=torch.float64)[:, None]
    label = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1])
    weight = fit_logistic(x, label, 2, 0.5)
    half = weight[0, 1].item()
    assert 0 < half < math.log(3) / 2
    assert 0.75 - 1 / (1 + math.exp(-2 * half)) == pytest.approx(0.5 * half, abs=1e-6)
    shares = predict_logits(fit_logistic(x, torch.tensor([1, 1, 1, 1, 1, 1, 1, 0]), 2, 1e4), x).softmax(1)
    assert shares[:, 1].tolist() == pytest.approx([7 / 8] * 8, abs=1e-3)


def test_strength_is_chosen_on_other_videos() -> None:
    """One number that tells gets a weak penalty, two hundred that tell nothing a strong one."""
    generator = torch.Generator().manual_seed(1)
    label, video = torch.randint(2, (400,), generator=generator), torch.arange(400) // 20
    noise = torch.randn(400, 200, generator=generator, dtype=torch.float64)
    useful = (2 * label - 1).double()[:, None] + 0.3 * noise[:, :1]
    assert choose_penalty(useful, label, video, 2)[0] <= 0.03
    assert choose_penalty(noise, label, video, 2)[0] >= 1.0
    # A signature of each video and one label for all its tuples: by heart it is known, of other videos nothing is.
    signature, of_video = (
        torch.randn(20, 20, generator=generator, dtype=torch.float64),
        torch.randint(2, (20,), generator=generator),
    )
    assert choose_penalty(signature[video], of_video[video], video, 2)[0] >= 0.3
    assert (
        choose_penalty(signature[video], of_video[video], torch.arange(400), 2)[0] <= 0.01
    )  # as if each tuple were a video


def test_balanced_takes_every_class_for_equally_likely() -> None:
    """Three of four tuples are 0. The logits lean to 0 by just that, so plainly all answers are 0; the lean taken off,
    half are told.
    """
    table, label = np.array([0, 0, 0, 1]), torch.tensor([0] * 300 + [1] * 100)
    video = torch.arange(400)
    lean = torch.tensor([math.log(0.75), math.log(0.25)])
    hint = torch.zeros(400, 2)
    hint[:300, 0], hint[300:350, 1] = 0.5, 0.5
    hint[350:, 0] = 0.5
    score = measure("hint", lean + hint, label, video, table)
    assert (score.accuracy, score.balanced) == (0.75, 0.75)  # balanced: all of class 0, half of class 1
    assert "no better than the most common label, yet separates the classes (75 % balanced)" in score.verdict
    assert measure("none", lean + 0 * hint + torch.tensor([1e-3, 0.0]), label, video, table).verdict == "solves nothing"
    assert measure("right", torch.nn.functional.one_hot(label).float(), label, video, table).verdict.startswith(
        "solves 100 % of the way"
    )


def test_cues_by_hand() -> None:
    shown = torch.zeros(1, 2, 3, 2, 2, 2)  # slot 0 is black
    shown[0, 1] = 1.0  # slot 1 white, and its second frame grey
    shown[0, 1, :, 1] = 0.5
    histogram = color(shown)
    assert histogram.shape == (1, 2, 3 * BINS)
    assert histogram[0, 0].tolist() == ([1.0] + [0.0] * (BINS - 1)) * 3
    assert histogram[0, 1].tolist() == ([0.0] * (BINS // 2) + [0.5] + [0.0] * (BINS // 2 - 2) + [0.5]) * 3
    assert luma(shown)[0].tolist() == [[0, 0], [pytest.approx(1), pytest.approx(0.5)]]
    # within: slot 0, slot 1, their distance; between: the end of 0 to the beginning of 1, the end of 1 to the beginning
    # of 0
    assert difference(shown)[0].tolist() == [0, 0.5, 0.5, 1, 0.5]
    assert difference(shown[:, :, :, :1])[0].tolist() == [1]  # one frame a slot: each pair once
    assert luma(torch.tensor([0.0, 1, 0]).view(1, 1, 3, 1, 1, 1)).item() == pytest.approx(0.587)  # green
    assert with_pairs(torch.tensor([[[1.0, 2], [4, 7], [5, 5]]]))[0].tolist() == [1, 2, 4, 7, 5, 5, 3, 5, 4, 3, 1, 2]


def test_mean_and_std_are_undone(ramps: VideoIndex) -> None:
    plain = replace(TASKS["vcop"], augment=replace(SMALL, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    shown = []
    for task in (TASKS["vcop"], plain):
        with Loader(ramps, task, batch_size=4, device="cpu", seed=1, engine="eager", workers=1) as loader:
            shown.append(restore(next(iter(loader)).clips, task.augment))
    assert torch.allclose(shown[0], shown[1], atol=1e-5)
    assert 0.2 < float(shown[0].mean()) < 0.8


def test_large_pictures_are_thinned() -> None:
    assert restore(torch.zeros(1, 1, 3, 1, 112, 170), Augment()).shape[-2:] == (56, 85)
    assert restore(torch.zeros(1, 1, 3, 1, 100, 56), Augment()).shape[-2:] == (100, 56)


def test_place_between_key_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, gop in (("a", 10), ("b", 200)):
        _video(tmp_path / f"{name}.avi", [(_ramp(rng, at) // 2) for at in range(24)], gop=gop)
    index = VideoIndex.build(tmp_path, progress=False)
    keys = KeyFrames(index)
    assert keys.starts(0).tolist() == [0, 10, 20]
    assert keys.starts(1).tolist() == [0]
    found = keys.offsets(np.array([0, 1]), np.array([[[10, 15], [22, 0]], [[6, 12], [0, 18]]]))
    assert found.tolist() == [[[0, 0.5, 1, 0], [0.5, 0, 0, 1]], [[0.25, 0.5, 0, 0], [0, 0.75, 1, 0]]]
    assert keys.single() == (1, 2)
    write_list(tmp_path / "l.csv", [("a.avi", "13", "24")], ("path", "start_frame", "end_frame"))
    keys = KeyFrames(VideoIndex.build(tmp_path / "l.csv", progress=False))  # the same frames as a segment
    assert keys.starts(0).tolist() == [-13, -3, 7]
    found = keys.offsets(np.array([0]), np.array([[[2, 9]]]))
    assert found.tolist() == [[[0.5, 0.5, 0, 0]]]


@pytest.mark.parametrize(("task", "least"), [("vcop", 0.97), ("shuffle_learn", 0.95), ("opn", 0.7)])
def test_what_gets_brighter_gives_the_order_away(task: str, least: float, ramps: VideoIndex) -> None:
    """Not all of OPN: a class of it is an order or the same backwards, and no linear model can tell everything that is
    one or the other.
    """
    found = _audit(task, ramps, tuples=150)
    for cue in ("luma", "gop"):  # one key frame: the place in the file is the time
        assert found.scores[cue].accuracy > least, cue
        assert found.scores[cue].verdict.startswith("solves")
    assert found.scores["picture"].low > found.chance + 0.2
    assert any("16 of 16 videos have no key frame after the first" in note for note in found.notes)


def test_levelled_luma_gives_nothing_away(ramps: VideoIndex) -> None:
    levelled = replace(TASKS["vcop"], augment=replace(SMALL, level_luma="clip"))
    found = audit(replace(_recipe("vcop"), pretext=levelled), ramps, tuples=150, progress=False)
    for cue in ("luma", "color"):
        assert found.scores[cue].low <= found.chance + 0.05, cue
    assert found.scores["gop"].accuracy > 0.97  # the file still does


@pytest.mark.parametrize("task", TASKS)
def test_noise_gives_nothing_away(task: str, noise: VideoIndex) -> None:
    """Nothing is further from chance than its interval is wide, twice what luck brings. Every frame is a key frame: no
    luck there.
    """
    found = _audit(task, noise, tuples=200)
    far = {name: abs(score.accuracy - found.chance) / (score.high - score.low) for name, score in found.scores.items()}
    assert {name: share for name, share in far.items() if share > 1} == {}
    assert found.scores["gop"].accuracy == pytest.approx(found.chance)
    assert found.scores["gop"].verdict == "solves nothing"


def test_still_pictures_give_nothing_away(tmp_path: Path) -> None:
    found = _audit(
        "vcop", _index(tmp_path, lambda rng, at: np.full((32, 32, 3), 90, np.uint8), codec="mpeg4"), tuples=200
    )
    for name in PICTURE:
        assert found.scores[name].low <= found.chance <= found.scores[name].high, name
    assert found.scores["gop"].low > found.chance  # the file still does


@pytest.mark.parametrize(
    ("task", "tuples", "counts"), [("vcop", 60, [10] * 6), ("vcop", 61, [11] * 6), ("shuffle_learn", 60, [45, 15])]
)
def test_classes_have_their_shares(task: str, tuples: int, counts: list[int], noise: VideoIndex) -> None:
    found = collect(_recipe(task), noise, tuples, seed=1, desc="", progress=False)
    assert np.bincount(found.label.numpy()).tolist() == counts
    assert {len(cue) for cue in found.cues.values()} == {len(found.video)} == {sum(counts)}


def test_a_run_is_measured_on_the_same_tuples(ramps: VideoIndex, tmp_path: Path) -> None:
    task = Vcop(clip_length=8, interval=3, augment=replace(SMALL, resize=(20, 20), crop=(16, 16)))
    config = replace(_recipe("vcop").train, batch_size=4, amp="off", slotwise_bn=False)
    recipe = replace(_recipe("vcop"), pretext=task, train=config)
    run, out = tmp_path / "run", tmp_path / "out"
    train(recipe, ramps, run, steps=1, device="cpu", quiet=True)
    found = audit(recipe, ramps, name="mine", run=run, tuples=60, device="cpu", out=out, progress=False)
    assert found.trained is not None
    assert found.trained.name == "trained, step 1"
    assert 0 <= found.trained.low <= found.trained.accuracy <= found.trained.high <= 1
    about = json.loads((out / "audit.json").read_text())
    assert about["scores"]["luma"]["accuracy"] == found.scores["luma"].accuracy
    assert about["trained"]["accuracy"] == found.trained.accuracy
    assert "mine" in found.text()
    assert "trained, step 1" in found.text()
    with Image.open(out / "audit.png") as picture:
        assert min(picture.size) > 400
    for other, named in (
        (replace(recipe, pretext=TASKS["opn"]), "method: 'vcop' in the run, 'opn' here"),
        (replace(recipe, pretext=replace(task, interval=2)), "pretext.interval: 3 in the run, 2 here"),
        (
            replace(recipe, pretext=replace(task, augment=replace(task.augment, flip=0.5))),
            "pretext.augment.flip: 0.0 in the run, 0.5 here",
        ),
        (
            replace(recipe, pretext=replace(task, augment=replace(task.augment, level_luma="clip"))),
            "pretext.augment.level_luma: None in the run, 'clip' here",
        ),
        (replace(recipe, train=replace(config, seed=4)), "train.seed: 3 in the run, 4 here"),
    ):
        with pytest.raises(VidsslError, match=named):
            audit(other, ramps, run=run, tuples=60, progress=False)
    heads = replace(recipe, pretext=replace(task, dropout=0.0))  # shows the same
    again = audit(heads, ramps, run=run, tuples=60, device="cpu", progress=False)
    assert (again.trained, again.scores) == (found.trained, found.scores)
    fewer = VideoIndex(ramps.table.slice(0, 12), ramps.root)
    with pytest.raises(VidsslError, match="trained on other videos"):
        audit(recipe, fewer, run=run, tuples=60, progress=False)


def test_bad_input_is_named(ramps: VideoIndex, tmp_path: Path) -> None:
    recipe = _recipe("vcop")
    with pytest.raises(VidsslError, match="tuples=3: take at least 50"):
        audit(recipe, ramps, tuples=3)
    with pytest.raises(VidsslError, match=r"holdout=0\.0.*such as 0\.2"):
        audit(replace(recipe, train=replace(recipe.train, holdout=0)), ramps)
    with pytest.raises(VidsslError, match="no such folder"):
        audit(recipe, ramps, run=tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(VidsslError, match="name a folder that can be written"):
        audit(recipe, ramps, out=tmp_path / "file")
    picky = replace(recipe, pretext=replace(cast(Any, TASKS["shuffle_learn"]), similar=60000.0, tries=1))
    with pytest.raises(VidsslError, match="met the task's limits"):
        audit(picky, ramps, tuples=50, progress=False, out=tmp_path / "new" / "audit")
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(VidsslError, match="met the task's limits"):
        audit(picky, ramps, tuples=50, progress=False, out=tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()


def test_the_chart_shows_value_and_chance(tmp_path: Path) -> None:
    """Along the middle of the only bar: its colour up to the value, then paper; a red line where chance is."""
    draw_bars([Bar("x", 0.5, 0.5, 0.5, "v", "picture")], 0.75, "t", [], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    left, width = 2 * (28 + 210), 2 * 520
    blue = np.abs(pixels - (0x3B, 0x6E, 0xA8)).sum(axis=2) < 10
    red = np.abs(pixels - (0xB3, 0x26, 0x1E)).sum(axis=2) < 10
    row = 2 * (142 + 23) - 16  # above the whisker
    columns = np.flatnonzero(blue[row])
    assert columns.min() == pytest.approx(left, abs=2)
    assert columns.max() == pytest.approx(left + width / 2, abs=2)
    assert red[2 * 142 : 2 * 180, int(left + 0.75 * width)].any()


def test_command(ramps: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, out = tmp_path / "index.arrow", tmp_path / "out"
    ramps.save(saved)
    small = [
        "--resize",
        "16",
        "16",
        "--crop",
        "12",
        "12",
        "--clip-length",
        "4",
        "--interval",
        "3",
        "--workers",
        "1",
        "--holdout",
        "0.3",
    ]
    assert main(["audit", "vcop_r3d_tiny", "--data", str(saved), "--tuples", "60", "--out", str(out), *small]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("vcop_r3d_tiny", "mean luma", "chance", "audit.png"))
    assert json.loads((out / "audit.json").read_text())["settings"]["pretext"]["interval"] == 3
    assert main(["audit", "vcop_r3d_tiny", "--data", str(saved), "--run", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    missing = ["--data", str(tmp_path / "none"), "--out", str(tmp_path / "left" / "audit")]
    assert main(["audit", "vcop_r3d_tiny", *missing]) == 2
    assert not (tmp_path / "left").exists()
