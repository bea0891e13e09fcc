"""Makes the new videos of `prepare` in a pool, and records each one in the journal."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import pyarrow as pa
from tqdm import tqdm

from vidssl.deadline import FILE_SECONDS, Deadline, FileTimeoutError
from vidssl.index.table import VideoIndex
from vidssl.pools.base import LostError, Part, Pool
from vidssl.prepare.encode import Encoding, encode
from vidssl.prepare.journal import Journal
from vidssl.types import VidsslError

_SECONDS_A_FRAME = 10.0  # enough to encode a large frame on a busy machine


@dataclass(frozen=True)
class _Source:
    """A video to re-encode.

    Attributes:
        row: Its row in the index of all videos.
        index: An index that has it: that of all videos or, for a job that is apart, of this video alone.
        at: Its row in `index`.
    """

    row: int
    index: VideoIndex
    at: int


def make(
    index: VideoIndex,
    out: Path,
    how: Encoding,
    todo: dict[int, str],
    record: Callable[[int, str], None],
    *,
    journal: Journal,
    pool: Pool,
    progress: bool,
) -> None:
    """Makes videos.

    Args:
        index: The source videos.
        out: Folder of the new videos.
        how: The settings.
        todo: The path below `out` of each new video, by the row of its source.
        record: Called with each row when it is done, and with why its video could not be made, or with an empty text.
        journal: Of `out`, open.
        pool: Encodes them.
        progress: Show a progress bar.

    Raises:
        VidsslError: The disk is full.
        KeyboardInterrupt: Ctrl-C. The rows that were done until then are recorded.
    """
    job = partial(_encode_apart, how) if pool.apart else partial(_encode_in_place, out, how, todo, journal)
    sources = (_Source(row, index.alone(row), 0) if pool.apart else _Source(row, index, row) for row in todo)
    count = 0

    def take(part: Part[_Source]) -> None:
        nonlocal count
        row, count = part.item.row, count + 1
        if part.error is not None:
            if not isinstance(part.error, FileTimeoutError | LostError):
                raise part.error
            reason = str(part.error)  # its worker hangs
        elif pool.apart:
            reason = _write(part.results[0], out / todo[row], journal.writing(todo[row]))
        else:
            reason = part.results[0]
        record(row, reason)

    with (
        pool.start(job, sources, name="vidssl-prepare", file=lambda one: one.index.video(one.at).path) as run,
        tqdm(total=len(todo), desc="prepare", unit="video", disable=None if progress else True) as bar,
    ):
        try:
            for parts in run.parts():
                take(parts[0])
                bar.update()
        except KeyboardInterrupt:
            for part in run.rest():
                take(part)
            raise KeyboardInterrupt(
                f"stopped: {count} of {len(todo)} videos are made; the same command continues"
            ) from None


def _encode_in_place(
    out: Path, how: Encoding, todo: dict[int, str], journal: Journal, one: _Source, give: Callable[[str], None]
) -> None:
    """Encodes a video to its file in `out`. Gives why it failed, or an empty text."""
    name = todo[one.row]
    give(_encode(one, how, journal.writing(name), out / name))


def _encode_apart(how: Encoding, one: _Source, give: Callable[[pa.RecordBatch], None]) -> None:
    """Encodes a video. Gives one row: why it failed, or an empty text, and the bytes of the file."""
    with TemporaryDirectory(prefix="vidssl-") as folder:
        file = Path(folder) / "video.mp4"
        reason = _encode(one, how, _plain(file), file)
        video = b"" if reason else file.read_bytes()
    give(pa.record_batch({"reason": [reason], "video": pa.array([video], pa.large_binary())}))


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    yield path


def _encode(one: _Source, how: Encoding, writing: AbstractContextManager[Path], target: Path) -> str:
    """Encodes a video to the path of `writing`, whole or not at all. Returns why it failed, or an empty text."""

    def work() -> None:
        about = {
            name: one.index.column(name)[one.at].as_py()
            for name in ("regular", "frame_rate", "color_range", "color_matrix", "color_primaries")
        }
        video = one.index.video(one.at)
        with (
            Deadline.enter(video.path, video.bytes, FILE_SECONDS + _SECONDS_A_FRAME * video.frames),
            writing as aside,
        ):
            encode(video, about, aside, how)

    return _reason(work, target)


def _write(row: pa.RecordBatch, target: Path, writing: AbstractContextManager[Path]) -> str:
    """Writes what `_encode_apart` gave to the path of `writing`. Returns as `_encode`."""

    def work() -> None:
        with writing as aside:
            aside.write_bytes(row["video"][0].as_buffer())

    return row["reason"][0].as_py() or _reason(work, target)


def _reason(work: Callable[[], None], target: Path) -> str:
    """Calls `work`, which writes to `target`. Returns why it failed, or an empty text."""
    try:
        work()
    # PyAV raises the last three for values of a file that it does not expect
    except (VidsslError, av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # every other file would fail too
            raise VidsslError(
                f"prepare: {target}: no space left on the disk; free some, and call it again: it continues"
            ) from error
        return str(error) or type(error).__name__
    return ""
