"""A store gives the frames of a decode, reduced: kept or not, damaged or not, for any number of processes."""

import multiprocessing
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex, VidsslError, ops
from vidssl.index.checksums import write_checksummed
from vidssl.store.frames import parse_size
from vidssl.store.shard import ENDING
from vidssl.types import Frames
from vidssl.video.decode import decode

SIZES: list[tuple[int, int] | str] = [(24, 31), "native"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    make_clip(root / "a.mp4", frames=37, gop=12)
    make_clip(root / "b.avi", "mpeg4", frames=16, size=(33, 47))
    make_clip(root / "c.webm", "libvpx-vp9", frames=21, size=(49, 67))
    return VideoIndex.build(root, progress=False)


def expected(index: VideoIndex, row: int, first: int, count: int, size: tuple[int, int] | str) -> Frames:
    frames = decode(index.video(row), np.arange(first, first + count))
    return frames if isinstance(size, str) else ops.reduce(frames, size)


def same(found: Frames | None, wanted: Frames) -> bool:
    return (
        found is not None
        and np.array_equal(found.data, wanted.data)
        and np.array_equal(found.number, wanted.number)
        and found.size == wanted.size
        and found.space.chroma == wanted.space.chroma
        and np.array_equal(found.space.to_rgb, wanted.space.to_rgb)
    )


@pytest.mark.parametrize("size", SIZES)
def test_kept_frames_are_those_of_a_decode(index: VideoIndex, tmp_path: Path, size: tuple[int, int] | str) -> None:
    store = FrameStore(tmp_path, size)
    assert store.read(index.video(0), 0, 4) is None
    assert store.fill(index, workers=2, progress=False) == []
    for one in (store, FrameStore(tmp_path, size)):  # this process, and a later one
        for row in range(3):
            video = index.video(row)
            for first, count in ((0, 1), (0, video.frames), (3, 13), (15, 1), (video.frames - 2, 2)):
                assert same(one.read(video, first, count), expected(index, row, first, count, size))
                assert same(
                    one.decode(video, np.arange(first, first + count)), expected(index, row, first, count, size)
                )
    assert store.stats["kept"] == 37 + 16 + 21
    kept = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert store.bytes_of(index) < kept < store.bytes_of(index) + 2**14


def test_reading_copies_nothing_and_cannot_write(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, (24, 31)).fill(index, progress=False)
    store = FrameStore(tmp_path, (24, 31))
    one, other = store.read(index.video(0), 0, 37), store.read(index.video(0), 20, 5)
    assert one is not None
    assert other is not None
    assert np.shares_memory(one.data, other.data)
    assert not one.data.flags.writeable


def test_the_key_and_the_colours_of_a_video_are_made_once(index: VideoIndex) -> None:
    """Of the video, not of its name: a changed file has another Video. They do not keep it in memory."""
    store, video = FrameStore(None, (24, 31)), replace(index.video(0))
    assert store.key(video) is store.key(video)
    assert store.space_of(video) is store.space_of(video)
    assert store.key(video) == store.key(index.video(0)) == FrameStore(None, (24, 31)).key(video)
    assert store.key(replace(video, mtime_ns=video.mtime_ns + 1)) != store.key(video)
    assert FrameStore(None).key(video) != store.key(video)
    seen = weakref.ref(video)
    del video
    assert seen() is None


def test_filling_goes_on_where_it_stopped(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, (24, 31))
    store.fill(index.select([1]), progress=False)
    again = FrameStore(tmp_path, (24, 31))
    assert [again.missing(index.video(row)) for row in range(3)] == [[range(37)], [], [range(21)]]
    again.fill(index, progress=False)
    assert again.stats["kept"] == 37 + 21
    last = FrameStore(tmp_path, (24, 31))
    last.fill(index, progress=False)
    assert last.stats["kept"] == 0


def test_parts_of_a_video_are_completed_and_joined(index: VideoIndex, tmp_path: Path) -> None:
    store, video = FrameStore(tmp_path, (24, 31)), index.video(0)
    store.add(store.key(video), 16, expected(index, 0, 16, 16, (24, 31)).data)
    store.flush()
    assert store.missing(video) == [range(16), range(32, 37)]
    assert store.read(video, 10, 10) is None
    store.fill(index, progress=False)
    assert store.missing(video) == []
    assert same(store.read(video, 5, 30), expected(index, 0, 5, 30, (24, 31)))  # across three shards


def test_a_changed_or_other_file_is_not_served(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "store", (24, 31))
    store.fill(index, progress=False)
    videos = tmp_path / "videos"
    shutil.copytree(index.root, videos)
    copied = VideoIndex.build(videos, progress=False)
    assert store.read(copied.video(0), 0, 4) is not None  # the same file elsewhere
    os.utime(videos / "a.mp4", ns=(1, 1))
    shutil.copy2(videos / "c.webm", videos / "b.avi")
    changed = VideoIndex.build(videos, progress=False)
    assert [store.read(changed.video(row), 0, 4) is None for row in range(3)] == [True, True, False]
    other = FrameStore(tmp_path / "store", (24, 32))
    assert other.read(index.video(0), 0, 4) is None


@pytest.mark.parametrize("while_indexing", [False, True])
def test_two_files_of_one_name_size_and_time_are_two_videos(tmp_path: Path, while_indexing: bool) -> None:
    """As raw video from an archive that was packed with one time for all files."""
    for folder, grey in (("episode_1", 40), ("episode_2", 200)):
        video = tmp_path / "videos" / folder / "front.y4m"
        video.parent.mkdir(parents=True)
        frame = b"FRAME\n" + bytes([grey]) * (32 * 32 * 3 // 2)
        video.write_bytes(b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420jpeg\n" + 20 * frame)
        os.utime(video, ns=(10**18, 10**18))
    store = FrameStore(tmp_path / "store", (16, 16))
    index = VideoIndex.build(tmp_path / "videos", progress=False, store=store if while_indexing else None)
    assert store.fill(index, progress=False) == []
    assert [*store.keys(index)] == [store.key(index.video(row)) for row in range(2)]
    kept = [store.read(index.video(row), 0, 20) for row in range(2)]
    assert [frames is not None and int(frames.data[0, 0, 0]) for frames in kept] == [40, 200]


def test_another_stream_of_a_file_is_not_served(index: VideoIndex, tmp_path: Path) -> None:
    store, video = FrameStore(tmp_path, (24, 31)), index.video(0)
    assert store.key(video) == store.key(replace(video))
    assert store.key(video) != store.key(replace(video, stream=1))
    assert store.key(video) != store.key(replace(video, packet=video.packet + 9))


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_cut_shard_is_not_opened(index: VideoIndex, tmp_path: Path, cut: int) -> None:
    FrameStore(tmp_path, (24, 31)).fill(index, progress=False)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-cut])
    store = FrameStore(tmp_path, (24, 31))
    assert store.stats["damaged"] == len(list(tmp_path.iterdir())) == len(store.verify())
    assert store.read(index.video(0), 0, 4) is None
    store.fill(index, progress=False)
    assert same(store.read(index.video(0), 0, 4), expected(index, 0, 0, 4, (24, 31)))


def test_every_flipped_bit_is_noticed(index: VideoIndex, tmp_path: Path) -> None:
    """Frames of a shard with one wrong byte are right, or are not served."""
    FrameStore(tmp_path, (24, 31)).fill(index, workers=1, progress=False)
    (path,) = tmp_path.iterdir()
    whole, rng, dropped = path.read_bytes(), np.random.default_rng(0), 0
    wanted = [expected(index, row, 0, index.frames(row), (24, 31)) for row in range(3)]
    for _ in range(60):
        at = int(rng.integers(len(whole)))
        path.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(rng.integers(8))]) + whole[at + 1 :])
        store = FrameStore(tmp_path, (24, 31))
        for row in range(3):
            found = store.read(index.video(row), 0, index.frames(row))
            assert found is None or same(found, wanted[row])
            dropped += found is None
        assert bool(store.verify()) == bool(store.stats["damaged"]) or at > len(whole) - 2**12 or at < 2**12
    assert dropped >= 50


@pytest.mark.parametrize(
    ("column", "value"), [("first", 17), ("first", -16), ("first", None), ("frames", 0), ("frames", 17), ("data", None)]
)
def test_blocks_that_no_store_holds_are_refused(
    index: VideoIndex, tmp_path: Path, column: str, value: int | None
) -> None:
    """The checksums of the shard are right."""
    FrameStore(tmp_path, (24, 31)).fill(index.select([0]), progress=False)
    (path,) = tmp_path.iterdir()
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all().replace_schema_metadata(None)
    values = pa.array([*table[column].to_pylist()[:-1], value], table.schema.field(column).type)
    write_checksummed(path, table.set_column(table.schema.get_field_index(column), column, values), 4)
    store = FrameStore(tmp_path, (24, 31))
    assert [name for name, _ in store.verify()] == [path]
    assert store.stats["damaged"] == 1
    assert store.read(index.video(0), 0, 4) is None
    store.fill(index.select([0]), progress=False)
    assert same(store.read(index.video(0), 0, 37), expected(index, 0, 0, 37, (24, 31)))


def test_more_frames_than_the_index_knows_do_no_harm(index: VideoIndex, tmp_path: Path) -> None:
    store, video = FrameStore(tmp_path, (24, 31)), index.video(0)
    store.add(store.key(video), 48, expected(index, 0, 0, 16, (24, 31)).data)
    store.flush()
    assert store.missing(video) == [range(37)]
    assert store.fill(index, progress=False) == []
    assert same(store.read(video, 0, 37), expected(index, 0, 0, 37, (24, 31)))


def test_files_of_others_are_left_alone(index: VideoIndex, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"foreign{ENDING}").write_bytes(b"not an Arrow file")
    with pa.OSFile(str(tmp_path / f"table{ENDING}"), "wb") as file:
        table = pa.table({"key": [1]})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    os.mkfifo(tmp_path / f"pipe{ENDING}")
    (tmp_path / f"folder{ENDING}").mkdir()
    (tmp_path / f"link{ENDING}").symlink_to("nowhere")
    store = FrameStore(tmp_path, (24, 31))
    assert store.stats["damaged"] == len(store.verify()) == 5
    store.fill(index, progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert store.read(index.video(0), 0, 4) is not None


def test_the_limit_keeps_what_fits(index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    each = 24 * 32 * 3 // 2
    store = FrameStore(tmp_path, (24, 31), limit=40 * each)
    store.fill(index, workers=1, progress=False)
    assert store.stats["kept"] == 37
    assert "limit" in caplog.text
    assert same(store.read(index.video(0), 0, 37), expected(index, 0, 0, 37, (24, 31)))
    assert store.read(index.video(1), 0, 4) is None


def test_a_full_disk_ends_only_the_keeping(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store = FrameStore(tmp_path, (24, 31))
    monkeypatch.setattr("vidssl.store.shard.ShardWriter.add", full)
    assert store.fill(index, progress=False) == []
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert same(store.decode(index.video(0), np.arange(4)), expected(index, 0, 0, 4, (24, 31)))


def _fill(root: Path, folder: Path) -> None:
    FrameStore(folder, (24, 31)).fill(VideoIndex.build(root, progress=False), progress=False)


def test_several_processes_share_a_folder(index: VideoIndex, tmp_path: Path) -> None:
    early = FrameStore(tmp_path, (24, 31))
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_fill, args=(index.root, tmp_path)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    early.refresh()
    for row in range(3):
        count = index.frames(row)
        assert same(early.read(index.video(row), 0, count), expected(index, row, 0, count, (24, 31)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": (0, 4)}, "size="),
        ({"size": (4,)}, "size="),
        ({"size": "small"}, "size="),
        ({"limit": -1}, "limit="),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=named):
        FrameStore(tmp_path, **arguments)
    (tmp_path / "file").write_text("")
    with pytest.raises(VidsslError, match="folder="):
        FrameStore(tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((5,), "folder=5: take the path"),
        ((b"SP",), "folder=b'SP': take the path"),
        (("",), "folder='': take the path"),
        (("s3://bucket/store",), "folder='s3://bucket/store': a store lies on a disk; fill one in a folder there"),
        ((os.devnull + "\0",), "folder="),
        (("SP", "native", "1GB"), "limit='1GB': take a whole number of bytes"),
        (("SP", "native", 1.5), "limit=1.5: take"),
        (("SP", "native", True), "limit=True: take"),
        (("SP", (True, 4)), r"size=\(True, 4\): take"),
        (("SP", 5), "size=5: take"),
        (("SP", "native", None, ["file"]), r"backend=\['file'\]: take one of"),
    ],
)
def test_arguments_of_another_type(
    arguments: tuple[object, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VidsslError, match=f"FrameStore: {named}"):
        FrameStore(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_every_public_method_checks_its_arguments(index: VideoIndex, tmp_path: Path) -> None:
    store, video, key, data = FrameStore(tmp_path, (24, 31)), index.video(0), b"k" * 16, np.zeros((1, 36, 32), np.uint8)
    wrong: dict[str, list[tuple[tuple[object, ...], str]]] = {
        "hold_in_memory": [(("1",), "need"), ((None, "1"), "part")],
        "key": [((0,), "video")],
        "keeper": [((0, 0, 0), "video"), ((video, None, 0), "first_packet"), ((video, 0, "1"), "checksum")],
        "read": [((0, 0, 1), "video"), ((video, -1, 1), "first"), ((video, 0.5, 1), "first"), ((video, 0, 0), "count")],
        "motion": [((0, 0, 1), "video"), ((video, "0", 1), "first"), ((video, 0, 1.5), "count")],
        "keep_motion": [((0,), "video"), ((video, 1), "stopped")],
        "copy_to": [((0, 0, data), "video"), ((video, -1, data), "first"), ((video, 0, data[:, :2]), "out")],
        "decode": [((0, np.arange(2)), "video"), ((video, "01"), "numbers"), ((video, np.ones(2)), "numbers")],
        "add": [
            (("k", 0, data), "key"),
            ((key, 1, data), "first"),
            ((key, 0, 1.0 * data), "data"),
            ((key, 0, []), "data"),
        ],
        "claim": [(("k",), "key")],
        "count_shown": [((1.5, 0), "windows"), ((1, "1"), "stored")],
        "verify_folder": [((5,), "folder")],
        "shards": [(("",), "folder")],
        "paths": [((b"SP",), "folder")],
    }
    for name in ("sizes_of", "bytes_of", "frame_bytes", "missing_of", "keys", "fill"):
        wrong[name] = [(("vids",), "index")]
    for name in ("size_of", "space_of", "missing"):
        wrong[name] = [((0,), "video")]
    for name, calls in wrong.items():
        for arguments, named in calls:
            with pytest.raises(VidsslError, match=rf"FrameStore(\.{name})?: {named}="):
                getattr(store, name)(*arguments)
    for named, value in (("workers", "2"), ("workers", 1.5), ("workers", 0), ("workers", True), ("file_timeout", "1")):
        with pytest.raises(VidsslError, match=rf"FrameStore\.fill: {named}={value!r}: "):
            store.fill(index, **{named: value})
    public = {name for name in vars(FrameStore) if not name.startswith("_")}
    without = {"size_text", "keeps", "failure", "refresh", "full", "flush", "verify", "free_bytes", "stop_keeping"}
    assert public == set(wrong) | without


def test_a_store_that_is_only_read_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"folder='.*/none': No such file or directory; it is only read"):
        FrameStore(tmp_path / "none", limit=0)
    assert list(tmp_path.iterdir()) == []


def test_a_size_has_one_text() -> None:
    assert parse_size("24x32") == (24, 32)
    wrong: list[Any] = ["24", None, (24, 32)]
    for text in ("024x032", "24x032", "0x4", "\u0662x4", "24x32\n", "24X32", "9" * 5000 + "x4", "", *wrong):
        with pytest.raises(VidsslError, match="store_size="):
            parse_size(text)


def test_nothing_is_kept_without_a_folder(index: VideoIndex) -> None:
    store = FrameStore(None, (24, 31))
    assert store.fill(index, progress=False) == []
    assert store.read(index.video(0), 0, 4) is None
    assert (store.verify(), store.free_bytes()) == ([], 0)
    assert same(store.decode(index.video(0), np.arange(4)), expected(index, 0, 0, 4, (24, 31)))


@pytest.mark.parametrize("size", SIZES)
def test_indexing_keeps_what_it_decodes(index: VideoIndex, tmp_path: Path, size: tuple[int, int] | str) -> None:
    store = FrameStore(tmp_path, size)
    built = VideoIndex.build(index.root, progress=False, store=store)
    assert built.table.equals(index.table)
    assert store.stats["kept"] == 37 + 16 + 21
    for row in range(3):
        count = built.frames(row)
        assert store.missing(built.video(row)) == []
        assert same(store.read(built.video(row), 0, count), expected(built, row, 0, count, size))
    store.fill(built, progress=False)
    assert store.stats["kept"] == 37 + 16 + 21


def test_indexing_with_a_full_store_goes_on(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, (24, 31), limit=24 * 32 * 3 // 2 * 20)
    assert VideoIndex.build(index.root, progress=False, workers=1, store=store).table.equals(index.table)
    assert store.stats["kept"] <= 20
