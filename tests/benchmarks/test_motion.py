"""What is drawn by motion moves: our score ranks steps as optical flow does, and weighted plans show the frames that
score high.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench_motion, report
from benchmarks.bench_motion import BASES, Tally, draw, farneback, key_ratio, motion_score, spearman, upper_half
from tests.clips import make_clip
from vidssl import ops
from vidssl.types import Frames, VidsslError, as_frames

SIZE = (96, 128)
SPEED = np.random.default_rng(3).permutation(np.repeat(np.arange(7), 9))  # pixels from each frame to the next
WITHOUT = "motion is compared with OpenCV: pip install opencv-python-headless"


def texture() -> np.ndarray[Any, Any]:
    """uint8 [H, W + way]: noise smoothed over 16 pixels, so that a step of up to 6 pixels changes it the more, the
    longer it is.
    """
    height, width = SIZE
    found = np.random.default_rng(5).normal(size=(height + 15, width + int(SPEED.sum()) + 15))
    for axis in (0, 1):
        found = np.lib.stride_tricks.sliding_window_view(found, 16, axis=axis).mean(axis=-1)
    return np.clip(128 + 50 * found / found.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def moving() -> Frames:
    """A texture that moves to the left at SPEED, as planar YUV 4:2:0 without colour."""
    ground, place = texture(), np.concatenate([[0], np.cumsum(SPEED)])
    data = np.full((len(place), SIZE[0] * 3 // 2, SIZE[1]), 128, np.uint8)
    for shown, at in zip(data, place, strict=True):
        shown[: SIZE[0]] = ground[:, at : at + SIZE[1]]
    return as_frames(data, "moving")


def tally(weight: bench_motion.Weight, frames: Frames, upper: np.ndarray[Any, Any], plans: int = 1000) -> Tally:
    return Tally.of(draw(weight, len(frames.data), SIZE, ops.motion(frames).sad, range(plans)), upper)


def test_ranks_share_the_mean_of_their_places() -> None:
    assert bench_motion.ranks([30, 10, 20, 20, 40]).tolist() == [4.0, 1.0, 2.5, 2.5, 5.0]


def test_spearman_by_hand() -> None:
    # Without ties 1 - 6 * sum of d^2 / (n * (n^2 - 1)): the ranks differ by 0, 1, 1, 1, 1.
    assert spearman([10, 20, 30, 40, 50], [1, 3, 2, 5, 4]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: products of what they differ from 2.5 by add to 4.5, squares to 4.5 and 5.
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert spearman([1, 2, 3], [1, 10, 1000]) == pytest.approx(1)  # only the order counts
    assert spearman([1, 2, 3], [0, -1, -7]) == pytest.approx(-1)


@pytest.mark.parametrize("other", [[2, 2, 2], [1, 2]])
def test_what_has_no_order_is_refused(other: list[int]) -> None:
    with pytest.raises(VidsslError, match="take two of one length that vary"):
        spearman([1, 2, 3], other)


def test_our_score_ranks_as_optical_flow_does(moving: Frames) -> None:
    pytest.importorskip("cv2", reason=WITHOUT)
    score, flow = motion_score(moving), farneback(moving.data[:, : SIZE[0]])
    assert spearman(flow, SPEED) > 0.95  # the reference sees what was made
    assert spearman(score, SPEED) > 0.95
    assert spearman(score, flow) > 0.95
    assert abs(spearman(np.roll(score, 1), flow)) < 0.5  # a frame's score against its neighbour's


def test_flow_is_in_pixels_of_the_smaller_picture(moving: Frames) -> None:
    cv2 = pytest.importorskip("cv2", reason=WITHOUT)
    steady = np.stack([moving.data[0, : SIZE[0], 2 * at : 2 * at + 96] for at in range(3)])  # 2 pixels a frame
    assert farneback(steady) == pytest.approx([2, 2], rel=0.15)
    # 5 pixels, seen at half the size
    wide = np.stack([cv2.resize(shown, (240, 240), interpolation=cv2.INTER_LINEAR) for shown in steady])
    assert farneback(wide) == pytest.approx([2.5, 2.5], rel=0.15)


def test_upper_half_is_what_moves_most() -> None:
    assert upper_half(np.array([1, 9, 3, 8])).tolist() == [False, False, True, False, True]  # 5 frames: 2 of them
    assert upper_half(np.array([9, 1, 3])).tolist() == [True, True, False, False]  # frame 0 has frame 1's score
    assert upper_half(np.zeros(3)).sum() == 2


def test_weighted_draws_move_more_than_even_ones(moving: Frames) -> None:
    upper = upper_half(motion_score(moving))
    weighted, even = tally("motion", moving, upper), tally("uniform", moving, upper)
    assert weighted.z > 4
    assert abs(even.z) < 4
    assert weighted.share > even.share + 0.1
    # draws without replacement cannot pass the weights
    assert weighted.share < bench_motion.held(motion_score(moving), upper) + 0.02


def test_weighted_draws_move_more_by_optical_flow(moving: Frames) -> None:
    pytest.importorskip("cv2", reason=WITHOUT)
    upper = upper_half(farneback(moving.data[:, : SIZE[0]]))
    assert tally("motion", moving, upper).z > 4
    assert abs(tally("uniform", moving, upper).z) < 4


def test_where_nothing_moves_weights_change_nothing(moving: Frames) -> None:
    still = as_frames(np.repeat(moving.data[:1], len(moving.data), axis=0), "still")
    drawn = draw("motion", len(still.data), SIZE, ops.motion(still).sad, range(1000))
    assert abs(Tally.of(drawn, upper_half(motion_score(moving))).z) < 4
    assert all(len(set(shown)) == BASES for shown in drawn.tolist())


def test_z_of_even_draws_has_a_spread_of_one() -> None:
    # Of 10 frames 5 are drawn: as if with replacement, the spread would be too large by 9 / 5, and z's would be 0.75.
    upper = np.arange(10) < 5
    found = [Tally.of(draw("uniform", 10, SIZE, None, range(50 * at, 50 * at + 50)), upper).z for at in range(200)]
    assert np.std(found) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(found)) < 4 / np.sqrt(len(found))


def test_pooling_adds_what_is_independent() -> None:
    one = Tally(draws=100, hits=60, mean=50.0, variance=25.0)
    four = Tally.pooled([one] * 4)
    assert (one.z, four.z, four.share) == (2.0, 4.0, 0.6)


def test_key_frames_against_the_others() -> None:
    # scores of frames 1..5
    assert key_ratio(np.array([1, 6, 1, 2, 4]), np.array([2, 5])) == pytest.approx(5 / (4 / 3), abs=0.005)
    assert key_ratio(np.array([1, 6]), np.array([], np.int64)) is None


def test_a_run_writes_what_the_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2", reason=WITHOUT)
    folder = tmp_path / "clips"
    (folder / "below").mkdir(parents=True)
    make_clip(folder / "a.avi", "mpeg4", frames=40, size=(48, 64))
    make_clip(folder / "b.avi", "mpeg4", frames=180, size=(64, 48))
    make_clip(folder / "short.avi", "mpeg4", frames=9, size=(48, 64))
    make_clip(folder / "below" / "c.avi", "mpeg4", frames=30, size=(48, 64))
    bench_motion.main(data=(folder,), out=tmp_path, plans=20, repeats=1, sizes=("48x64", "8x8"))
    assert "short.avi: left out: 9 frames, but 20 are needed" in capsys.readouterr().out
    (path,) = tmp_path.glob("motion_sizes_*.jsonl")
    first, second, both = lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [line["workload"] for line in lines] == ["a.avi", "b.avi", "all 2 clips"]
    assert first["facts"]["frames"] == "40 of 40, 64x48 mpeg4"
    assert second["facts"]["frames"] == "150 of 180, 48x64 mpeg4"
    assert both["facts"]["frames"] == "190"
    assert first["facts"]["at 48x64"]["spearman"] == first["facts"]["spearman"]  # of its own size
    half = [line["facts"]["upper half by Farneback"]["motion"] for line in lines]
    assert first["facts"]["at 48x64"]["upper half by Farneback"] == half[0]
    drops = [line["facts"]["spearman"] - line["facts"]["at 8x8"]["spearman"] for line in (first, second)]
    assert both["facts"]["at 8x8"]["largest fall of spearman"] == pytest.approx(max(drops), abs=2e-4)
    for ranking in ("our motion", "Farneback"):
        halves = [line["facts"][f"upper half by {ranking}"] for line in lines]
        assert halves[2]["motion"] == pytest.approx((halves[0]["motion"] + halves[1]["motion"]) / 2, abs=1e-4)
    table = report.section("motion_sizes", lines).splitlines()[4:]
    assert [row.split(" | ")[0] for row in table] == ["| as decoded", "| 48x64", "| 8x8"]
    assert f" {sum(drop > 0.05 for drop in drops)} of 2 clips | {max(drops):.2f} |" in table[2]
    lines = [line | {"bench": "motion"} for line in lines]
    head, _, *rows = report.section("motion", lines).splitlines()[2:]
    assert {row.count("|") for row in rows} == {head.count("|")}
    assert [row.split(" | ")[0] for row in rows] == ["| a.avi", "| b.avi", "| all 2 clips"]


def test_clips_that_cannot_be_measured_are_named(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"--data nowhere: no such"):
        bench_motion.main(data=(Path("nowhere"),))
    with pytest.raises(VidsslError, match="no video in it"):
        bench_motion.main(data=(tmp_path,))
    with pytest.raises(VidsslError, match="--sizes native"):
        bench_motion.main(data=(tmp_path,), sizes=("native",))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.avi").touch()
    with pytest.raises(VidsslError, match=r"two clips are called same\.avi"):
        bench_motion.main(data=(tmp_path / "a", tmp_path / "b"))
