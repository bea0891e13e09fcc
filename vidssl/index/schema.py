"""schema: the columns of an index."""

from __future__ import annotations

import json

import pyarrow as pa

VERSION = 3  # of the file; another is refused
_POINT = pa.struct(
    [
        ("frame", pa.int32()),
        ("packet", pa.int32()),
        *((name, pa.int64()) for name in ("timestamp", "pos", "pts", "dts", "size")),
    ]
)
SCHEMA = pa.schema(
    [
        # relative to the root, with forward slashes; of a member of a tar: the tar's, then its own
        ("path", pa.string()),
        ("label", pa.string()),  # the folder it lies in, or what a shard or a list says; null directly under the root
        ("group", pa.string()),  # what belongs together (a person, a source); null where no list says so
        ("archive", pa.string()),  # of a member: path of the tar; null for a file
        ("offset", pa.int64()),  # of a member: where it begins in the tar, in bytes; null for a file
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
        ("color_matrix", pa.string()),  # names as in vidssl.video.color
        ("color_primaries", pa.string()),
        ("color_range", pa.string()),
        ("chroma_x", pa.float32()),  # chroma sample (0, 0) in luma samples, before it is turned
        ("chroma_y", pa.float32()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        # of each frame: ordinal of the packet it came from; null where that is the frame's own
        ("packet", pa.large_list(pa.int32())),
        ("points", pa.list_(_POINT)),  # where decoding can begin: see vidssl.video.decode.SeekPoints
    ]
)


def parse_metadata(footer: bytes) -> tuple[int | None, str | None, bool]:
    """(version, root, whether that is the folder it was made of): what `VideoIndex.save` put into the schema, by a
    footer's text.

    It is read without Arrow, for a footer may be damaged.
    """
    at = footer.find(b'{"version": ')
    try:
        said, _ = json.JSONDecoder().raw_decode(footer[at:].decode("latin-1")) if at >= 0 else ({}, 0)
        return int(said["version"]), str(said["root"]), bool(said.get("scanned", True))
    except (ValueError, KeyError, TypeError):
        return None, None, False
