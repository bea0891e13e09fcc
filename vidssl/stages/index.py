"""index: what every video of a folder is, found once by decoding it. One Parquet file, one row a video."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from vidssl.stages.decode import Video
from vidssl.stages.scan import make_video, scan
from vidssl.types import VidsslError

VERSION = 1
EXTENSIONS = frozenset({
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip
_KEY = b"vidssl.index"
_POINT = pa.struct(
    [("frame", pa.int32()), ("packet", pa.int32()), *((name, pa.int64()) for name in ("timestamp", "pos", "pts", "dts", "size"))]
)
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the root, with forward slashes
        ("label", pa.string()),  # the folder it lies in; null directly under the root
        ("status", pa.string()),  # "ok", or why it cannot be used
        ("note", pa.string()),  # what is out of the ordinary, although it can be used
        ("frames", pa.int32()),  # frames that really decode, from the first on
        ("frame_rate", pa.float64()),  # average, frames a second
        ("regular", pa.bool_()),  # constant frame rate
        ("width", pa.int32()),  # upright, in pixels
        ("height", pa.int32()),
        ("coded_width", pa.int32()),  # as decoded, before it is turned
        ("coded_height", pa.int32()),
        ("rotation", pa.int32()),  # degrees clockwise that make it stand upright
        ("mirror", pa.bool_()),  # then mirrored left to right
        ("container", pa.string()),
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("color_matrix", pa.string()),  # names as in vidssl.stages.color
        ("color_primaries", pa.string()),
        ("color_range", pa.string()),
        ("chroma_x", pa.float32()),  # chroma sample (0, 0) in luma samples, before it is turned
        ("chroma_y", pa.float32()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("packet", pa.list_(pa.int32())),  # of each frame: ordinal of the packet it came from
        ("points", pa.list_(_POINT)),  # where decoding can begin: see vidssl.stages.decode.SeekPoints
    ]
)


class VideoIndex:
    """The videos of a folder. `table` is a pyarrow.Table of SCHEMA, ordered by path; `root` the folder its paths are relative to."""

    def __init__(self, table: pa.Table, root: Path) -> None:
        self.table, self.root = table, root
        self._frames = np.asarray(table["frames"].to_numpy(), np.int64)
        self._ok = np.asarray(pc.equal(table["status"], "ok").to_numpy(), bool)
        self._videos: dict[int, Video] = {}

    @classmethod
    def build(cls, root: str | os.PathLike[str], *, workers: int | None = None, progress: bool = True) -> VideoIndex:
        """Decode every video under `root` once. A bad file becomes a row that says what is wrong with it.

        workers: threads; None takes one a processor. progress: show a bar. Raises VidsslError where there is no video to index.
        """
        folder = Path(root)
        if not folder.is_dir():
            raise VidsslError(
                f"VideoIndex.build: root={str(root)!r}: {'not a folder' if folder.exists() else 'no such folder'}; name a folder of videos"
            )
        if workers is not None and workers < 1:
            raise VidsslError(f"VideoIndex.build: workers={workers}: take at least 1, or None for one a processor")
        folder = folder.resolve()
        paths = _find(folder)
        if not paths:
            raise VidsslError(
                f"VideoIndex.build: root={str(root)!r}: no video in it; files are known by their ending ({' '.join(sorted(EXTENSIONS))})"
            )
        rows: dict[Path, dict[str, Any]] = {}
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            jobs = {pool.submit(scan, path): path for path in paths}
            try:
                for job in tqdm(as_completed(jobs), total=len(jobs), desc="index", unit="video", disable=None if progress else True):
                    rows[jobs[job]] = job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        full = [{"path": path.relative_to(folder).as_posix(), "label": _label(path, folder), **rows[path]} for path in paths]
        return cls(pa.Table.from_pylist(full, schema=SCHEMA), folder)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one Parquet file; it appears whole or not at all."""
        target = Path(path)
        about = json.dumps({"version": VERSION, "root": str(self.root)}).encode()
        aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(self.table.replace_schema_metadata({_KEY: about}), aside, compression="zstd")
            aside.replace(target)
        except OSError as error:
            raise VidsslError(f"VideoIndex.save: path={str(path)!r}: {error.strerror or error}; name a file that can be written") from error
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> VideoIndex:
        """Read an index. root: where the videos lie now; None takes the folder it was built from."""
        where = f"VideoIndex.load: path={str(path)!r}:"
        if not Path(path).is_file():
            raise VidsslError(f"{where} no such file; make it with `vidssl index FOLDER --out FILE`")
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise VidsslError(f"{where} not a Parquet file ({error}); make it anew with `vidssl index FOLDER --out FILE`") from error
        about = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        if not about:
            raise VidsslError(f"{where} not an index of vidssl; make one with `vidssl index FOLDER --out FILE`")
        if about["version"] != VERSION:
            mend = f"make it anew with `vidssl index {about['root']} --out {path}`"
            raise VidsslError(f"{where} version {about['version']}, this vidssl reads {VERSION}; {mend}")
        folder = Path(root if root is not None else about["root"])
        if not folder.is_dir():
            raise VidsslError(f"{where} its videos are not in root={str(folder)!r} any more; say where with root=")
        return cls(table.replace_schema_metadata(None), folder)

    def is_current(self) -> bool:
        """True where every file is there as it was indexed, by size and time of change. Files that are new are not looked for."""
        rows = self.table.select(["path", "bytes", "mtime_ns"]).to_pylist()
        try:
            states = [(self.root / row["path"]).stat() for row in rows]
        except OSError:
            return False
        return all((now.st_size, now.st_mtime_ns) == (row["bytes"], row["mtime_ns"]) for now, row in zip(states, rows, strict=True))

    def __repr__(self) -> str:
        return f"VideoIndex({len(self)} videos in {str(self.root)!r})"

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def video(self, row: int) -> Video:
        """What decoding row `row` needs. Raises VidsslError for a row that cannot be used."""
        if not 0 <= row < len(self):
            raise VidsslError(f"VideoIndex.video: row={row}: the index has rows 0..{len(self) - 1}")
        if row not in self._videos:
            values = self.table.slice(row, 1).to_pylist()[0]
            if values["status"] != "ok":
                raise VidsslError(f"VideoIndex.video: row={row}: {values['path']} cannot be used: {values['status']}")
            self._videos[row] = make_video(self.root / values["path"], values)
        return self._videos[row]

    def frames(self, row: int) -> int:
        """Number of frames of a row; 0 where it cannot be used."""
        return int(self._frames[row])

    def usable(self, span: int = 1) -> npt.NDArray[np.int64]:
        """Rows that decode and have at least `span` frames."""
        return np.flatnonzero(self._ok & (self._frames >= span)).astype(np.int64)

    def skipped(self, span: int = 1) -> list[tuple[str, str]]:
        """(path, reason) of every row that `usable(span)` leaves out."""
        out = np.setdiff1d(np.arange(len(self)), self.usable(span))
        rows = self.table.select(["path", "status", "frames"]).take(out).to_pylist()
        return [(row["path"], row["status"] if row["status"] != "ok" else f"{row['frames']} frames, {span} are needed") for row in rows]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes (folders), sorted."""
        return tuple(sorted({label for label in self.table["label"].to_pylist() if label is not None}))

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [len(self)]: each row's place in `classes`, -1 for none."""
        code = {name: at for at, name in enumerate(self.classes)}
        return np.asarray([code.get(label, -1) for label in self.table["label"].to_pylist()], np.int64)

    def summary(self, span: int = 1) -> str:
        """A few lines for people: what is there, and what is left out and why."""
        rows = self.usable(span)
        kinds = Counter(self.table["codec"].take(rows).to_pylist())
        lines = [
            f"{len(rows)} of {len(self)} videos usable, {int(self._frames[rows].sum())} frames, {len(self.classes)} classes"
            + (f" ({', '.join(f'{count} {name}' for name, count in kinds.most_common())})" if kinds else "")
        ]
        lines += [f"  left out: {path}: {reason}" for path, reason in self.skipped(span)]
        notes = self.table.select(["path", "note"]).take(rows).to_pylist()
        lines += [f"  note: {row['path']}: {row['note']}" for row in notes if row["note"]]
        return "\n".join(lines)


def _find(folder: Path) -> list[Path]:
    """Video files below `folder` by their ending, sorted; links to folders are followed once, hidden folders are not entered."""
    found, seen = [], set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        found += [Path(base, name) for name in files if Path(name).suffix.lower() in EXTENSIONS]
    return sorted(found)


def _label(path: Path, folder: Path) -> str | None:
    return path.parent.name if path.parent != folder else None
