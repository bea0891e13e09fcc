"""ahead: a batch whose windows are being fetched."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from vidssl.loader.worker import Fetched, Fetcher, Room
from vidssl.deadline import Late
from vidssl.workers import Workers


class Ahead(NamedTuple):
    """Batch `number` of `epoch`. places: of the first tuple of each window in the epoch."""

    epoch: int
    number: int
    places: Sequence[int]
    windows: list[Future[Fetched]]
    rooms: Sequence[Room | None]

    def result(self, at: int, fetcher: Fetcher, pool: Workers) -> Fetched:
        """Waits for window `at`. Where its worker hangs in a file, another worker takes the next video."""
        while True:
            try:
                return self.windows[at].result()
            except Late as late:
                fetcher.give_up(self.epoch, self.places[at], late)
                self.windows[at] = pool.submit(fetcher, self.epoch, self.places[at], self.rooms[at])
