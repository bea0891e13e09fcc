"""Shards: every member is a video, the label of exactly one sample, or ignored with a reason."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clips import make_clip
from vidssl import VideoIndex
from vidssl.index.found import Found, Ignored
from vidssl.index.sources import find_videos
from vidssl.index.tars import SIDECAR_BYTES, find_in_tar


def shard(path: Path, *members: tuple[str, bytes | str], links: tuple[tuple[str, bytes, str], ...] = ()) -> Path:
    """A tar of files (name, data) and links (name, type, target), in this order."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            raw = data.encode() if isinstance(data, str) else data
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
        for name, kind, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return path


def labels(found: Found) -> dict[str, str | None]:
    return {one.path: one.label for one in found.videos}


def refusals(found: Found) -> dict[str, str]:
    return {one.path: one.refused for one in found.videos if one.refused}


def test_links_are_the_members_that_they_lead_to(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "x.mp4", frames=10).read_bytes()
    (tmp_path / "x.mp4").unlink()
    links = (
        ("b/hard.mp4", tarfile.LNKTYPE, "a/x.mp4"),
        ("b/soft.mp4", tarfile.SYMTYPE, "../a/x.mp4"),
        ("b/chain.mp4", tarfile.SYMTYPE, "soft.mp4"),
        ("b/soft.cls", tarfile.SYMTYPE, "../a/x.cls"),
        ("b/out.mp4", tarfile.SYMTYPE, "../../x.mp4"),
        ("b/root.mp4", tarfile.SYMTYPE, "/x.mp4"),
        ("b/hardout.mp4", tarfile.LNKTYPE, "../x.mp4"),
        ("b/gone.mp4", tarfile.SYMTYPE, "gone2.mp4"),
        ("b/hardgone.mp4", tarfile.LNKTYPE, "a/gone.mp4"),
        ("b/loop.mp4", tarfile.SYMTYPE, "loop.mp4"),
        ("b/pipe.mp4", tarfile.FIFOTYPE, ""),
    )
    shard(tmp_path / "s.tar", ("a/x.mp4", video), ("a/x.cls", "run"), links=links)
    found = find_videos(tmp_path)
    assert labels(found) == {
        "s.tar/a/x.mp4": "run",
        "s.tar/b/chain.mp4": "b",
        "s.tar/b/hard.mp4": "b",
        "s.tar/b/soft.mp4": "run",
    }
    assert len({(one.offset, one.bytes) for one in found.videos}) == 1
    assert sorted(found.notes) == [
        "1 ignored (a hard link that leads out of its tar): s.tar/b/hardout.mp4",
        "1 ignored (a hard link to a file that its tar does not hold before it): s.tar/b/hardgone.mp4",
        "1 ignored (a symbolic link that leads to itself): s.tar/b/loop.mp4",
        "1 ignored (a symbolic link to no file of its tar): s.tar/b/gone.mp4",
        "1 ignored (neither a file nor a link): s.tar/b/pipe.mp4",
        "2 ignored (a symbolic link that leads out of its tar): s.tar/b/out.mp4, s.tar/b/root.mp4",
    ]
    assert len(VideoIndex.build(tmp_path, progress=False).usable()) == 4


KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, b"9"])
PLACES = st.sampled_from(
    ["a.mp4", "b.mp4", "d/a.mp4", "../a.mp4", "/a.mp4", "a.txt", "a", "._a.mp4", "d/a", "\udce9.mp4"]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(KINDS, PLACES, PLACES), min_size=1, max_size=8))
def test_no_member_vanishes(tmp_path: Path, members: list[tuple[bytes, str, str]]) -> None:
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for kind, name, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    ignored = Ignored()
    videos = find_in_tar(tmp_path / "s.tar", "s.tar", ignored)
    assert len(videos) + sum(int(note.split()[0]) for note in ignored.notes()) == len(members)


def zstd(data: bytes) -> bytes:
    command = shutil.which("zstd")
    if command is None:
        return b"\x28\xb5\x2f\xfd" + data  # only the beginning is looked at
    return subprocess.run([command, "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("kind", "compress", "command"),
    [
        ("gzip", gzip.compress, "gunzip"),
        ("bzip2", bz2.compress, "bunzip2"),
        ("xz", lzma.compress, "unxz"),
        ("zstd", zstd, "unzstd"),
    ],
)
@pytest.mark.parametrize("name", ["s.tar", "s.TAR.gz", "s.tgz", "s.tar.zst"])
def test_a_compressed_tar_is_one_reason(
    kind: str, compress: Callable[[bytes], bytes], command: str, name: str, tmp_path: Path
) -> None:
    data = compress(shard(tmp_path / "plain", ("a.mp4", b"some"), ("b.mp4", b"more")).read_bytes())
    (tmp_path / "plain").unlink()
    for cut in (len(data), len(data) // 2, 20):
        (tmp_path / name).write_bytes(data[:cut])
        why = f"compressed with {kind}, but members are read in place; decompress it once with {command}"
        assert VideoIndex.build(tmp_path, progress=False).skipped() == [(name, why)]


def test_a_tar_may_be_named_as_if_compressed(tmp_path: Path) -> None:
    shard(tmp_path / "s.tgz", ("BZh.mp4", b"some"))
    assert labels(find_videos(tmp_path)) == {"s.tgz/BZh.mp4": None}


@pytest.mark.parametrize("end", [1024, 512, 0])
def test_joined_tars_are_read_to_the_end(end: int, tmp_path: Path) -> None:
    first = shard(tmp_path / "1.tar", ("a.mp4", b"one"), ("a.cls", "run"), ("c.mp4", b"c")).read_bytes()
    second = shard(tmp_path / "2.tar", ("a.mp4", b"other"), ("b.mp4", b"two"), ("b.cls", "walk")).read_bytes()
    bare = second.rstrip(b"\0")
    (tmp_path / "1.tar").write_bytes(first + bare + bytes(-len(bare) % 512 + end))
    (tmp_path / "2.tar").unlink()
    found = find_videos(tmp_path)
    # the label of the first a.mp4 is not that of the second one
    assert labels(found) == {"1.tar/a.mp4": None, "1.tar/b.mp4": "walk", "1.tar/c.mp4": None}
    assert found.notes == ["1 ignored (replaced by a later member of the same name): 1.tar/a.mp4"]
    assert [one.bytes for one in found.videos] == [5, 3, 1]


def test_what_follows_a_tar_is_named(tmp_path: Path) -> None:
    data = shard(tmp_path / "1", ("a.mp4", b"one")).read_bytes()
    (tmp_path / "s.tar").write_bytes(data + b"no tar" * 100)
    found = find_videos(tmp_path)
    assert labels(found) == {"s.tar/a.mp4": None}
    assert "1 ignored (what follows the end of a tar and is no tar): s.tar" in found.notes


def test_a_damaged_header_is_damage(tmp_path: Path) -> None:
    data = bytearray(shard(tmp_path / "1", ("a.mp4", b"one"), ("b.mp4", b"two"), ("c.mp4", b"x")).read_bytes())
    data[1024:1030] = b"damage"  # the header of b.mp4
    (tmp_path / "s.tar").write_bytes(data)
    found = find_videos(tmp_path)
    assert list(labels(found)) == ["s.tar", "s.tar/a.mp4"]
    assert refusals(found) == {
        "s.tar": "a tar file that cannot be read to its end; the members before the damage are used "
        "(there is no header at byte 1024)"
    }


@pytest.mark.parametrize(
    ("size", "why"), [(0, "empty file"), (10240, "a tar without members: it holds only zeros"), (2**40, "only zeros")]
)
def test_a_tar_of_nothing_is_named(size: int, why: str, tmp_path: Path) -> None:
    with (tmp_path / "s.tar").open("wb") as file:
        file.truncate(size)
    (reason,) = refusals(find_videos(tmp_path)).values()
    assert why in reason


def test_a_label_belongs_to_one_sample(tmp_path: Path) -> None:
    shard(
        tmp_path / "s.tar",
        ("v.1.mp4", b"x"),
        ("v.2.mp4", b"x"),
        ("v.1.cls", "run"),  # of v.1.mp4 alone
        ("w.left.mp4", b"x"),
        ("w.right.mp4", b"x"),
        ("w.json", json.dumps({"label": "walk"})),  # of one sample with two videos
        ("x.mp4", b"x"),
        ("x.json", json.dumps({"label": "other"})),
        ("x.cls", "sit"),
        ("folder/x.mp4", b"x"),
        ("y.cls", "nothing"),
        ("y.jpg", b"x"),
    )
    found = find_videos(tmp_path)
    assert labels(found) == {
        "s.tar/folder/x.mp4": "folder",
        "s.tar/v.1.mp4": "run",
        "s.tar/v.2.mp4": None,
        "s.tar/w.left.mp4": "walk",
        "s.tar/w.right.mp4": "walk",
        "s.tar/x.mp4": "sit",
    }
    assert sorted(found.notes) == [
        "1 ignored (.jpg): s.tar/y.jpg",
        "1 ignored (a label without a video): s.tar/y.cls",
        "1 ignored (another label than the first of its sample): s.tar/x.json",
    ]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("s.json", b'{"label": "\\ud800"}', "a label that is not UTF-8"),
        ("s.json", b'{"label": "\xff"}', "a label that is not UTF-8"),
        ("s.json", b'{"label": ', "not JSON"),
        ("s.json", b"[" * 200_000, "not JSON"),
        ("s.cls", b"caf\xe9", "a label that is not UTF-8"),
        ("s.cls", b" " * (SIDECAR_BYTES + 1), f"a label of more than {SIDECAR_BYTES} bytes"),
    ],
)
def test_a_label_that_cannot_be_read_is_named(name: str, data: bytes, why: str, tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", ("run/s.mp4", b"x"), (f"run/{name}", data))
    found = find_videos(tmp_path)
    assert labels(found) == {"a.tar/run/s.mp4": "run"}
    assert found.notes == [f"1 ignored ({why}): a.tar/run/{name}"]


def test_members_whose_names_are_not_utf8_are_videos(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "x.mp4", frames=10).read_bytes()
    (tmp_path / "x.mp4").unlink()
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("caf\udce9/a.mp4", "caf\udcea/a.mp4", "n\tl\n.mp4"):
            member = tarfile.TarInfo(name)
            member.size = len(video)
            tar.addfile(member, io.BytesIO(video))
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.column("path").to_pylist() == [
        "s.tar/caf\\udce9/a.mp4",
        "s.tar/caf\\udcea/a.mp4",
        "s.tar/n\tl\n.mp4",
    ]
    assert index.classes == ("caf\\udce9", "caf\\udcea")
    assert len(index.usable()) == 3


def test_metadata_of_macos_is_no_video(tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", ("a.mp4", b"x"), ("._a.mp4", b"x"), ("__MACOSX/a.mp4", b"x"))
    found = find_videos(tmp_path)
    assert labels(found) == {"s.tar/a.mp4": None}
    assert found.notes == ["2 ignored (macOS metadata): s.tar/._a.mp4, s.tar/__MACOSX/a.mp4"]


def test_a_list_names_no_tar(tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", ("a.mp4", b"x"))
    (tmp_path / "l.txt").write_text("s.tar\n")
    assert refusals(find_videos(tmp_path / "l.txt")) == {
        "s.tar": "a tar file; a list names videos, so name the tar, or its folder, instead of the list"
    }
