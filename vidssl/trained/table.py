"""The features of a data set as a file. A call that was interrupted goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tqdm import tqdm

from vidssl.evaluate.cache import hash_weights
from vidssl.evaluate.layers import Pool
from vidssl.index.journal import Journal, hold_journal, journal_of
from vidssl.index.table import VideoIndex
from vidssl.paths import atomic_write, check_output
from vidssl.trained.encoder import TrainedEncoder, described
from vidssl.types import VidsslError
from vidssl.versions import versions

ENDINGS = (".arrow", ".npy")
_BLOCK = 32  # videos whose features are kept at a time
_SUMMARY = b"vidssl"  # key of the metadata
_ARROW, _NPY = "ARROW1", "\x93NUMPY"
_NAMES = ("path", "label", "group")


def check_table(out: Path) -> None:
    """Raises VidsslError if the features cannot be written to `out`. Call it before the work."""
    if out.suffix not in ENDINGS:
        raise VidsslError(f"out={str(out)!r}: name a file that ends in {' or '.join(ENDINGS)}")
    check_output(out, out.suffix, _ARROW if out.suffix == ".arrow" else _NPY)
    if out.suffix == ".npy":
        check_output(out.with_suffix(".csv"), ".csv", ",".join(_NAMES))


def write_features(
    trained: TrainedEncoder,
    index: VideoIndex,
    out: str | os.PathLike[str],
    *,
    clips: int = 10,
    layer: str | None = None,
    pool: Pool = "avg",
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> int:
    """Write the features of all videos of an index that are usable and long enough for a clip.

    Args:
        trained: The encoder.
        index: The videos.
        out: The file. FILE.arrow is a table (Arrow IPC) with the columns path, label, group (strings, null where there
            is none) and feature (float32 [D]). FILE.npy has the features, float32 [V, D], and FILE.csv beside it has
            path, label and group of each row. Until it is complete, finished rows are in .NAME.partial beside it.
        clips: Clips of a video, over which its feature is the mean.
        layer: Name of the layer whose output is the feature; None takes the encoder's own feature.
        pool: How a layer's output is pooled, see vidssl.evaluate.layers.pooled.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: Threads that decode; None takes one per processor core.
        progress: Show a progress bar.

    Returns:
        The number of videos whose features an interrupted call had already computed.

    Raises:
        VidsslError: The file cannot be written, or would replace a file of another kind; no video is long enough, or
            one cannot be read.
    """
    target = Path(out)
    check_table(target)
    rows = index.usable(trained.extent)
    if not len(rows):
        raise VidsslError(f"features: none of the {len(index)} videos has the frames of a clip; name longer videos")
    journal = journal_of(target)
    text = _about(trained, clips, layer, pool)
    with hold_journal(journal):
        with Journal(journal, _schema(text)) as book:
            known = _known(book.found)
            missing = [row for row in rows.tolist() if _identity(index, row) not in known]
            with tqdm(
                total=len(rows), initial=len(rows) - len(missing), desc="features", unit="video", disable=not progress
            ) as bar:
                for at in range(0, len(missing), _BLOCK):
                    block = missing[at : at + _BLOCK]
                    found = trained.extract(
                        index.select(block),
                        clips=clips,
                        layer=layer,
                        pool=pool,
                        device=device,
                        workers=workers,
                        progress=False,
                    ).feature.numpy()
                    keys = [_identity(index, row) for row in block]
                    known |= dict(zip(keys, found, strict=True))
                    book.add([_batch(keys, found, book.schema)])
                    bar.update(len(block))
        feature = np.stack([known[_identity(index, row)] for row in rows.tolist()])
        _write(target, index.select(rows), feature, text)
        journal.unlink(missing_ok=True)
    return len(rows) - len(missing)


def _about(trained: TrainedEncoder, clips: int, layer: str | None, pool: Pool) -> str:
    """JSON: everything that a feature depends on beside the video."""
    weights = hashlib.sha256()
    hash_weights(weights, trained.encoder)
    shown = {"clips": clips, "layer": layer, "pool": pool, "weights": weights.hexdigest()}
    return json.dumps({**described(trained), **shown})


Key = tuple[str, int, int, int]


def _identity(index: VideoIndex, row: int) -> Key:
    """Path, place in its archive, size and time of change of a video: another file has another one."""
    video = index.video(row)
    offset = -1 if video.member is None else video.member.offset
    return index.column("path")[row].as_py(), offset, video.bytes, video.mtime_ns


def _schema(about: str) -> pa.Schema:
    """Of the journal. The metadata makes it ignore rows of another encoder or of other clips."""
    columns = [("path", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())]
    text = json.dumps([about, versions()["vidssl"]])
    return pa.schema([*columns, ("feature", pa.list_(pa.float32()))], {_SUMMARY: text.encode()})


def _batch(keys: list[Key], feature: npt.NDArray[np.float32], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array(column) for column in zip(*keys, strict=True)]
    return pa.RecordBatch.from_arrays([*columns, pa.array(list(feature), pa.list_(pa.float32()))], schema=schema)


def _known(table: pa.Table) -> dict[Key, npt.NDArray[np.float32]]:
    keys = zip(*(table[name].to_pylist() for name in ("path", "offset", "bytes", "mtime_ns")), strict=True)
    feature = (np.array(one.values, np.float32) for one in table["feature"])
    return dict(zip(keys, feature, strict=True))


def _write(out: Path, videos: VideoIndex, feature: npt.NDArray[np.float32], text: str) -> None:
    names = [videos.column(name).to_pylist() for name in _NAMES]
    try:
        if out.suffix == ".npy":
            with atomic_write(out.with_suffix(".csv")) as aside, aside.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([_NAMES, *zip(*names, strict=True)])
            with atomic_write(out) as aside, aside.open("wb") as file:
                np.save(file, feature)
            return
        flat = pa.FixedSizeListArray.from_arrays(pa.array(feature.ravel()), feature.shape[1])
        columns = [*(pa.array(one, pa.string()) for one in names), flat]
        table = pa.table(columns, names=[*_NAMES, "feature"]).replace_schema_metadata({_SUMMARY: text.encode()})
        with atomic_write(out) as aside, pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, table.schema) as to:
            to.write_table(table)
    except OSError as error:
        raise VidsslError(
            f"out={str(out)!r}: {error.strerror or error}; free some space there, or name another file; the features "
            "so far are kept, and the same command continues"
        ) from error
