"""Near-duplicates among made clips: copies of every kind are found, different scenes are not."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from vidssl.datasets import Dataset, Entry, plain, with_duplicates
from vidssl.datasets import duplicates as module
from vidssl.datasets.duplicates import SIDE, alike, find_duplicates
from vidssl.types import VidsslError

pytest.importorskip("imagehash")
Video = npt.NDArray[np.uint8]


def scene(seed: int, frames: int = 40, size: tuple[int, int] = (96, 128)) -> Video:
    """A background of smooth waves, over which a bright block moves: [frames, height, width]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / size[1]
    ground = sum(
        rng.normal() / (1 + abs(row) + col) * np.cos(2 * np.pi * (row * y + col * x) + rng.uniform(0, 6))
        for row in range(-12, 13)
        for col in range(13)
    )
    picture = 128 + 40 * (ground - np.mean(ground)) / np.std(ground)
    start, speed = rng.uniform(0.1, 0.5, 2), rng.uniform(-0.004, 0.004, 2)
    shown = []
    for number in range(frames):
        at = start + number * speed
        block = (np.abs(y - at[0]) < 0.12) & (np.abs(x - at[1]) < 0.08)
        shown.append(np.where(block, 235, picture).clip(16, 235))
    return np.stack(shown).astype(np.uint8)


def write(path: Path, video: Video, *, size: tuple[int, int] | None = None, crf: int = 18) -> Path:
    """An H.264 file of grey frames, resized to (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, cols = size or video.shape[1:]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": f"{crf}", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = cols, rows, "yuv420p"
        for picture in video:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
            container.mux(stream.encode(frame.reformat(width=cols, height=rows, format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def test_every_copy_is_found_and_no_other_pair(tmp_path: Path) -> None:
    original = scene(0)
    first = write(tmp_path / "a/a.mp4", original)
    copies = {
        write(tmp_path / "a/coarse.mp4", original, crf=38): False,
        write(tmp_path / "a/small.mp4", original, size=(60, 80)): False,
        write(tmp_path / "a/trimmed.mp4", original[10:30]): False,
        write(tmp_path / "a/reversed.mp4", original[::-1]): False,  # the order does not count
        write(tmp_path / "a/mirrored.mp4", original[:, :, ::-1]): True,
    }
    others = [write(tmp_path / f"b/{seed}.mp4", scene(seed)) for seed in range(1, 13)]
    pairs, skipped = find_duplicates([first, *copies, *others], workers=1, progress=False)
    assert not skipped
    found = {pair.second: pair.mirrored for pair in pairs if pair.first == first}
    assert found == copies
    family = {first, *copies}
    assert all({pair.first, pair.second} <= family for pair in pairs)
    assert len(pairs) == len(family) * (len(family) - 1) // 2  # each is a copy of each
    assert [pair.alike for pair in pairs] == sorted((pair.alike for pair in pairs), reverse=True)


def test_blocks_do_not_change_the_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [
        write(tmp_path / f"{seed}{kind}.mp4", scene(seed, 20), crf=crf)
        for seed in range(3)
        for kind, crf in (("a", 12), ("b", 28))
    ]
    whole = find_duplicates(paths, workers=1, progress=False)
    monkeypatch.setattr(module, "_BLOCK", 2)
    assert find_duplicates(paths, workers=1, progress=False) == whole
    assert {(pair.first, pair.second) for pair in whole[0]} == set(zip(paths[::2], paths[1::2], strict=True))


def test_frames_without_contrast_are_not_compared(tmp_path: Path) -> None:
    """Two black videos are no duplicates, and a scene with black frames is found by the others."""
    black = np.full((12, 96, 128), 16, np.uint8)
    dark = [write(tmp_path / f"dark{one}.mp4", black) for one in range(2)]
    first = write(tmp_path / "scene.mp4", scene(0, 12))
    faded = write(tmp_path / "faded.mp4", np.concatenate([black, scene(0, 12)]))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    pairs, skipped = find_duplicates([*dark, first, faded, broken], workers=1, progress=False)
    assert [(pair.first, pair.second, pair.alike) for pair in pairs] == [(faded, first, 1.0)]
    assert skipped == [*dark, broken]


def test_alike_counts_frames_of_the_shorter_video() -> None:
    """By hand: 4 frames, of which 3 are in the other video, which has 2 more; one frame is not compared."""
    rng = np.random.default_rng(0)
    bits = rng.choice([-1, 1], (6, SIDE * SIDE)).astype(np.float32)
    first = np.stack([bits[0], bits[1], bits[2], bits[5], 0 * bits[0]])[None]
    second = np.stack([bits[2], bits[1], bits[0], bits[3], bits[4]])[None]
    second[0, 0, :30] *= -1  # differs in 30 bits
    assert alike(first, second)[0, 0] == pytest.approx(3 / 4)
    assert alike(second, first)[0, 0] == pytest.approx(3 / 4)
    assert alike(0 * first, second)[0, 0] == 0


def _dataset(tmp_path: Path, **parts: list[tuple[str, str | None]]) -> Dataset:
    entries = {
        part: [Entry(name, tmp_path / name, "a", group) for name, group in names] for part, names in parts.items()
    }
    return Dataset(name="made", parts=entries)


def test_a_pair_on_both_sides_is_a_problem(tmp_path: Path) -> None:
    for name, crf in (("one.mp4", 18), ("two.mp4", 30)):
        write(tmp_path / name, scene(0, 16), crf=crf)
    split = _dataset(tmp_path, train_1=[("one.mp4", None)], test_1=[("two.mp4", None)], train_2=[("two.mp4", None)])
    found = with_duplicates(split, workers=1, progress=False)
    assert found.problems == [
        "one.mp4 (train_1) and two.mp4 (test_1) are near-duplicates: 100% of the frames are alike; "
        "keep one, or put both on one side (a common group)"
    ]
    assert not found.whole
    for harmless in (
        _dataset(tmp_path, train_1=[("one.mp4", None), ("two.mp4", None)]),
        _dataset(tmp_path, train_1=[("one.mp4", None)], test_2=[("two.mp4", None)]),
        _dataset(tmp_path, all=[("one.mp4", "x"), ("two.mp4", "x")]),
    ):
        found = with_duplicates(harmless, workers=1, progress=False)
        assert found.whole
        assert "are near-duplicates: 100% of the frames are alike" in found.notes[0]
        assert found.notes[-1] == "near-duplicates: 1 pairs among 2 videos"
    for group in (None, "y"):  # not split yet, and nothing keeps them together
        assert not with_duplicates(
            _dataset(tmp_path, all=[("one.mp4", group), ("two.mp4", "x")]), workers=1, progress=False
        ).whole
    with pytest.raises(VidsslError, match="none of the videos of made exist"):
        with_duplicates(Dataset(name="made", parts={"all": [Entry("a", None, "a", None)]}), progress=False)


def test_the_command_ends_as_other_checks_do(tmp_path: Path) -> None:
    write(tmp_path / "a/one.mp4", scene(0, 16))
    write(tmp_path / "b/two.mp4", scene(0, 16), size=(72, 96))
    command = [sys.executable, "-m", "vidssl", "datasets", "check", "folder", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    done = subprocess.run([*command, "--duplicates"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "problem: a/one.mp4 (all) and b/two.mp4 (all) are near-duplicates: 100% of the frames are alike" in done.stdout
    )
    assert "0 missing, 1 problems" in done.stderr


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a/one.mp4", scene(0, 8))
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(VidsslError, match=r"ImageHash is missing; pip install 'vidssl\[duplicates\]'"):
        with_duplicates(plain(path.parents[1]), progress=False)
