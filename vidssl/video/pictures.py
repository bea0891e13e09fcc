"""The pictures of a folder of frames: `img_00001.jpg`, `img_00002.jpg`, ... are the frames 0, 1, ... of a video.

The path of such a video is its first picture. FFmpeg's demuxer `image2` reads each picture as one packet.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from av.packet import Packet
from PIL import ExifTags, Image

from vidssl.files import stat_regular

IMAGE2 = "image2"  # FFmpeg's name of the format
LAST = 2**31 - 1  # the largest number of a picture that FFmpeg takes
_NAME = re.compile(r"(?P<before>.*?)(?P<number>[0-9]+)(?P<ending>\.[^.]+)", re.DOTALL)
_EXIF = 2**16  # bytes in which EXIF data begins, if a picture has any


class Numbering(NamedTuple):
    """How the pictures of a folder are named.

    Attributes:
        folder: The folder.
        before: What stands before the number.
        first: Number of the first picture.
        digits: Digits of the number, at least. Numbers with fewer begin with zeros.
        ending: What stands after the number.
    """

    folder: Path
    before: str
    first: int
    digits: int
    ending: str

    @classmethod
    def of(cls, path: Path) -> Numbering | None:
        """The numbering whose first picture is `path`; None if its name has no number before its ending."""
        found = _NAME.fullmatch(path.name)
        if found is None:
            return None
        return cls(path.parent, found["before"], int(found["number"]), len(found["number"]), found["ending"])

    def name(self, frame: int) -> str:
        """The name of the picture of a frame."""
        return f"{self.before}{self.first + frame:0{self.digits}d}{self.ending}"

    @property
    def pattern(self) -> str:
        """The path of all pictures, as FFmpeg writes it."""
        before, after = (text.replace("%", "%%") for text in (f"{self.folder}/{self.before}", self.ending))
        return f"{before}%0{self.digits}d{after}"

    def bytes(self) -> int:
        """Size of all pictures, up to the first number that is missing."""
        total = frame = 0
        while True:
            try:
                total += stat_regular(self.folder / self.name(frame)).st_size
            except OSError:
                return total
            frame += 1

    def fault(self, frame: int) -> str:
        """Why the picture of a frame cannot be read; "" if it can be.

        Raises:
            OSError: The machine is the reason.
        """
        path = self.folder / self.name(frame)
        try:
            if not stat_regular(path).st_size:
                return f"{path.name} is empty"
        except FileNotFoundError:
            return f"{path.name} is missing"
        path.open("rb").close()
        return ""


def is_cut(picture: Packet[Any]) -> bool:
    """Return True if a JPEG picture has no end after its last scan. A decoder may hide that."""
    data = bytes(picture)
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def exif_orientation(picture: Packet[Any]) -> int:
    """How a picture is to be turned by its EXIF data, 1 (not at all) to 8; 1 if it has none that can be read."""
    data = bytes(picture)
    if not any(mark in data[:_EXIF] for mark in (b"Exif", b"eXIf")):
        return 1
    try:
        with Image.open(BytesIO(data)) as opened:
            found = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises many kinds for damaged EXIF data, which then turns nothing
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1
