"""Puts prepared videos into a bucket: they are made in a folder on a disk, and then uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from vidssl.index.table import VideoIndex
from vidssl.paths import printable
from vidssl.prepare.run import INDEX, LIST
from vidssl.remote import RemotePath, fetch
from vidssl.remote.cache import cache
from vidssl.remote.upload import upload
from vidssl.types import VidsslError

_OF_URL = ".url"  # folder below the local one, of the index whose root is the bucket


def local_folder(out: RemotePath, index: VideoIndex) -> Path:
    """The folder on a disk in which the videos for a bucket are made: one for each URL, in the folder of the cache.

    Raises:
        VidsslError: `out` is no bucket, cannot be reached, or lies in the folder of the videos.
    """
    where = f"prepare: out={str(out)!r}:"
    if str(out).startswith("http"):
        raise VidsslError(f"{where} a web server takes no files; name a bucket (s3://BUCKET/FOLDER) or a folder")
    if isinstance(index.root, RemotePath) and out.is_relative_to(index.root):
        raise VidsslError(f"{where} it lies in the folder of the videos, {str(index.root)!r}; name a folder elsewhere")
    try:
        list(fetch.find(str(out)))
    except OSError as error:
        raise VidsslError(f"{where} {error.strerror}") from error
    return cache().folder / ".prepared" / hashlib.sha256(str(out).encode()).hexdigest()[:16]


def publish(folder: Path, out: RemotePath, lists: Sequence[str]) -> int:
    """Upload what `prepare` made in a folder: the videos, then their lists, and at last an index of them in the bucket.

    Args:
        folder: The folder.
        out: The bucket's folder. What else is in it stays.
        lists: Names of the lists that were copied.

    Returns:
        Number of files that were uploaded; those that are there already are not uploaded again.

    Raises:
        VidsslError: A file cannot be uploaded. What was uploaded stays, and the next call continues.
    """
    made = VideoIndex.load(folder / INDEX)
    paths = made.column("path").to_pylist()
    try:
        count = upload(folder, out, [*paths, LIST, *lists])
        list(fetch.find(str(out)))  # the versions of all files at once
        versions = pa.array([fetch.info(f"{out}/{path}").version for path in paths], pa.int64())
        table = made.table.set_column(made.table.schema.get_field_index("mtime_ns"), "mtime_ns", versions)
        (folder / _OF_URL).mkdir(exist_ok=True)
        VideoIndex(table, out).save(folder / _OF_URL / INDEX)
        return count + upload(folder / _OF_URL, out, [INDEX])
    except OSError as error:
        raise VidsslError(
            f"prepare: out={str(out)!r}: {error.strerror or error}; the videos are in {printable(folder)}, and the "
            "same command goes on uploading"
        ) from error
