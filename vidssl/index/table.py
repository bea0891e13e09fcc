"""The index of a source: one row for each video, found by decoding every video once.

An index is one Arrow file that is mapped into memory. Opening it reads no rows: an index of a million rows opens at
once, and all processes share its pages. Before data is used, it is compared with its checksums
(vidssl.index.checksums), either a whole column or a single row.

This file is long because one class is all that others see of an index: how it is made, kept and read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidssl.checks import is_whole
from vidssl.deadline import check_timeout
from vidssl.index.build import read_videos
from vidssl.index.checksums import ARROW, ChecksummedFile, has_mark, write_checksummed
from vidssl.index.classes import sort_classes
from vidssl.index.found import VideoFile
from vidssl.index.frames import FRAME_RATE, check_rate, with_rate
from vidssl.index.journal import Journal, hold_journal
from vidssl.index.lists import is_list
from vidssl.index.recent import RecentVideos
from vidssl.index.row import FRAMES, make_video
from vidssl.index.rows import check_row, check_rows
from vidssl.index.scan import KeepsFrames
from vidssl.index.schema import READABLE, SCHEMA, VERSION, check_column, complete, parse_metadata
from vidssl.index.sources import find_videos
from vidssl.index.summary import listed
from vidssl.index.transient import NOT_READ, certain
from vidssl.index.unchanged import identity, rows_of_unchanged, taken
from vidssl.paths import atomic_write, printable
from vidssl.pools.base import Engine
from vidssl.pools.choose import open_pool
from vidssl.remote import RemotePath, as_path, local_copy
from vidssl.types import VidsslError
from vidssl.video.decode import Video

ENDING = ".arrow"
_KEY = b"vidssl.index"
_HEAD = 2**16  # bytes at either end of a file that hold its schema
_BATCH = 2**14  # rows per record batch; keeps lists of packets far below Arrow's limit of 2^31 items
_STREAMS = 2**16  # more video streams than any file has

_IDENTITY = ("path", "archive", "offset", "bytes", "mtime_ns")
# Matches a path whose text leads out of the root: the same rule as vidssl.paths.leads_outside.
_LEAVES = r"^/|(^|/)\.\.(/|$)"
_SINGLE = [name for name in SCHEMA.names if name not in ("packet", "checksums", "motion")]


class VideoIndex:
    """The videos of a folder, of the shards in a folder, or of a list.

    Args:
        table: A pyarrow.Table with the columns of SCHEMA.
        root: The folder that all paths are relative to and stay below. Links in it are followed.
        rows: int64, the rows of `table` that this index has, in order. None takes all rows.
        sealed: The mapped file that `table` comes from, if any.
        source: The folder that was indexed, or the folder of the list. None where a loaded file does not record it.

    Attributes:
        read: Number of videos that `build` read.
        listed: True if `build` indexed a list or a shard. A saved index does not keep it.
        notes: What `build` found worth knowing about the source. A saved index does not keep them.

    Raises:
        VidsslError: The file is damaged. Every method that reads rows raises this too.
    """

    def __init__(
        self,
        table: pa.Table,
        root: Path,
        *,
        rows: npt.NDArray[np.int64] | None = None,
        sealed: ChecksummedFile | None = None,
        source: Path | None = None,
    ) -> None:
        self._table, self._rows, self._sealed, self.root, self.source, self.read = table, rows, sealed, root, source, 0
        self.notes, self.listed = list[str](), False
        self._recent = RecentVideos()
        self._whole: VideoIndex | None = None  # of which this index is a part
        self._frames = np.asarray(self.column("frames").to_numpy(), np.int64)
        self._ok = np.asarray(pc.equal(self.column("status"), "ok").to_numpy(), bool)

    @classmethod
    def build(
        cls,
        root: str | os.PathLike[str],
        *,
        known: VideoIndex | None = None,
        journal: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        progress: bool = True,
        file_timeout: float | None = None,
        stream: int | None = None,
        frames: str = "*",
        frame_rate: float = FRAME_RATE,
        store: KeepsFrames | None = None,
        engine: Engine = "local",
    ) -> VideoIndex:
        """Decode every video of a source once.

        A file that cannot be used becomes a row whose `status` gives the reason. If the machine is the reason, such as
        a missing permission (vidssl.index.transient), the next build reads the file again. If no file can be used, the
        index says why (`skipped`), and what needs a video of it raises VidsslError: Loader, train, FrameStore.fill.

        Args:
            root: A folder, or a list; each may be a URL, s3:// or https://. In a folder, the members of WebDataset
                shards (*.tar) are videos too, and so are folders of frames: numbered pictures such as img_00001.jpg. A
                list (.csv, .txt, .tsv) has the columns path[,label[,group]], or on each line a path, `PATH LABEL`, or
                `FOLDER FRAMES LABEL` for a folder of frames. It may name files anywhere; the root of the index is then
                the deepest folder that holds them.
            known: An earlier index. Rows of files that have not changed since are taken from it.
            journal: A file that keeps finished rows until the build is complete. An interrupted build resumes from it.
            workers: Number of threads. None takes one per processor.
            progress: Show a progress bar.
            file_timeout: Seconds that one file may take, plus one second for each MiB of the file and for each decoded
                frame. None takes 60. A file that takes longer cannot be used.
            stream: Takes this one of each file's video streams, counted from 0. None takes the one that players take.
            frames: Pattern of the names of frames, for folders that hold pictures of several numberings.
            frame_rate: Frames per second of the folders of frames.
            store: A FrameStore, which keeps the frames of the files that are read.
            engine: Where the files are read. "local": in threads of this process. "ray": on the nodes of a Ray cluster,
                the one that RAY_ADDRESS names or the one of this machine. They must see the files under the same paths.
                Such a build keeps no frames: call `store.fill` with the same engine afterwards.

        Raises:
            VidsslError: The source has no videos, an argument is out of range, or another process uses the journal.
            KeyboardInterrupt: Ctrl-C, within about two seconds; the journal then has all finished rows.
        """
        root = as_path(root, "VideoIndex.build: root")
        journal = None if journal is None else as_path(journal, "VideoIndex.build: journal")
        check_timeout("VideoIndex.build", file_timeout)
        _check_options(workers, stream, known, store)
        check_rate("VideoIndex.build", frame_rate)
        if store is not None and engine != "local":
            raise VidsslError(
                f"VideoIndex.build: engine={engine!r}, store={store!r}: its nodes do not write to a store; build "
                f"without one, and call store.fill(index, engine={engine!r}) afterwards"
            )
        folder, found, notes = find_videos(root, frames)
        with ExitStack() as stack:
            pool = stack.enter_context(open_pool("VideoIndex.build", engine, workers))
            book = None
            if journal is not None:
                stack.enter_context(hold_journal(journal))
                schema = SCHEMA.with_metadata({_KEY: os.fsencode(folder)})
                book = stack.enter_context(Journal(journal, schema))
            seen = certain([*([] if known is None else [known.table]), *([] if book is None else [book.found])])
            at = rows_of_unchanged(folder, found, seen, stream)
            kept = [found[number] for number in np.flatnonzero(at >= 0)]
            fresh = [found[number] for number in np.flatnonzero(at < 0)]
            read = read_videos(
                folder,
                fresh,
                journal=book,
                pool=pool,
                progress=progress,
                file_timeout=file_timeout,
                stream=stream,
                store=store,
            )
        old_rows = taken(seen, at[at >= 0])
        for name in ("label", "group"):  # the source decides these, not the file
            old_rows = old_rows.set_column(
                SCHEMA.get_field_index(name), name, pa.array([getattr(one, name) for one in kept], pa.string())
            )
        table = with_rate(pa.concat_tables([old_rows, read]), frame_rate)
        whole = root.resolve()
        index = cls(
            taken(table, pc.sort_indices(table["path"]).to_numpy().astype(np.int64)),
            folder,
            source=whole if whole.is_dir() else whole.parent,
        )
        index.read, index.notes, index.listed = len(fresh), notes, not whole.is_dir()
        return index

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index as one Arrow IPC file. The file appears complete or not at all.

        Raises:
            VidsslError: The file cannot be written, or exists and is no index.
        """
        target = Path(as_path(path, "VideoIndex.save: path"))
        check_replaceable(target, f"VideoIndex.save: path={str(path)!r}")
        about = json.dumps({"version": VERSION, "root": str(self.root), "scanned": self.source == self.root}).encode()
        try:
            with atomic_write(target) as aside:
                write_checksummed(aside, self.table.replace_schema_metadata({_KEY: about}), _BATCH)
        except OSError as error:
            raise VidsslError(
                f"VideoIndex.save: path={str(path)!r}: {error.strerror or error}; name a file that can be written"
            ) from error

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, allow_outside: bool = False
    ) -> VideoIndex:
        """Map an index into memory.

        Args:
            path: The file that `save` wrote.
            root: Folder of the videos now. None takes the folder that was indexed.
            allow_outside: Accept an index that names files outside of its root (absolute paths or ".."). Such files are
                opened when their rows are used.

        Raises:
            VidsslError: The file is missing, damaged, not an index or of another version; its root is not a folder; or
                it names files outside of its root.
        """
        path = as_path(path, "VideoIndex.load: path")
        where = f"VideoIndex.load: path={str(path)!r}:"
        try:
            path = local_copy(path)
        except OSError as error:
            raise VidsslError(f"{where} {error.strerror}") from error
        if path.is_dir() or is_list(path):
            what = "a folder" if path.is_dir() else "a list of videos"
            raise VidsslError(
                f"{where} {what}, not an index; VideoIndex.build({str(path)!r}) indexes it, and `save` writes the index"
            )
        if not path.is_file():
            raise VidsslError(f"{where} no such file; make it with `vidssl index FOLDER --out FILE{ENDING}`")
        try:
            sealed = ChecksummedFile(path, f"`vidssl index FOLDER --out {path}`", _KEY)
        except OSError as error:
            raise VidsslError(f"{where} {error.strerror or error}; name a file that can be read") from error
        version, made_of, scanned = parse_metadata(sealed.footer)
        if made_of is None:
            raise VidsslError(f"{where} not an index of vidssl; make one with `vidssl index FOLDER --out FILE{ENDING}`")
        sealed.hint = f"`vidssl index {made_of} --out {path}`"
        if version not in READABLE:
            newer = "use the newer vidssl that wrote it, or " if version is not None and version > VERSION else ""
            raise VidsslError(
                f"{where} version {version}, but this vidssl reads versions {' and '.join(map(str, READABLE))}; "
                f"{newer}delete it and build it again with {sealed.hint}"
            )
        table = sealed.open()  # checks the file before its content is used
        folder = as_path(root if root is not None else made_of, "VideoIndex.load: root")
        if not isinstance(folder, RemotePath) and not folder.is_dir():
            raise VidsslError(f"{where} root={str(folder)!r} is not a folder; pass the folder of its videos as root=")
        index = cls(table, folder, sealed=sealed, source=folder if scanned else None)
        if not allow_outside and (outside := index._outside()):
            raise VidsslError(
                f"{where} it names {printable(outside)}, outside of its root {printable(folder)}; "
                f"build it again with {sealed.hint}, or, if you trust it, pass allow_outside=True (--allow-outside)"
            )
        return index

    def _outside(self) -> str:
        """The first file whose path, by its text, is not below the root; "" if all are."""
        files = pc.coalesce(self.column("archive"), self.column("path"))
        at = pc.index(pc.match_substring_regex(files, _LEAVES), True).as_py()
        return files[at].as_py() if at >= 0 else ""

    @property
    def table(self) -> pa.Table:
        """All columns of all rows."""
        if self._sealed is not None:
            return complete(self._sealed.columns(self._table.schema.names, self._rows))
        return self._table if self._rows is None else self._table.take(self._rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of SCHEMA, for all rows.

        Raises:
            VidsslError: There is no column of this name.
        """
        check_column(name)
        if name not in self._table.schema.names:
            return pa.chunked_array([pa.nulls(len(self), SCHEMA.field(name).type)])
        if self._sealed is not None:
            return self._sealed.columns([name], self._rows)[name]
        return self._table[name] if self._rows is None else self._table[name].take(pa.array(self._rows))

    def select(self, rows: npt.ArrayLike) -> VideoIndex:
        """Return an index of the given rows, in the given order. A mapped table stays mapped.

        Its `classes` are those of this index, also those of which it has no video.

        Args:
            rows: Numbers of rows, from 0, or a mask bool [len(self)] that is True for the rows to take.

        Raises:
            VidsslError: A number is no row of this index, or the mask has another length.
        """
        chosen = check_rows(rows, len(self), "VideoIndex.select")
        chosen = chosen if self._rows is None else self._rows[chosen]
        part = VideoIndex(self._table, self.root, rows=chosen, sealed=self._sealed, source=self.source)
        part._whole = self if self._whole is None else self._whole
        return part

    def alone(self, row: int) -> VideoIndex:
        """Return an index of one row, which is pickled without anything of the other rows."""
        return VideoIndex(self.select([row]).table, self.root)

    def is_current(self) -> bool:
        """Return True if every file still exists with the size and modification time that the index records.

        New files are not looked for.
        """
        known = zip(*(self.column(name).to_pylist() for name in _IDENTITY), strict=True)
        return all(identity(self.root, one) == row for one, row in zip(self.recorded(), known, strict=True))

    def recorded(self) -> Iterator[VideoFile]:
        """Yield the video of each row as its source lists it, without label and group.

        Raises:
            VidsslError: The index is damaged.
        """
        columns = (self.column(name).to_pylist() for name in ("path", "archive", "offset", "bytes"))
        return (VideoFile.recorded(*row) for row in zip(*columns, strict=True))

    @property
    def named_parts(self) -> list[tuple[str, VideoIndex, npt.NDArray[np.int64]]]:
        """The data sets: a name, an index, and int64 [N]: where its rows are in this one. A single set has no name."""
        return [("", self, np.arange(len(self)))]

    def __repr__(self) -> str:
        return f"VideoIndex({len(self)} videos in {str(self.root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows, not the mapped file, and for a part the classes of the whole."""
        return VideoIndex, (self.table, self.root), None if self._whole is None else {"classes": self.classes}

    def __len__(self) -> int:
        return len(self._frames)

    def video(self, row: int) -> Video:
        """Return what decoding needs for a row.

        Raises:
            VidsslError: The row does not exist, is damaged, or cannot be used.
        """
        at = self._checked("video", row)
        video = self._recent.get(row)
        if video is None:
            video = self._read_video(row, at)
            self._recent.add(row, video)
        return video

    def _read_video(self, row: int, at: int) -> Video:
        """Reads the video of a row, which is at position `at` of the table."""
        ends, batches = self._batches
        number = int(np.searchsorted(ends, at, side="right"))
        batch, place = batches[number], at - (int(ends[number - 1]) if number else 0)
        values: dict[str, Any] = {name: batch[name][place].as_py() if name in batch else None for name in _SINGLE}
        if values["status"] != "ok":
            raise VidsslError(f"VideoIndex.video: row={row}: {values['path']} cannot be used: {values['status']}")
        packet, sums = batch["packet"][place], batch["checksums"][place]
        values["packet"] = (
            packet.values.to_numpy() if packet.is_valid else np.arange(min(values["frames"], FRAMES), dtype=np.int32)
        )
        values["checksums"] = sums.values.to_numpy() if sums.is_valid else []
        return make_video(self.root / (values["archive"] or values["path"]), values)

    @cached_property
    def _batches(self) -> tuple[npt.NDArray[np.int64], list[dict[str, pa.Array]]]:
        """(row of the table after the last one of each record batch, columns of each record batch by name).

        Slicing the table for one row takes five times as long.
        """
        batches = self._table.to_batches()
        columns = [dict(zip(batch.schema.names, batch.columns, strict=True)) for batch in batches]
        return np.cumsum([len(batch) for batch in batches], dtype=np.int64), columns

    def row(self, row: int) -> dict[str, Any]:
        """Return all columns of a row by name, also of a video that cannot be used.

        Raises:
            VidsslError: The row does not exist or is damaged.
        """
        at = self._checked("row", row)
        values: dict[str, Any] = complete(self._table.slice(at, 1)).to_pylist()[0]
        return values

    def motion(self, row: int) -> npt.NDArray[np.uint16]:
        """How much the picture of a row changes from frame to frame.

        Returns:
            uint16 [frames - 1], the mean absolute change of luma from frame f to frame f + 1, in 1/256 grey levels, as
            vidssl.kernels.motion measures it (on blocks of 4 x 4 pixels of the native frames). Empty if the row cannot
            be used. A view of the index's memory, not to be written to.

        Raises:
            VidsslError: The row does not exist or is damaged.
        """
        at = self._checked("motion", row)
        values: npt.NDArray[np.uint16] = self._table["motion"][at].values.to_numpy()
        if len(values) != max(self.frames(row) - 1, 0):
            raise VidsslError(
                f"VideoIndex.motion: row={row}: {len(values)} values for {self.frames(row)} frames: "
                "the index is damaged; index the videos again"
            )
        return values

    def _checked(self, method: str, row: int) -> int:
        """The position of a row in the table, after comparing its checksum."""
        row = check_row(row, len(self), f"VideoIndex.{method}")
        at = row if self._rows is None else int(self._rows[row])
        if self._sealed is not None:
            self._sealed.check_row(at)
        return at

    def name(self, row: int) -> str:
        """The name of a row in messages: the path of its file, or its number if the row cannot be read."""
        try:
            return str(self.video(row).path)
        except VidsslError:
            return f"row {row} of the index"

    @cached_property
    def files(self) -> npt.NDArray[np.int64]:
        """int64 [len(self)]: for each row, the first row of the same file. Only excerpts share a file."""
        if not self.has_excerpts:
            return np.arange(len(self))
        path, archive, offset = (self.column(name) for name in ("path", "archive", "offset"))
        file = pc.if_else(pc.is_null(offset), pc.coalesce(archive, path), path)
        if isinstance(file, pa.ChunkedArray):
            file = file.combine_chunks()
        _, first, place = np.unique(file.dictionary_encode().indices.to_numpy(), return_index=True, return_inverse=True)
        return np.asarray(first[place], np.int64)

    def excerpts(self) -> npt.NDArray[np.int64]:
        """int64 [N]: the usable rows that are segments of their files (vidssl.index.excerpts), ascending."""
        if not self.has_excerpts:
            return np.zeros(0, np.int64)
        return np.flatnonzero(pc.is_valid(self.column("excerpt")).to_numpy()).astype(np.int64)

    @property
    def has_excerpts(self) -> bool:
        """False if no row of the table is an excerpt. It counts nulls, and reads no column, which may be damaged."""
        names = self._table.schema.names
        return "excerpt" in names and self._table["excerpt"].null_count < len(self._table)

    def frames(self, row: int) -> int:
        """Number of frames of a row; 0 if the row cannot be used.

        Raises:
            VidsslError: The row does not exist.
        """
        return int(self._frames[check_row(row, len(self), "VideoIndex.frames")])

    def usable(self, span: int = 1) -> npt.NDArray[np.int64]:
        """int64 [N]: the rows that decode and have at least `span` frames, ascending."""
        if not is_whole(span, -(2**63), 2**63):
            raise VidsslError(f"VideoIndex.usable: span={span!r}: take a number of frames")
        return np.flatnonzero(self._ok & (self._frames >= span)).astype(np.int64)

    def skipped(self, span: int = 1) -> list[tuple[str, str]]:
        """(path, reason) for every row that `usable(span)` leaves out."""
        out = self.select(np.setdiff1d(np.arange(len(self)), self.usable(span)))
        columns = (out.column(name).to_pylist() for name in ("path", "status", "frames"))
        return [
            (path, status if status != "ok" else f"{frames} frames, but {span} are needed")
            for path, status, frames in zip(*columns, strict=True)
        ]

    def why_none(self, span: int = 1) -> str:
        """Says for an error why `usable(span)` is empty: the first videos and their reasons."""
        some = "; ".join(f"{printable(path)}: {printable(reason)}" for path, reason in self.skipped(span)[:3])
        return f"for instance {some}" if some else "the index is empty"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: numbers by their value, then the others as text. A part has those of the whole."""
        return self._whole.classes if self._whole is not None else tuple(sort_classes(self._own_classes()))

    def _own_classes(self) -> list[str]:
        found: list[str] = pc.unique(self.column("label").drop_null()).to_pylist()
        return found

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [len(self)]: each row's index in `classes`; -1 for a row without a label."""
        found = pc.index_in(self.column("label"), pa.array(self.classes, pa.string()))
        return np.asarray(found.fill_null(-1).to_numpy(), np.int64)

    def summary(self, span: int = 1) -> str:
        """A short summary for people: the usable videos, and which rows are left out and why."""
        rows = self.usable(span)
        kinds = Counter(self.select(rows).column("codec").to_pylist())
        frames = int(self._frames[rows].sum())
        lines = [
            f"{len(rows)} of {len(self)} videos usable, {frames} frames, {len(self._own_classes())} classes"
            + (f" ({', '.join(f'{count} {name}' for name, count in kinds.most_common())})" if kinds else "")
        ]
        skipped = self.skipped(span)
        lines += listed("left out", skipped)
        unread = sum(reason.startswith(NOT_READ) for _, reason in skipped)
        if unread:
            lines.append(
                f"  {unread} of these could not be read on this machine now; the same command tries them again"
            )
        noted = self.select(rows[np.asarray(pc.not_equal(self.select(rows).column("note"), "").to_numpy(), bool)])
        lines += listed(
            "note", list(zip(noted.column("path").to_pylist(), noted.column("note").to_pylist(), strict=True))
        )
        return "\n".join([*lines, *(f"  note: {printable(note)}" for note in self.notes)])


def _check_options(workers: object, stream: object, known: object, store: object) -> None:
    """Raise VidsslError if an option of `build` that may be None is of a wrong type, or out of its range."""
    for name, value, good, fix in (
        ("workers", workers, is_whole(workers, 1, 2**63), "take at least 1, or None for one per processor"),
        ("stream", stream, is_whole(stream, 0, _STREAMS - 1), "count from 0; None takes what players take"),
        ("known", known, isinstance(known, VideoIndex), "take a VideoIndex, or None"),
        ("store", store, hasattr(store, "keeper"), "take a FrameStore, or None"),
    ):
        if value is not None and not good:
            raise VidsslError(f"VideoIndex.build: {name}={value!r}: {fix}")


def check_replaceable(path: Path, where: str) -> None:
    """Raise VidsslError if a file exists that is no index, whole or damaged: it may be a list of videos, or a video.

    What is in a file .arrow and no Arrow file may be what a full disk or a crash left of an index.
    """
    if not path.is_file():
        return
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = file.read(_HEAD)
            file.seek(max(size - _HEAD, 0))
            data += file.read()
    except OSError:  # writing the file reports the same
        return
    another = path.suffix != ENDING or (data.startswith(ARROW) and data.endswith(ARROW))
    if data and another and not has_mark(data, _KEY):
        raise VidsslError(f"{where}: this file exists and is no index of vidssl; name another file")
