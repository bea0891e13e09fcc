"""index: what every video of a source is, found once by decoding it. One Arrow file, one row a video, mapped into
memory.

A mapped file is not read when it is opened: a million rows open at once, and every process shares their pages. What is
read of it is compared with its checksums first (vidssl.index.checksums): the whole column, or the one row.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import Future, as_completed
from contextlib import nullcontext
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from vidssl.deadline import FileTimeoutError, check_timeout
from vidssl.index.checksums import ChecksummedFile, write_checksummed
from vidssl.index.journal import Journal
from vidssl.index.row import FRAMES, make_video
from vidssl.index.scan import scan, unusable
from vidssl.index.schema import SCHEMA, VERSION, parse_metadata
from vidssl.index.sources import VideoFile, find_videos
from vidssl.paths import atomic_write, printable
from vidssl.types import VidsslError
from vidssl.video.decode import Video
from vidssl.workers import Workers

ENDING = ".arrow"
_KEY = b"vidssl.index"
_BATCH = 2**14  # rows of a record batch: its lists of packets stay far below the 2^31 items that Arrow allows
_SAVED = 64  # rows between two entries of the journal
_LISTED = 20  # rows that a summary names

_IDENTITY = ("path", "archive", "offset", "bytes", "mtime_ns")
# Of a path that leads out of the root by its text: the same rule as vidssl.paths.leads_outside.
_LEAVES = r"^/|(^|/)\.\.(/|$)"
_SCALARS = [name for name in SCHEMA.names if name not in ("packet", "points")]


class VideoIndex:
    """The videos of a folder, of shards in it, or of a list. `root` is the folder that paths are relative to, and stay
    below; links in it are followed.

    table: a pyarrow.Table of SCHEMA. rows: int64, the rows of it that count, in their order; None takes all. sealed:
    the mapped file that `table` is of, if it is. source: the folder of which it was made, or that of the list; None
    where a file that was loaded does not say.
    read: files that `build` read. Raises VidsslError, here and wherever rows are read, where the file is damaged.
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
    ) -> VideoIndex:
        """Decode every video of `root` once. A bad file becomes a row that says what is wrong with it.

        root: a folder (WebDataset shards in it, *.tar, count by their members), or a list: .txt with a path a line, or
        .csv with the columns path[,label[,group]], which may name files anywhere: the index's root is then the folder
        that holds them all. known: rows of files that have not changed since are taken from it. journal: a file that
        keeps finished rows until all are; a build that was cut off goes on with them. workers: threads; None takes one
        a processor. progress: show a bar. file_timeout: seconds that a file may take, with one more for each MiB of it
        and each frame that comes; None takes 60. What takes longer is a bad file. Raises VidsslError where there is no
        video to index.
        """
        check_timeout("VideoIndex.build", file_timeout)
        if workers is not None and workers < 1:
            raise VidsslError(f"VideoIndex.build: workers={workers}: take at least 1, or None for one a processor")
        folder, found = find_videos(Path(root))
        book = None if journal is None else Journal(Path(journal), SCHEMA.with_metadata({_KEY: str(folder).encode()}))
        old = [] if known is None else [known.table]
        if book is not None:
            old.append(book.found.replace_schema_metadata(None))
        seen = pa.concat_tables([SCHEMA.empty_table(), *old])
        place = {key: at for at, key in enumerate(zip(*(seen[name].to_pylist() for name in _IDENTITY), strict=True))}
        kept, fresh = [], []
        for one in found:
            key = _identity(folder, one)
            at = None if key is None else place.get(key)
            if at is None:
                fresh.append(one)
            else:
                kept.append((one, at))
        batches: list[pa.RecordBatch] = []
        with book or nullcontext(), Workers(workers or os.cpu_count() or 1, "vidssl-index") as pool:
            jobs = {
                pool.submit(scan, folder / one.file, one.offset, one.bytes, one.refused, file_timeout): one
                for one in fresh
            }
            bar = tqdm(
                as_completed(jobs), total=len(jobs), desc="index", unit="video", disable=None if progress else True
            )
            done = (_row(jobs[job], job) for job in bar)
            while rows := list(islice(done, _SAVED)):
                batches.append(pa.RecordBatch.from_pylist(rows, SCHEMA))
                if book is not None:
                    book.add(batches[-1:])
        old_rows = seen.take(pa.array([at for _, at in kept], pa.int64()))
        for name in ("label", "group"):  # these are said by the source, not by the file
            old_rows = old_rows.set_column(
                SCHEMA.get_field_index(name), name, pa.array([getattr(one, name) for one, _ in kept], pa.string())
            )
        table = pa.concat_tables([old_rows, pa.Table.from_batches(batches, SCHEMA)])
        whole = Path(root).resolve()
        index = cls(
            table.take(pc.sort_indices(table["path"])), folder, source=whole if whole.is_dir() else whole.parent
        )
        index.read = len(fresh)
        return index

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one Arrow IPC file; it appears whole or not at all."""
        target = Path(path)
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
        """Map an index into memory. root: where the videos lie now; None takes the folder it was built from.

        allow_outside: take it too where it names files outside of its root (absolute paths, ..), which are then opened
            when asked for.
        """
        where = f"VideoIndex.load: path={str(path)!r}:"
        if not Path(path).is_file():
            raise VidsslError(f"{where} no such file; make it with `vidssl index FOLDER --out FILE{ENDING}`")
        try:
            sealed = ChecksummedFile(Path(path), f"`vidssl index FOLDER --out {path}`")
        except OSError as error:
            raise VidsslError(f"{where} {error.strerror or error}; name a file that can be read") from error
        version, made_of, scanned = parse_metadata(sealed.footer)
        if made_of is None:
            raise VidsslError(f"{where} not an index of vidssl; make one with {sealed.hint}")
        sealed.hint = f"`vidssl index {made_of} --out {path}`"
        if version != VERSION:
            raise VidsslError(
                f"{where} version {version}, this vidssl reads {VERSION}; delete it, and make it anew with {sealed.hint}"
            )
        table = sealed.open()  # before anything is done by what it says
        folder = Path(root if root is not None else made_of)
        if not folder.is_dir():
            raise VidsslError(f"{where} its videos are not in root={str(folder)!r} any more; say where with root=")
        index = cls(table, folder, sealed=sealed, source=folder if scanned else None)
        if not allow_outside and (outside := index._outside()):
            raise VidsslError(
                f"{where} it names {printable(outside)}, outside of its root {printable(folder)}; make it anew with {sealed.hint}, "
                "or, if you trust it, say allow_outside=True (--allow-outside)"
            )
        return index

    def _outside(self) -> str:
        """The first file that is not below the root by the text of its path; "" where all are."""
        files = pc.coalesce(self.column("archive"), self.column("path"))
        at = pc.index(pc.match_substring_regex(files, _LEAVES), True).as_py()
        return files[at].as_py() if at >= 0 else ""

    @property
    def table(self) -> pa.Table:
        """All columns of all rows."""
        if self._sealed is not None:
            return self._sealed.columns(SCHEMA.names, self._rows)
        return self._table if self._rows is None else self._table.take(self._rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of SCHEMA, of all rows."""
        if self._sealed is not None:
            return self._sealed.columns([name], self._rows)[name]
        return self._table[name] if self._rows is None else self._table[name].take(pa.array(self._rows))

    def select(self, rows: npt.ArrayLike) -> VideoIndex:
        """An index of some rows, in that order. What is mapped stays so."""
        chosen = np.asarray(rows, np.int64)
        chosen = chosen if self._rows is None else self._rows[chosen]
        return VideoIndex(self._table, self.root, rows=chosen, sealed=self._sealed, source=self.source)

    def is_current(self) -> bool:
        """True where every file is there as it was indexed, by size and time of change. Files that are new are not
        looked for.
        """
        columns = [self.column(name).to_pylist() for name in _IDENTITY]
        return all(
            _identity(
                self.root,
                VideoFile(path=path, label=None, archive=archive, offset=offset, bytes=size if archive else None),
            )
            == (path, archive, offset, size, mtime)
            for path, archive, offset, size, mtime in zip(*columns, strict=True)
        )

    def __repr__(self) -> str:
        return f"VideoIndex({len(self)} videos in {str(self.root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Goes to another process as its rows, not as the file."""
        return VideoIndex, (self.table, self.root)

    def __len__(self) -> int:
        return len(self._frames)

    def video(self, row: int) -> Video:
        """What decoding row `row` needs. Raises VidsslError for a row that cannot be used."""
        if not 0 <= row < len(self):
            raise VidsslError(f"VideoIndex.video: row={row}: the index has rows 0..{len(self) - 1}")
        at = row if self._rows is None else int(self._rows[row])
        if self._sealed is not None:
            self._sealed.check_row(at)
        values: dict[str, Any] = self._table.slice(at, 1).select(_SCALARS).to_pylist()[0]
        if values["status"] != "ok":
            raise VidsslError(f"VideoIndex.video: row={row}: {values['path']} cannot be used: {values['status']}")
        packet = self._table["packet"][at]
        values["packet"] = (
            packet.values.to_numpy() if packet.is_valid else np.arange(min(values["frames"], FRAMES), dtype=np.int32)
        )
        values["points"] = self._table["points"][at].as_py()
        return make_video(self.root / (values["archive"] or values["path"]), values)

    def name(self, row: int) -> str:
        """What to call a row in messages: the path of its file, or its number where it cannot be read."""
        try:
            return str(self.video(row).path)
        except VidsslError:
            return f"row {row} of the index"

    def frames(self, row: int) -> int:
        """Number of frames of a row; 0 where it cannot be used."""
        return int(self._frames[row])

    def stored_sizes(self) -> set[tuple[str, int, int]]:
        """(codec, height, width) of videos as they are stored, each once; also of those that `select` left out."""
        names = ["codec", "coded_height", "coded_width", "status"]
        found = self._table.select(names).group_by(names).aggregate([])
        rows = zip(*(found[name].to_pylist() for name in names), strict=True)
        return {(codec, height, width) for codec, height, width, status in rows if status == "ok"}

    def usable(self, span: int = 1) -> npt.NDArray[np.int64]:
        """Rows that decode and have at least `span` frames."""
        return np.flatnonzero(self._ok & (self._frames >= span)).astype(np.int64)

    def skipped(self, span: int = 1) -> list[tuple[str, str]]:
        """(path, reason) of every row that `usable(span)` leaves out."""
        out = self.select(np.setdiff1d(np.arange(len(self)), self.usable(span)))
        columns = (out.column(name).to_pylist() for name in ("path", "status", "frames"))
        return [
            (path, status if status != "ok" else f"{frames} frames, {span} are needed")
            for path, status, frames in zip(*columns, strict=True)
        ]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted(pc.unique(self.column("label").drop_null()).to_pylist()))

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [len(self)]: each row's place in `classes`, -1 for none."""
        found = pc.index_in(self.column("label"), pa.array(self.classes, pa.string()))
        return np.asarray(found.fill_null(-1).to_numpy(), np.int64)

    def summary(self, span: int = 1) -> str:
        """A few lines for people: what is there, and what is left out and why."""
        rows = self.usable(span)
        kinds = Counter(self.select(rows).column("codec").to_pylist())
        lines = [
            f"{len(rows)} of {len(self)} videos usable, {int(self._frames[rows].sum())} frames, {len(self.classes)} classes"
            + (f" ({', '.join(f'{count} {name}' for name, count in kinds.most_common())})" if kinds else "")
        ]
        lines += _listed("left out", self.skipped(span))
        noted = self.select(rows[np.asarray(pc.not_equal(self.select(rows).column("note"), "").to_numpy(), bool)])
        lines += _listed(
            "note", list(zip(noted.column("path").to_pylist(), noted.column("note").to_pylist(), strict=True))
        )
        return "\n".join(lines)


def _listed(what: str, said: list[tuple[str, str]]) -> list[str]:
    """A line each; of many, the first ones, and how many more there are of each reason."""
    lines = [f"  {what}: {printable(path)}: {printable(reason)}" for path, reason in said[:_LISTED]]
    more = Counter(reason for _, reason in said[_LISTED:])
    lines += [f"  {what}: {count} more: {printable(reason)}" for reason, count in more.most_common(_LISTED)]
    rest = sum(count for _, count in more.most_common()[_LISTED:])
    return [*lines, f"  {what}: {rest} more, for other reasons"] if rest else lines


def _identity(root: Path, one: VideoFile) -> tuple[Any, ...] | None:
    """What a row is known by, now; None where the file is not there."""
    try:
        now = os.stat(root / one.file)
    except OSError:
        return None
    return one.path, one.archive, one.offset, one.bytes if one.archive else now.st_size, now.st_mtime_ns


def _row(one: VideoFile, job: Future[dict[str, Any]]) -> dict[str, Any]:
    """A row of SCHEMA, also of a file that its worker never came back from."""
    try:
        row = job.result()
    except FileTimeoutError as late:
        row = unusable(late.reason)
    if row["packet"] == list(range(len(row["packet"]))):
        row["packet"] = None
    return {
        "path": one.path,
        "label": one.label,
        "group": one.group,
        "archive": one.archive,
        "offset": one.offset,
        **row,
    }
