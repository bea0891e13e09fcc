"""Names the windows of corrupt videos, and ends a run with too many of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidssl.loader.windows import Failure
from vidssl.paths import open_append, printable
from vidssl.types import VidsslError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """Reports windows whose video is corrupt. A warning names each file once.

    Args:
        path: A .jsonl file that gets a line for each of these windows; None writes no file.
        max_corrupt: Fraction of `videos` that may be corrupt. One video may always be, and 1 allows all.
        videos: Number of videos in the epoch.
    """

    path: Path | None
    max_corrupt: float
    videos: int
    _named: set[int] = field(default_factory=set, init=False)  # files

    def add(self, failures: Sequence[Failure], corrupt_videos: int) -> None:
        """Reports windows that the next video's window replaced.

        Args:
            failures: These windows, at least one.
            corrupt_videos: Number of corrupt videos found so far.

        Raises:
            VidsslError: More videos are corrupt than `max_corrupt` allows.
        """
        for failure in failures:
            if failure.file not in self._named:
                self._named.add(failure.file)
                log.warning(
                    "epoch %d, position %d: %s; the next video takes its place; other windows of the file that cannot "
                    "be read are replaced without a warning",
                    failure.epoch,
                    failure.window.position,
                    printable(failure.reason),
                )
        if self.path is not None:
            with open_append(self.path) as file:
                for failure in failures:
                    where = {"epoch": failure.epoch, **failure.window._asdict()}
                    file.write(json.dumps({**where, "path": failure.path, "reason": failure.reason}) + "\n")
        if self.max_corrupt < 1 and corrupt_videos > max(1, int(self.max_corrupt * self.videos)):
            raise VidsslError(
                f"max_corrupt={self.max_corrupt}: {corrupt_videos} of {self.videos} videos cannot be read, "
                f"the last one because {failures[-1].reason}; "
                "repair or remove them and build the index again, or raise max_corrupt"
            )
