"""The columns of an index."""

from __future__ import annotations

import json

import pyarrow as pa

from vidssl.checks import is_word
from vidssl.types import VidsslError

VERSION = 5  # version of the file format
READABLE = (4, VERSION)  # 4 lacks the column `excerpt`; others are refused
_POINT = pa.struct(
    [
        ("frame", pa.int32()),
        ("packet", pa.int32()),
        *((name, pa.int64()) for name in ("timestamp", "pos", "pts", "dts", "size")),
    ]
)
_EXCERPT = pa.struct(
    [
        ("lead", pa.int32()),  # number of frames in `packet` that come before the excerpt's frame 0
        ("checked", pa.int32()),  # number of the packet of checksums[0]
    ]
)
SCHEMA = pa.schema(
    [
        # relative to the root, with forward slashes; for a member of a tar: path of the tar, then name of the member
        ("path", pa.string()),
        ("label", pa.string()),  # its folder's name, or from a shard or list; null directly under the root
        ("group", pa.string()),  # videos that belong together (a person, a source), from a list; else null
        # the file to open if it is not `path`: of a member of a tar, the tar; of a folder of frames, its first picture;
        # of an excerpt, the file
        ("archive", pa.string()),
        ("offset", pa.int64()),  # for a member: its first byte in the tar; null for a file
        ("status", pa.string()),  # "ok", or why the video cannot be used
        ("note", pa.string()),  # what is unusual about a usable video
        ("frames", pa.int32()),  # number of frames that decode, from the first on
        # The row covers frames start..end-1 of a sequential decode of the stream; its frame 0 is that decode's
        # frame `start`. Null if it covers all frames from the first on; set where the picture's size changes, and for
        # an excerpt.
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("frame_rate", pa.float64()),  # average, in frames per second
        ("regular", pa.bool_()),  # True for a constant frame rate; null if the file has no times
        ("width", pa.int32()),  # upright picture, in pixels
        ("height", pa.int32()),
        ("coded_width", pa.int32()),  # as decoded, before rotation, in pixels
        ("coded_height", pa.int32()),
        ("rotation", pa.int32()),  # clockwise, in degrees, to make the picture upright
        ("mirror", pa.bool_()),  # True if mirrored left to right after the rotation
        ("container", pa.string()),
        ("stream", pa.int32()),  # number of its stream in the container, which every later opening takes
        ("number", pa.int32()),  # the video stream that was asked for (`--stream`); null for the one that players take
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("color_matrix", pa.string()),  # names as in vidssl.video.color
        ("color_primaries", pa.string()),
        ("color_range", pa.string()),
        ("chroma_x", pa.float32()),  # position of chroma sample (0, 0) in luma samples, before rotation
        ("chroma_y", pa.float32()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        # number of each frame's packet; null if frame n comes from packet n for all frames. Of an excerpt, also of
        # frames around it, and `points` and `checksums` belong to these: see vidssl.index.excerpts.
        ("packet", pa.large_list(pa.int32())),
        # CRC-32 of each packet, and of what the container tells a decoder: see vidssl.video.packets.Checksums
        ("checksums", pa.large_list(pa.uint32())),
        ("header_checksum", pa.uint32()),
        ("droppable", pa.bool_()),  # True if packets that no other frame needs may be skipped
        # [frames - 1], mean absolute change of luma from frame f to f + 1, of the native frames, in 1/256 grey levels:
        # see vidssl.index.motion
        ("motion", pa.large_list(pa.uint16())),
        ("points", pa.list_(_POINT)),  # where decoding can begin: see vidssl.video.packets.SeekPoints
        ("excerpt", _EXCERPT),  # null for a whole video
    ]
)


def check_column(name: object) -> None:
    """Raise VidsslError if no column of an index has this name."""
    if not is_word(name, SCHEMA.names):
        raise VidsslError(f"column={name!r}: an index has the columns {', '.join(SCHEMA.names)}")


def complete(table: pa.Table) -> pa.Table:
    """A table of a version that can be read, with all columns of SCHEMA."""
    for field in SCHEMA:
        if field.name not in table.schema.names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def parse_metadata(footer: bytes) -> tuple[int | None, str | None, bool]:
    """Parse the metadata that `VideoIndex.save` stores in the schema, from the bytes of a file's footer.

    Arrow is not used, because the footer may be damaged.

    Args:
        footer: The bytes of the footer.

    Returns:
        (version, root, True if the root is the folder that was indexed). Version and root are None if there is no
        metadata of an index.
    """
    at = footer.find(b'{"version": ')
    try:
        content, _ = json.JSONDecoder().raw_decode(footer[at:].decode("latin-1")) if at >= 0 else ({}, 0)
        return int(content["version"]), str(content["root"]), bool(content.get("scanned", True))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # of infinite numbers, or nested deeply
        return None, None, False
