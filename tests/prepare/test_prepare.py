"""prepare: the same frames at the same times, in files that decode quickly; nothing half done, nothing done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import make_clip, make_packed_avi
from tests.test_lock import holder
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.lock import LOCK
from vidssl.prepare import Encoding, PrepareResult, prepare
from vidssl.prepare import make as module
from vidssl.prepare.encode import encode
from vidssl.prepare.journal import JOURNAL
from vidssl.prepare.run import INDEX, LIST, new_names
from vidssl.pretext import Vcop
from vidssl.video.decode import decode

TASK = Vcop(clip_length=4, interval=2)  # 16 frames
CLIPS: dict[str, Any] = {
    "run/b.mp4": ("libx264", {"bframes": 3, "gop": 30}),
    "run/turned.mov": ("libx264", {"rotation": 90}),
    "walk/odd.mkv": ("libx264", {"size": (49, 67), "form": "yuv444p"}),
    "walk/full.avi": ("mjpeg", {"form": "yuvj420p"}),
    "walk/vfr.mp4": ("libx264", {"times": [40 * i + (i > 9) * 500 + (i > 20) * 7 for i in range(40)]}),
}


def build(root: Path) -> VideoIndex:
    return VideoIndex.build(root, workers=2, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name, (codec, options) in CLIPS.items():
        (root / name).parent.mkdir(exist_ok=True)
        make_clip(root / name, codec, frames=40, **options)
    make_packed_avi(root / "run" / "packed.avi")
    (root / "broken.mp4").write_bytes(b"no video")
    (root / "train.txt").write_text("run/b.mp4 1\nwalk/odd.mkv 2\n")
    (root / "names.csv").write_text("name,class\nfull.avi,walk\npacked.avi,run\n")
    (root / "notes.txt").write_text("nothing of it is a video\n")
    return root


def made(folder: Path, out: Path, **options: Any) -> PrepareResult:
    return prepare(build(folder), out, Encoding(crf=4, **options), TASK, workers=2, progress=False)


def test_the_same_frames_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    report = made(folder, tmp_path / "out", multiple=2)  # unscaled
    before, after = build(folder), VideoIndex.load(tmp_path / "out" / INDEX)
    assert (report.made, report.kept, [path for path, _ in report.skipped]) == (6, 0, ["broken.mp4"])
    names = new_names(before, tmp_path / "out")
    place = {path: row for row, path in enumerate(after.column("path").to_pylist())}
    for row in before.usable().tolist():
        old, new = before.video(row), after.video(place[names[row]])
        assert new.frames == old.frames
        assert new.size == tuple(side + side % 2 for side in old.size)
        assert (new.space.to_rgb == old.space.to_rgb).all()
        numbers = np.arange(old.frames)
        height, width = old.size
        shown, source = (decode(video, numbers).data[:, :height, :width].astype(np.float32) for video in (new, old))
        distance = np.abs(shown[:, None, ::4, ::4] - source[None, :, ::4, ::4]).mean(axis=(2, 3))
        assert (distance.argmin(axis=1) == numbers).all()
        assert distance[numbers, numbers].max() < 4
        with av.open(str(new.path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            assert [packet.pts for packet in packets] == [packet.dts for packet in packets]  # no B-frames
            keys = [at for at, packet in enumerate(packets) if packet.is_keyframe]
            assert max(np.diff([*keys, len(packets)])) <= 16
    assert report.speedup
    assert all(ratio > 0 for ratio in report.speedup)


def test_times_labels_and_lists_are_carried_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = made(folder, out)
    with av.open(str(out / "walk" / "vfr.mp4")) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        times = [frame.pts * base for frame in container.decode(video=0) if frame.pts is not None]
    expected = [Fraction(40 * i + (i > 9) * 500 + (i > 20) * 7, 1000) for i in range(40)]
    assert max(abs(a - b) for a, b in zip(times, expected, strict=True)) < Fraction(1, 500)
    index = VideoIndex.load(out / INDEX)
    assert dict(zip(index.column("path").to_pylist(), index.column("label").to_pylist(), strict=True)) == {
        f"{name.partition('.')[0]}.mp4": name.partition("/")[0] for name in [*CLIPS, "run/packed.avi"]
    }
    assert sorted(report.lists) == ["names.csv", "train.txt"]
    assert (out / "train.txt").read_text() == "run/b.mp4 1\nwalk/odd.mp4 2\n"
    assert (out / "names.csv").read_text() == "name,class\nfull.mp4,walk\npacked.mp4,run\n"
    assert not (out / "notes.txt").exists()
    assert (out / LIST).read_text().startswith("path,label,group")


def test_a_folder_that_another_process_writes_to_is_refused(folder: Path, tmp_path: Path) -> None:
    """It would lose its half-written files."""
    out = tmp_path / "out"
    process = holder(out / LOCK)
    for name in (JOURNAL, ".half.mp4.partial"):
        (out / name).touch()
    with pytest.raises(VidsslError, match=f"prepare: out=.*: process {process.pid} on "):
        prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False)
    assert (out / ".half.mp4.partial").exists()
    process.kill()
    process.communicate()
    assert prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False).made


# The second video takes long, inside a call that nothing ends.
SLOW = """
import os, signal, sys, time
from vidssl.cli import main
from vidssl.prepare import make
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
real, count = make.encode, []
def slow(*arguments):
    count.append(1)
    if len(count) == 2:
        os.write(1, b"slow\\n")
        time.sleep(60)
    return real(*arguments)
make.encode = slow
sys.exit(main())
"""


def test_ctrl_c_ends_it_within_two_seconds(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "prepare", str(folder), str(out), "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "slow\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - began < 4  # 2 on a machine that does nothing else
    assert process.returncode == 130
    assert error.splitlines()[-1] == "stopped: 1 of 6 videos are made; the same command continues"
    assert prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False).kept == 1


def test_what_is_done_stays_done(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, real = tmp_path / "out", encode
    seen: list[Any] = []

    def stops(video: Any, row: Any, target: Path, how: Encoding) -> None:
        if len(seen) == 3:
            target.write_bytes(b"half")
            raise KeyboardInterrupt
        seen.append(target)
        real(video, row, target, how)

    monkeypatch.setattr(module, "encode", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False)
    assert len(list(out.rglob("*.mp4"))) == 3
    with (out / JOURNAL).open("a") as file:
        file.write('{"path": "run/b')  # cut off
    monkeypatch.setattr(module, "encode", real)
    report = prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False)
    assert (report.made, report.kept) == (3, 3)
    next(out.rglob("odd.mp4")).write_bytes(b"damaged since")
    with pytest.raises(
        VidsslError, match=r"walk/odd\.mp4 in it would be replaced, .* it has changed since; move it elsewhere, and"
    ):
        prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False)
    next(out.rglob("odd.mp4")).unlink()
    assert prepare(build(folder), out, Encoding(), TASK, workers=1, progress=False).made == 1
    assert not list(out.rglob("*.partial"))


def test_a_file_that_fails_is_named_and_left_out(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encode

    def fails(video: Any, row: Any, target: Path, how: Encoding) -> None:
        if video.path.name == "vfr.mp4":
            target.write_bytes(b"half")
            raise VidsslError("it fails")
        real(video, row, target, how)

    monkeypatch.setattr(module, "encode", fails)
    report = made(folder, tmp_path / "out")
    assert dict(report.skipped)["walk/vfr.mp4"] == "it fails"
    assert report.made == 5
    assert "walk/vfr.mp4: it fails" in report.text()
    lines = [json.loads(line) for line in (tmp_path / "out" / JOURNAL).read_text().splitlines()]
    assert [line["path"] for line in lines[1:] if line.get("reason")] == ["walk/vfr.mp4"]
    monkeypatch.setattr(module, "encode", real)
    assert made(folder, tmp_path / "out").made == 1


@pytest.mark.parametrize("error", [OverflowError("a time is too large"), ValueError("a colour"), MemoryError()])
def test_whatever_a_library_raises_is_the_reason_of_that_file(
    error: Exception, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encode

    def fails(video: Any, row: Any, target: Path, how: Encoding) -> None:
        if video.path.name == "vfr.mp4":
            raise error
        real(video, row, target, how)

    monkeypatch.setattr(module, "encode", fails)
    report = made(folder, tmp_path / "out")
    assert dict(report.skipped)["walk/vfr.mp4"] == (str(error) or "MemoryError")
    assert report.made == 5


def test_a_copy_that_lacks_frames_is_left_out(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other videos are still listed and indexed."""
    real = encode

    def lacks(video: Any, row: Any, target: Path, how: Encoding) -> None:
        if video.path.name == "vfr.mp4":
            make_clip(target.with_suffix(".mp4"), frames=5).rename(target)
        else:
            real(video, row, target, how)

    monkeypatch.setattr(module, "encode", lacks)
    report = made(folder, tmp_path / "out")
    assert "its new file has 5 frames, but it has 40" in dict(report.skipped)["walk/vfr.mp4"]
    assert "walk/vfr.mp4" not in VideoIndex.load(tmp_path / "out" / INDEX).column("path").to_pylist()
    assert (report.made, report.stale) == (5, [])
    monkeypatch.setattr(module, "encode", real)
    assert made(folder, tmp_path / "out").made == 1


def test_an_index_in_out_that_cannot_be_read_is_made_again(folder: Path, tmp_path: Path) -> None:
    made(folder, tmp_path / "out")
    (tmp_path / "out" / INDEX).write_bytes(b"of another version")
    assert made(folder, tmp_path / "out").kept == 6
    assert len(VideoIndex.load(tmp_path / "out" / INDEX)) == 6


def test_if_every_video_fails_the_reason_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise VidsslError("it fails")

    monkeypatch.setattr(module, "encode", fails)
    with pytest.raises(VidsslError, match=r"none of the 6 videos could be re-encoded; .*prepared.jsonl says why"):
        made(folder, tmp_path / "out")


def test_no_space_stops_at_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "encode", full)
    with pytest.raises(VidsslError, match="no space left on the disk; free some"):
        made(folder, tmp_path / "out")


def test_scaling(folder: Path, tmp_path: Path) -> None:
    how = Encoding(short_side=128)
    assert how.size(240, 320) == (128, 176)
    assert how.size(96, 64) == (96, 64)
    assert how.size(214, 120) == (224, 128)  # the longer side goes by what the shorter one has become
    assert how.size(9, 40) == (16, 64)
    assert Encoding().size(240, 320) == (240, 320)
    assert Encoding(short_side=128, multiple=2).size(720, 1280) == (128, 228)
    assert Encoding(multiple=2).size(122, 161) == (122, 162)
    report = made(folder, tmp_path / "out", short_side=32)
    index = VideoIndex.load(report.out / INDEX)
    assert {index.video(row).size for row in range(len(index))} <= {(32, 48), (48, 32), (32, 32)}


@pytest.mark.parametrize("multiple", [2, 8, 16])
def test_sizes_are_multiples_and_keep_their_aspect(multiple: int) -> None:
    how, rng = Encoding(multiple=multiple), np.random.default_rng(3)
    for height, width in rng.integers(multiple, 2000, (500, 2)).tolist():
        found = how.size(height, width)
        assert all(side > 0 and side % multiple == 0 for side in found)
        assert abs(min(found) - min(height, width, 256)) <= multiple / 2
        exact = max(height, width) * min(found) / min(height, width)
        assert abs(max(found) - exact) <= multiple / 2
        assert (height <= width) == (found[0] <= found[1]) or found[0] == found[1]
        assert how.size(*found) == found  # prepared videos stay as they are


def test_wrong_use_is_named(folder: Path, tmp_path: Path) -> None:
    index = build(folder)
    with pytest.raises(VidsslError, match=r"lies in the folder of the videos"):
        prepare(index, folder / "out", Encoding(), TASK)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(VidsslError, match="not empty, and not made by"):
        prepare(index, tmp_path / "other", Encoding(), TASK)
    made(folder, tmp_path / "out")
    with pytest.raises(VidsslError, match=r"made with other settings .*crf: formerly 4, now 18"):
        prepare(index, tmp_path / "out", Encoding(), TASK, progress=False)
    for change in ({"short_side": 3}, {"multiple": 3}, {"gop": 0}, {"crf": 60}, {"preset": "quick"}):
        with pytest.raises(VidsslError, match=f"prepare: {next(iter(change))}="):
            Encoding(**change)


def test_names_that_would_be_one_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a.avi", "a.mp4", "b.avi"):
        make_clip(tmp_path / name, "mpeg4", frames=5)
    assert new_names(build(tmp_path), tmp_path / "out") == {0: "a.avi.mp4", 1: "a.mp4.mp4", 2: "b.mp4"}


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare", str(folder), str(tmp_path / "out"), "--short-side", "32"]
    assert main([*arguments, "--dry-run"]) == 0
    assert "run/packed.mp4" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "6 videos made, 0 already made by earlier calls, 1 skipped" in said
    assert "was not measured: no video is long enough" in said  # vcop_r3d shows 64 frames
    assert f"--data {tmp_path / 'out' / INDEX}" in said
