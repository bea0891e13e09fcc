"""Windows that could not be read: named, counted, and too many of them are the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidssl.loader.windows import Failure
from vidssl.paths import appended, shown
from vidssl.types import VidsslError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """path: a .jsonl file that gets a line for each bad window, or none. max_bad: share of `videos` that may be bad;
    one always may.
    """

    path: Path | None
    max_bad: float
    videos: int

    def add(self, bad: Sequence[Failure], known: int) -> None:
        """bad: windows, each replaced by the next video's. known: bad videos until now. Raises VidsslError where these
        are too many.
        """
        for entry in bad:
            reason = shown(entry.reason)
            log.warning(
                "epoch %d, position %d: %s; the next video takes its place", entry.epoch, entry.window.position, reason
            )
        if self.path is not None:
            with appended(self.path) as file:
                for entry in bad:
                    line = {"epoch": entry.epoch, **entry.window._asdict(), "path": entry.path, "reason": entry.reason}
                    file.write(json.dumps(line) + "\n")
        if self.max_bad < 1 and known > max(1, int(self.max_bad * self.videos)):
            raise VidsslError(
                f"max_bad={self.max_bad}: {known} of {self.videos} videos cannot be read, the last one because {bad[-1].reason}; "
                "mend or remove them and index anew, or allow more"
            )
