"""Excerpts: a segment of a list is a video of its own, and its frames are those of a sequential decode of its file."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.clips import make_clip, make_packed_avi, same, split, subsets, truth
from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.datasets import plain, write_lists
from vidssl.index import build as building
from vidssl.index.check import Check
from vidssl.index.checksums import write_checksummed
from vidssl.index.excerpts import excerpt_in, parse_excerpt, without_excerpt
from vidssl.index.holdout import match_groups
from vidssl.index.lists import read_list, write_list
from vidssl.index.mixture import Mixture
from vidssl.index.scan import scan
from vidssl.index.schema import SCHEMA
from vidssl.prepare import Encoding, prepare
from vidssl.pretext import Vcop
from vidssl.video.decode import Video, decode
from vidssl.video.segment import SegmentError, cut_segment

MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "bframes.mp4": (
        "libx264",
        {"options": {"x264-params": "keyint=17:min-keyint=9:scenecut=0:bframes=3:open-gop=1:b-pyramid=normal"}},
    ),
    "late.mp4": ("libx264", {"times": [1700 + 40 * at for at in range(50)], "gop": 12}),
    "vfr.mkv": ("libx264", {"times": [at * 40 + (at % 5) * 9 for at in range(50)], "gop": 12}),
    "bframes.avi": ("mpeg4", {"bframes": 2, "gop": 12}),
    "vp9.webm": ("libvpx-vp9", {"size": (49, 67), "gop": 16}),
    "mpeg2.mpg": ("mpeg2video", {"bframes": 2, "gop": 12}),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("excerpts")
    for name, (codec, options) in MADE.items():
        make_clip(folder / name, codec, **options)
    make_packed_avi(folder / "packed.avi", gop=12)
    return folder


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds from the first one: plainly by PyAV."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        pts = [frame.pts for frame in container.decode(video=0) if frame.pts is not None]
    return [(time - pts[0]) * base for time in pts]


def listed(folder: Path, name: str, rows: list[tuple[str, str, str]], *, unit: str = "") -> VideoIndex:
    """An index of segments (file, start, end)."""
    write_list(folder / name, rows, ("path", f"start{unit}", f"end{unit}"))
    return VideoIndex.build(folder / name, workers=2, progress=False)


def row_of(index: VideoIndex, path: str) -> int:
    return int(index.column("path").to_pylist().index(path))


def shows(video: Video, numbers: np.ndarray[Any, Any], expected: list[Any]) -> bool:
    frames = decode(video, numbers)
    return len(frames.data) == len(expected) and all(
        same(split(data, video.stored_size), wanted) for data, wanted in zip(frames.data, expected, strict=True)
    )


def test_frames_of_a_segment_are_those_of_its_file(clips: Path) -> None:
    """Whatever the codec, the container and the frame rate: by time where the file has times, and by frames."""
    rng = np.random.default_rng(0)
    whole = VideoIndex.build(clips, progress=False)
    for name in (*MADE, "packed.avi"):
        full, plain_decode = whole.row(row_of(whole, name)), truth(clips / name)
        assert full["frames"] == len(plain_decode)
        bounds = sorted({0, len(plain_decode)} | set(rng.integers(0, len(plain_decode), 6).tolist()))
        frames = [(first, end) for first in bounds for end in bounds if first < end]
        by_frames = listed(clips, "frames.csv", [(name, str(a), str(b)) for a, b in frames], unit="_frame")
        made = [(by_frames, f"{name}#frames={a},{b}", a, b) for a, b in frames]
        if not name.endswith(".avi"):  # of an AVI file, PyAV's times are not those at which frames are shown
            times = times_of(clips / name)
            drawn = np.sort(rng.uniform(0, float(times[-1]) + 1, (12, 2)), axis=1)
            seconds = [(f"{a:.4f}", f"{b:.4f}") for a, b in drawn]
            seconds += [("0", f"{float(times[20]):.3f}"), (f"{float(times[20]):.3f}", ""), ("", "0.5")]
            by_time = listed(clips, "times.csv", [(name, *one) for one in seconds])
            for start, stop in seconds:
                low, high = Fraction(start or "0"), Fraction(stop) if stop else times[-1] + 1
                inside = [at for at, time in enumerate(times) if low <= time < high]
                path = f"{name}{parse_excerpt(start, stop)}"
                if inside:
                    made.append((by_time, path, inside[0], inside[-1] + 1))
                else:
                    assert "no frame in its segment" in by_time.row(row_of(by_time, path))["status"]
        for index, path, first, end in made:
            row = index.row(row_of(index, path))
            assert (row["status"], row["start"], row["end"], row["frames"]) == ("ok", first, end, end - first), path
            assert row["motion"] == full["motion"][first : end - 1]
            assert (row["archive"], row["group"]) == (name, name)
            video = index.video(row_of(index, path))
            for numbers in subsets(video.frames, seed=end, count=2):
                expected = [plain_decode[first + number] for number in numbers]
                assert shows(video, numbers, expected), (path, numbers)
            cut_frames(video, plain_decode[first:end], clips / "cut.mp4")


def cut_frames(video: Video, expected: list[Any], target: Path) -> None:
    """What is cut for a decoder in the graph shows the same frames, where it can be cut."""
    numbers = np.arange(min(4, video.frames))
    try:
        segment = cut_segment(video, numbers)
    except SegmentError:
        return
    target.write_bytes(bytes(segment.data))
    found = truth(target)
    target.unlink()
    assert all(same(found[at], expected[number]) for at, number in zip(segment.position, numbers, strict=True))


def test_a_damaged_file_gives_its_segments_the_frames_of_the_whole(tmp_path: Path) -> None:
    """Its decoder hides damage, so that frames depend on where decoding began and what was dropped."""
    path = make_clip(tmp_path / "a.mp4", "mpeg4", bframes=2, gop=10, frames=60)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in (places[23], places[41]):
        assert position is not None
        data[position + size // 2 : position + size // 2 + 6] = b"\xff" * 6
    path.write_bytes(data)
    whole = VideoIndex.build(tmp_path, progress=False)
    full = whole.row(0)
    assert not full["droppable"]
    everything = decode(whole.video(0), np.arange(full["frames"]))
    index = listed(tmp_path, "l.csv", [("a.mp4", str(at), str(at + 9)) for at in range(0, 48, 5)], unit="_frame")
    for row in index.usable().tolist():
        first, video = index.row(row)["start"], index.video(row)
        for numbers in subsets(video.frames, seed=row, count=2):
            assert np.array_equal(decode(video, numbers).data, everything.data[first + numbers])


def test_a_file_is_read_once_for_all_its_segments(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, *about: Any, **more: Any) -> dict[str, Any]:
        read.append(path)
        return scan(path, *about, **more)

    monkeypatch.setattr(building, "scan", counted)
    rows = [("late.mp4", f"{at / 10}", f"{at / 10 + 0.3}") for at in range(15)] + [("late.mp4", "", "")]
    index = listed(clips, "many.csv", rows)
    assert (len(index), len(index.usable()), index.read, read) == (16, 16, 16, [clips / "late.mp4"])
    assert index.excerpts().tolist() == [row for row in range(16) if row != row_of(index, "late.mp4")]
    assert set(index.files.tolist()) == {0}
    assert set(index.column("group").to_pylist()) == {"late.mp4"}
    again = VideoIndex.build(clips / "many.csv", known=index, progress=False)
    assert (again.read, again.table.equals(index.table)) == (0, True)
    assert index.is_current()


def test_what_a_list_states_about_segments(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=50)  # 2 seconds
    assert str(parse_excerpt("00:00:01.500", "1:02:03")) == "#t=1.5,3723"
    assert str(parse_excerpt(" 90 ", "", "frames")) == "#frames=90,"
    assert (parse_excerpt("", ""), excerpt_in("a#b.mp4", "a")) == (None, None)
    assert excerpt_in("a#t=1,2", "a#t=1,2/img_1.jpg") is None  # a folder of frames
    assert excerpt_in("a.mp4#t=1.5,", "a.mp4") == parse_excerpt("1.5", "")
    assert without_excerpt("x/a.mp4#frames=0,9") == "x/a.mp4"
    assert match_groups(["x/a.mp4#t=1,2", "x/b.mp4#t=,2"], "[^/]*$", "group") == ["a.mp4", "b.mp4"]
    with pytest.raises(VidsslError, match="the index is damaged"):
        excerpt_in("a.mp4#t=1.2.3,4", "a.mp4")
    for text, why in (
        (
            "path,start,end\na.mp4,2,1",
            "^list=.*l.csv': line 2: column 'end': the segment 2 to 1 .* its end is before its start; correct",
        ),
        ("path,start,end\na.mp4,0,1\na.mp4,1,1.0", "line 3: .*the segment 1 to 1.0 is refused: it is empty"),
        ("path,start,end\na.mp4,0,0", "it is empty"),
        ("path,start,end\na.mp4,-1,1", "line 2: column 'start': '-1' is not .*; it must not be negative"),
        ("path,start,end\na.mp4,1e0,2", "'1e0' is not seconds"),
        ("path,start,end\na.mp4,00:61:00,2", "line 2: column 'start': '00:61:00' is not seconds"),
        ("path,start,end\na.mp4,1,x", "line 2: column 'end': 'x' is not seconds"),
        ("path,start_frame,end_frame\na.mp4,1.5,2", "'1.5' is not a number of a frame"),
        ("path,start\na.mp4,1", "has 'start' and no 'end'"),
        ("path,start,end,start_frame,end_frame\na.mp4,0,1,0,1", "keep one of the two"),
        ("path,group,start,end\na.mp4,g,0,1\na.mp4,h,1,2", "line 3: .*another group in line 2"),
        ("path,label,start,end\na.mp4,g,0,1\na.mp4,h,0,1.0", "line 3: .*another label or group in line 2"),
    ):
        (tmp_path / "l.csv").write_text(text)
        with pytest.raises(VidsslError, match=why):
            VideoIndex.build(tmp_path / "l.csv", progress=False)


def test_segments_in_several_data_sets(clips: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=20)
    first = listed(clips, "mixed.csv", [("late.mp4", "0.2", "1.2"), ("late.mp4", "1", ""), ("vfr.mkv", "0", "1")])
    both = Mixture({"segments": first, "whole": VideoIndex.build(tmp_path, progress=False)})
    assert (both.excerpts().tolist(), both.files.tolist()) == ([0, 1, 2], [0, 0, 2, 3])
    assert both.select([3, 1, 0]).files.tolist() == [0, 1, 1]


def test_a_folder_of_frames_has_no_segments(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(6):
        Image.new("RGB", (32, 24), (number * 40, 0, 0)).save(tmp_path / "a" / f"img_{number:05d}.jpg")
    write_list(tmp_path / "l.csv", [("a", "0", "3")], ("path", "start_frame", "end_frame"))
    with pytest.raises(VidsslError, match="line 2: a is a folder of frames, which has no segments; leave them out"):
        VideoIndex.build(tmp_path / "l.csv", progress=False)
    write_list(tmp_path / "l.csv", [("a", "", "")], ("path", "start_frame", "end_frame"))
    index = VideoIndex.build(tmp_path / "l.csv", progress=False)
    assert (index.frames(0), index.excerpts().tolist(), index.files.tolist()) == (6, [], [0])


def test_segments_at_the_ends_of_a_file(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=50)  # shown from 0 to 2 seconds
    index = listed(tmp_path, "l.csv", [("a.mp4", "1.9", "2"), ("a.mp4", "1.9", "2.5"), ("a.mp4", "2", "3")])
    rows = {path: index.row(row) for row, path in enumerate(index.column("path").to_pylist())}
    assert (rows["a.mp4#t=1.9,2"]["frames"], rows["a.mp4#t=1.9,2"]["note"]) == (2, "")
    longer = rows["a.mp4#t=1.9,2.5"]
    assert (longer["frames"], longer["status"]) == (2, "ok")
    assert "its segment from 1.9 to 2.5 s is longer than the video: its frames are shown from 0.000" in longer["note"]
    assert rows["a.mp4#t=2,3"]["status"].startswith("no frame in its segment from 2 to 3 s")
    index = listed(tmp_path, "f.csv", [("a.mp4", "48", "60"), ("a.mp4", "50", "51")], unit="_frame")
    assert [index.row(row)["status"] for row in range(2)] == [
        "ok",
        "its segment frames=50,51 is outside of frames 0..49",
    ]
    assert (index.row(0)["frames"], index.row(0)["note"]) == (2, "of its segment, only frames 0..49 exist")
    assert index.skipped(3)[0] == ("a.mp4#frames=48,60", "2 frames, but 3 are needed")  # shorter than a clip


def test_time_0_is_that_of_the_sound_where_it_begins_first(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=10)
        sound: Any = container.add_stream("pcm_s16le", rate=8000)
        video.height, video.width, video.pix_fmt, sound.layout = 48, 64, "yuv420p", "mono"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(sound.encode(silence))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number, np.uint8), format="rgb24")
            frame.pts = 5 + number  # half a second later
            container.mux(video.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    index = listed(tmp_path, "l.csv", [("a.mkv", "0.6", "0.8")])
    assert (index.row(0)["start"], index.row(0)["end"]) == (1, 3)


def test_times_that_are_not_certain_are_refused(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.h264", "libx264", frames=30)  # a bare stream has no times
    index = listed(tmp_path, "l.csv", [("a.h264", "0", "0.5")])
    assert "its frames have no times" in index.row(0)["status"]
    index = listed(tmp_path, "f.csv", [("a.h264", "5", "15")], unit="_frame")
    assert shows(index.video(0), np.arange(10), truth(tmp_path / "a.h264")[5:15])


def test_a_store_keeps_the_frames_of_segments(clips: Path, tmp_path: Path) -> None:
    """Also of segments that overlap, or begin together."""
    bounds = [(0, 20), (0, 37), (3, 37), (16, 32), (36, 50)]
    rows = [("bframes.mp4", str(a), str(b)) for a, b in bounds] + [("bframes.mp4", "", "")]
    index = listed(clips, "kept.csv", rows, unit="_frame")
    store = FrameStore(tmp_path / "store", "native")
    assert VideoIndex.build(clips / "kept.csv", progress=False, store=store).table.equals(index.table)
    assert store.fill(index, workers=2, progress=False) == []
    assert len(set(store.keys(index))) == 6
    assert not store.missing_of(index).any()
    plain_decode = truth(clips / "bframes.mp4")
    for row, key in enumerate(store.keys(index)):
        video, first = index.video(row), index.row(row)["start"] or 0
        assert store.key(video) == key
        kept = store.read(video, 0, video.frames)
        assert kept is not None
        assert all(
            same(split(data, video.stored_size), wanted)
            for data, wanted in zip(kept.data, plain_decode[first : first + video.frames], strict=True)
        )


def test_an_index_without_segments_of_the_version_before_is_read(clips: Path, tmp_path: Path) -> None:
    whole = VideoIndex.build(clips, progress=False)
    about = json.dumps({"version": 4, "root": str(clips), "scanned": True}).encode()
    old = whole.table.drop_columns(["excerpt"]).replace_schema_metadata({b"vidssl.index": about})
    write_checksummed(tmp_path / "old.arrow", old, 2**14)
    loaded = VideoIndex.load(tmp_path / "old.arrow")
    assert loaded.table.equals(whole.table)
    assert loaded.select([1, 3]).column("excerpt").to_pylist() == [None, None]
    assert [loaded.row(row) for row in range(2)] == [whole.row(row) for row in range(2)]
    assert np.array_equal(loaded.video(0).packet, whole.video(0).packet)
    assert VideoIndex.build(clips, known=loaded, progress=False).read == 0
    assert list(FrameStore(None).keys(loaded)) == list(FrameStore(None).keys(whole))


def test_a_row_that_no_excerpt_can_have_is_refused(clips: Path) -> None:
    index = listed(clips, "forged.csv", [("vfr.mkv", "0.5", "1.5")])
    right = index.row(0)
    for changed in ({"lead": -1}, {"lead": 2**30}, {"checked": 2**30}, {"lead": None}, {"lead": len(right["packet"])}):
        row = right | {"excerpt": right["excerpt"] | changed}
        forged = VideoIndex(pa.Table.from_pylist([row], SCHEMA), index.root)
        with pytest.raises(VidsslError, match="the index is damaged"):
            decode(forged.video(0), np.arange(1))


def test_check_compares_segments_with_their_rows(clips: Path, tmp_path: Path) -> None:
    rows = [("late.mp4", "0.2", "1.2"), ("late.mp4", "0.3", "1.1"), ("vfr.mkv", "0", "9"), ("vfr.mkv", "", "")]
    index = listed(clips, "check.csv", rows)
    index.save(tmp_path / "i.arrow")
    for source in (clips / "check.csv", tmp_path / "i.arrow"):
        for deep in (False, True):
            found = list(Check(source, deep=deep, workers=2))
            assert sorted(one.path for one in found) == index.column("path").to_pylist()
            assert {one.status for one in found} == {"ok"}
            assert [one.frames for one in found if one.path == "late.mp4#t=0.2,1.2"] == [25 if deep else None]
    table = index.table
    changed = pa.array([index.row(row)["frames"] - (row == 0) for row in range(4)], pa.int32())
    wrong = VideoIndex(table.set_column(table.schema.get_field_index("frames"), "frames", changed), index.root)
    wrong.save(tmp_path / "w.arrow")
    status = {one.path: one.status for one in Check(tmp_path / "w.arrow", deep=True)}
    assert status.pop("late.mp4#t=0.2,1.2").startswith("differs from its row in the index: frames 25, formerly 24")
    assert set(status.values()) == {"ok"}


def test_lists_of_a_data_set_name_its_segments(clips: Path, tmp_path: Path) -> None:
    rows = [
        ("late.mp4", "a", "0.2", "1.2"),
        ("late.mp4", "b", "1", ""),
        ("vfr.mkv", "a", "0", "1"),
        ("vp9.webm", "b", "", ""),
    ]
    write_list(clips / "mine.csv", rows, ("path", "label", "start", "end"))
    made = write_lists(plain(clips / "mine.csv", fraction=0.4), tmp_path, progress=False)
    found = [entry for path in made for entry in read_list(path, "root").entries]
    assert sorted(str(entry.excerpt or "") for entry in found) == ["", "#t=0,1", "#t=0.2,1.2", "#t=1,"]
    parts = [{Path(entry.path).name for entry in read_list(path, "root").entries} for path in made]
    assert not parts[0] & parts[1]  # segments of one file stay together
    write_lists(plain(clips / "mine.csv", fraction=0.4), tmp_path, progress=False)  # replaces its own lists
    made = write_lists(plain(clips / "mine.csv"), tmp_path / "indexed", index=True, progress=False)
    index = VideoIndex.load(made[-1], allow_outside=True)
    assert len(index.usable()) == 4
    assert [Path(path).name for path in index.column("path").to_pylist()] == [
        "late.mp4#t=0.2,1.2",
        "late.mp4#t=1,",
        "vfr.mkv#t=0,1",
        "vp9.webm",
    ]


def test_prepare_refuses_segments(clips: Path, tmp_path: Path) -> None:
    index = listed(clips, "prepare.csv", [("late.mp4", "0.2", "1.2")])
    with pytest.raises(
        VidsslError, match=r"1 of the videos are segments of files, such as late\.mp4#t=0\.2,1\.2; prep"
    ):
        prepare(index, tmp_path / "out", Encoding(), Vcop())
    assert not (tmp_path / "out").exists()
