"""Lists the videos in a tar file, the shard of WebDataset.

Each member is a video, the label of one sample, or ignored with a reason. A sample is a video and the `.cls` and
`.json` files of its name. Source: WebDataset's convention that files of one sample share the name up to the first dot
of its last part. A label whose whole name, without its ending, is that of a video belongs to that video alone.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from posixpath import basename, dirname, join, normpath, splitext
from typing import Any, NamedTuple

from vidssl.files import parse_json, stat_regular
from vidssl.index.found import NOT_UTF8, Ignored, VideoFile, as_utf8
from vidssl.index.kinds import EXTENSIONS
from vidssl.index.lines import clean_label
from vidssl.index.transient import NOT_READ, machine_reason
from vidssl.paths import leads_outside

ENDINGS = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")
# limit for a .json or .cls file in a shard, and for the header of a member
SIDECAR_BYTES = 2**20
_SIDECARS = (".cls", ".json")  # where both give a label, the first counts
_FARTHEST = 2**63 - 1  # the largest int64: a forged offset or size may exceed what the index can hold
_LINKS = 40  # links that one link may lead through, as in Linux
_BLOCK = 512
_READ = 2**20  # bytes of zeros that are read at once
SPARSE = "a sparse member of a tar, whose bytes are not contiguous; pack it without --sparse"
_DAMAGED = "a tar file that cannot be read to its end; the members before the damage are used"
_REPLACED = "replaced by a later member of the same name"
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
    b"\x1f\x9d": ("compress", "uncompress"),
    **{b"BZh%d1AY&SY" % level: ("bzip2", "bunzip2") for level in range(1, 10)},
}


class _Data(NamedTuple):
    """The name of a member as stored, and the member that holds its bytes, which a hard link shares."""

    name: str
    member: tarfile.TarInfo


def is_tar(name: str) -> bool:
    """Return True if a file is named like a tar, which may be compressed."""
    return name.lower().endswith(ENDINGS)


def find_in_tar(path: Path, name: str, ignored: Ignored) -> list[VideoFile]:
    """The videos in a tar. If it cannot be read to its end, the tar itself is one of them, refused with the reason.

    Tars that were joined into one file are read one after the other.

    Args:
        path: The tar.
        name: Its path in the source.
        ignored: Gets the members that are neither videos nor labels.
    """
    if as_utf8(name) != name:
        return [VideoFile(path=as_utf8(name), label=None, refused=NOT_UTF8)]
    videos: dict[str, VideoFile] = {}
    why = ""
    try:
        size = stat_regular(path).st_size
        with path.open("rb", buffering=0) as file:
            reader = _Bounded(file, size)
            why, place = reader.refusal(), 0
            while not why and place < size:
                part = _Part(name, ignored)
                why, place = part.read(reader, place)
                for key, video in part.videos(reader).items():
                    if key in videos:
                        ignored.add(_REPLACED, videos[key].path)
                    videos[key] = video
    except OSError as error:
        machine = machine_reason(error, path)
        why = f"{NOT_READ}{machine}" if machine else f"cannot be read: {error.strerror}"
    tar = [VideoFile(path=name, label=None, refused=as_utf8(why))] if why else []
    return [*tar, *videos.values()]


class _Bounded:
    """A file for tarfile that refuses large reads; tarfile would allocate as much memory as a header asks for."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self.size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= SIDECAR_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes; the limit is {SIDECAR_BYTES}")
        return bytes(self._file.read(size))

    def at(self, place: int, size: int) -> bytes:
        """The bytes at a place, fewer at the end of the file."""
        self.seek(place)
        return self.read(size)

    def refusal(self) -> str:
        """Why the file cannot hold members, or ""."""
        begin = self.at(0, _BLOCK)
        for magic, (kind, command) in _COMPRESSED.items():
            if begin.startswith(magic):
                return f"compressed with {kind}, but members are read in place; decompress it once with {command}"
        if not begin:
            return "empty file"
        return "a tar without members: it holds only zeros" if self.next_data(0) == self.size else ""

    def next_data(self, place: int) -> int:
        """The place of the first byte that is not zero, from `place` on; the size of the file if there is none."""
        while place < self.size:
            try:
                place = os.lseek(self._file.fileno(), place, os.SEEK_DATA)  # over a hole, which may be huge
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
            data = self.at(place, _READ)
            found = data.lstrip(b"\0")
            if found or not data:
                return place + len(data) - len(found) if found else self.size
            place += len(data)
        return self.size


class _Part:
    """The members of one tar.

    Args:
        tar: Path of the file in the source.
        ignored: Gets the members that are neither videos nor labels.
    """

    def __init__(self, tar: str, ignored: Ignored) -> None:
        self._tar, self._ignored = tar, ignored
        self._files: dict[str, _Data] = {}  # by their normalised names; symbolic links are still links

    def read(self, reader: _Bounded, start: int) -> tuple[str, int]:
        """Read the headers from `start` on.

        Returns:
            Why the file cannot be read to its end, or "", and the place of the next tar in the file.
        """
        end, last = start, -1
        try:
            reader.seek(start)
            with tarfile.open(fileobj=reader, mode="r:") as tar:  # type: ignore[call-overload]
                while (member := tar.next()) is not None:
                    if member.offset <= last or member.size < 0:  # it would lead to an earlier member, without end
                        raise tarfile.ReadError(f"the header at byte {member.offset} leads backwards")
                    last = member.offset
                    self._add(member)
                end = tar.offset
        # tarfile does not check headers: a damaged one raises any error, such as IndexError or RecursionError
        except Exception as error:
            return f"{_DAMAGED} ({error})", end
        # tarfile stops at the zeros that end a tar and, without a word, at a header that is none
        if any(reader.at(end, _BLOCK)):
            if end > start:
                return f"{_DAMAGED} (there is no header at byte {end})", end
            self._ignore("what follows the end of a tar and is no tar", "")
            return "", reader.size
        following = reader.next_data(end)
        return "", max(following // _BLOCK * _BLOCK, start + _BLOCK) if following < reader.size else reader.size

    def videos(self, reader: _Bounded) -> dict[str, VideoFile]:
        """The videos that were read, with their labels, by their normalised names."""
        videos: dict[str, _Data] = {}
        sidecars: dict[str, _Data] = {}
        for key, data in self._files.items():
            kind = splitext(key)[1].lower()
            member = self._target(key)
            if isinstance(member, str):
                self._ignore(member, data.name)
            elif kind in EXTENSIONS:
                videos[key] = _Data(data.name, member)
            elif kind in _SIDECARS:
                sidecars[key] = _Data(data.name, member)
            else:
                self._ignore(kind or "no ending", data.name)
        labels = self._labels(reader, videos, sidecars)
        return {
            key: VideoFile(
                path=self._path(name),
                label=labels.get(key) or clean_label(as_utf8(basename(dirname(key)))),
                archive=self._tar,
                offset=min(member.offset_data, _FARTHEST),
                bytes=min(member.size, _FARTHEST),
                refused=SPARSE if member.issparse() else "",
            )
            for key, (name, member) in videos.items()
        }

    def _add(self, member: tarfile.TarInfo) -> None:
        name, key = member.name, normpath(member.name)
        if member.isdir():
            return
        if basename(name).startswith("._") or "__MACOSX" in name.split("/"):
            self._ignore("macOS metadata", name)
        elif member.isfile() or member.issym():
            self._put(key, _Data(name, member))
        elif member.islnk():
            target = self._files.get(normpath(member.linkname))
            if leads_outside(member.linkname):
                self._ignore("a hard link that leads out of its tar", name)
            elif target is None:
                self._ignore("a hard link to a file that its tar does not hold before it", name)
            else:
                self._put(key, _Data(name, target.member))
        else:
            self._ignore("neither a file nor a link", name)

    def _put(self, key: str, data: _Data) -> None:
        if key in self._files:
            self._ignore(_REPLACED, self._files[key].name)
        self._files[key] = data

    def _target(self, key: str) -> tarfile.TarInfo | str:
        """The member that has a file's bytes; for a link that leads to none, why it is ignored."""
        for _ in range(_LINKS):
            found = self._files.get(key)
            if found is None:
                return "a symbolic link to no file of its tar"
            if not found.member.issym():
                return found.member
            key = normpath(join(dirname(key), found.member.linkname))
            if leads_outside(key):
                return "a symbolic link that leads out of its tar"
        return "a symbolic link that leads to itself"

    def _labels(
        self, reader: _Bounded, videos: Mapping[str, _Data], sidecars: Mapping[str, _Data]
    ) -> dict[str, str | None]:
        """The labels of videos. Labels of a video's whole name come before those of its sample, .cls before .json."""
        stems: dict[str, list[str]] = {}
        samples: dict[str, list[str]] = {}
        for key in videos:
            stems.setdefault(splitext(key)[0], []).append(key)
            samples.setdefault(_sample(key), []).append(key)

        def rank(key: str) -> tuple[bool, int]:
            stem, kind = splitext(key)
            return stem not in stems, _SIDECARS.index(kind.lower())

        labels: dict[str, str | None] = {}
        for key in sorted(sidecars, key=rank):
            name, member = sidecars[key]
            owners = stems.get(splitext(key)[0]) or samples.get(_sample(key))
            if owners is None:
                self._ignore("a label without a video", name)
                continue
            label, why = _read_label(reader, member, splitext(key)[1].lower())
            if not why and label is not None and any(labels.setdefault(one, label) != label for one in owners):
                why = "another label than the first of its sample"
            if why:
                self._ignore(why, name)
        return labels

    def _ignore(self, kind: str, name: str) -> None:
        self._ignored.add(kind, self._path(name))

    def _path(self, name: str) -> str:
        return as_utf8(f"{self._tar}/{name}" if name else self._tar)


def _sample(key: str) -> str:
    """The name that the files of one sample share."""
    return join(dirname(key), basename(key).partition(".")[0])


def _read_label(reader: _Bounded, member: tarfile.TarInfo, kind: str) -> tuple[str | None, str]:
    """The label in a sidecar, or None if it has none, and why it is ignored, or ""."""
    if member.size > SIDECAR_BYTES:
        return None, f"a label of more than {SIDECAR_BYTES} bytes"
    if member.issparse() or member.offset_data + member.size > reader.size:
        return None, "a label that is not whole"
    data = reader.at(member.offset_data, member.size)
    try:
        content = {"label": data.decode()} if kind == ".cls" else parse_json(data)
        found = content.get("label") if isinstance(content, dict) else None
        label = None if found is None else clean_label(str(found))
        if label is not None:
            label.encode()
    except UnicodeError:
        return None, "a label that is not UTF-8"
    except ValueError:
        return None, "not JSON"
    return label, ""
