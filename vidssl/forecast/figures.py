"""The result of `estimate`. Each figure says where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

from vidssl.paths import many_of, printable, readable
from vidssl.store.choose import PART

Source = Literal["measured here", "from the index", "from a sample", "extrapolated", "given", "not measured"]
AS_THEY_ARE, PREPARED = "decode the videos", "decode prepared ones"
_NAMED = 3  # files that cannot be used and are named
_BUSY = 0.8  # share of a processor below which the text says that trials waited
_FITS = {True: "yes", False: "no", None: "-"}
SOURCES = {
    "measured here": "on this machine, within the seconds that this command ran",
    "from the index": "computed from the rows of the index, without an error",
    "from a sample": "computed from the files that were looked at, times how much more all files are",
    "extrapolated": "processor time measured here, taken to grow linearly with the work and with the cores",
    "given": "by an option",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number, and where it comes from.

    Attributes:
        value: The number; None where it is not known.
        source: Where it comes from.
        error: Twice its standard error as a fraction of it, from how much the videos of a trial differ; None where that
            is not known. What the machine does otherwise is not in it.
        reason: Why it is not known.
    """

    value: float | None
    source: Source
    error: float | None = None
    reason: str = ""

    @property
    def about(self) -> str:
        """The source, with the error or the reason."""
        error = "" if self.error is None else f", ± {100 * self.error:.0f} %"
        return f"{self.source}{error}{f': {self.reason}' if self.reason else ''}"

    def times(self, factor: float, source: Source) -> Figure:
        """The figure times a factor, from another source if it is known."""
        return self if self.value is None else replace(self, value=factor * self.value, source=source)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a data set will cost, and what training on it waits for.

    Attributes:
        data: The videos.
        videos: Number of them.
        looked: Files that were read for it.
        failed: Why files could not be used, of those.
        usable: Videos that can be used.
        frames: Their frames.
        seconds: How long the trials took.
        share: Processor time of the trials with one thread, as a fraction of their time; below 1 they waited for a
            disk, or for other work of the machine.
        cores_here: Cores of this machine that this process may use.
        cores: Cores of a node.
        gpus: GPUs in all.
        gpus_per_node: GPUs of a node.
        work: Hours of one core, by what is done: processor time, without what a disk makes it wait.
        sizes: Bytes, by what is kept.
        rooms: Bytes that frames may take, by place. Of memory, it is what `--store-backend auto` takes at most.
        loads: Samples per second that a core loads, by how.
        wanted: Samples per second that a GPU trains on.
        stored: Which of `sizes` the store of `loads` has.
    """

    data: str
    videos: int
    looked: int
    failed: list[str]
    usable: Figure
    frames: Figure
    seconds: float
    share: float
    cores_here: int
    cores: int
    gpus: int
    gpus_per_node: int
    work: dict[str, Figure]
    sizes: dict[str, Figure]
    rooms: dict[str, Figure]
    loads: dict[str, Figure]
    wanted: Figure
    stored: str

    @property
    def nodes(self) -> int:
        """Nodes that the GPUs are in."""
        return -(-self.gpus // self.gpus_per_node)

    def hours(self, work: str, cores: int) -> Figure:
        """Hours of a work with a number of cores, to which it is proportional."""
        found = self.work[work]
        return found.times(1 / cores, found.source)

    def load(self, way: str) -> float | None:
        """Samples per second that the cores of a node load, to which it is taken to be proportional."""
        value = self.loads[way].value
        return None if value is None else value * self.cores

    def fits(self, kept: str, place: str) -> bool | None:
        """Whether what is kept fits into a place; None where one of them is not known."""
        need, room = self.sizes[kept].value, self.rooms[place].value
        return None if need is None or room is None else need <= room

    def limit(self, way: str) -> Literal["GPUs", "loading"] | None:
        """What training is limited by, if a node loads in this way; None where it is not known."""
        load, wanted = self.load(way), self.wanted.value
        if load is None or wanted is None:
            return None
        return "GPUs" if load >= wanted * self.gpus_per_node else "loading"

    def conclusion(self) -> str:
        """Returns one sentence: what training is limited by, and what would help."""
        known = {way: load for way in self.loads if (load := self.load(way)) is not None}
        if not known:
            return "How fast videos load could not be measured, so what limits training is not known."
        best = max(known, key=lambda way: known[way])
        if self.wanted.value is None:
            each = _number(known[best] / self.gpus_per_node)
            return (
                "What limits training is not known without the samples that a GPU trains on; loading gives each GPU at "
                f"most {each} a second, with {best!r}."
            )
        wanted = self.wanted.value * self.gpus_per_node
        whole = f"the {_number(wanted)} samples a second that {many_of(self.gpus_per_node, 'GPU')} of a node train on"
        way = next((way for way in self.loads if self.limit(way) == "GPUs"), None)
        if way is None:
            cores = ceil(self.cores * wanted / known[best])
            return (
                f"Training is limited by loading: {best!r}, the fastest way, gives {known[best] / wanted:.0%} of "
                f"{whole}, for which {many_of(cores, 'core')} a node would be enough."
            )
        if way == AS_THEY_ARE:
            return f"Training is limited by the GPUs: to decode the videos as they are is enough for {whole}."
        as_is = known.get(AS_THEY_ARE)
        why = "" if as_is is None else f", as decoding the videos as they are gives {as_is / wanted:.0%} of {whole}"
        return f"Training is limited by the GPUs only with {way!r}{self._where(way)}{why}."

    def _where(self, way: str) -> str:
        """Where the frames of a store fit, for the conclusion."""
        if way != self.stored:
            return ""
        places = [place for place in self.rooms if self.fits(way, place)]
        return f" (fits into: {', '.join(places)})" if places else " (which fits into none of the places above)"

    def text(self) -> str:
        """Returns the figures as tables, with the conclusion."""
        lines = [
            f"{printable(self.data)}: {many_of(self.videos, 'video')}; {many_of(self.looked, 'file')} looked at, "
            f"{self.seconds:.0f} s of trials on {many_of(self.cores_here, 'core')}",
            f"  usable videos {_number(self.usable.value)}, frames {_number(self.frames.value)}  ({self.frames.about})",
            *(f"  cannot be used: {printable(one)}" for one in self.failed[:_NAMED]),
        ]
        if len(self.failed) > _NAMED:
            lines.append(f"  and {len(self.failed) - _NAMED} more of those looked at")
        if self.share < _BUSY:
            lines.append(
                f"  trials with one thread had a processor for {self.share:.0%} of their time: they waited for a disk "
                "or for other work; time and loading below are for processor time alone"
            )
        tables = (self._hours_table(), self._room_table(), self._load_table())
        return "\n".join([*lines, *(line for rows in tables for line in ("", *_laid(rows))), "", self.conclusion()])

    def _hours_table(self) -> list[list[str]]:
        counts = sorted({1, self.cores, self.cores * self.nodes})
        return [
            ["time with", *(many_of(count, "core") for count in counts), ""],
            *(
                [name, *(_time(self.hours(name, count).value) for count in counts), one.about]
                for name, one in self.work.items()
            ),
        ]

    def _room_table(self) -> list[list[str]]:
        return [
            ["fits into", "bytes", *self.rooms, ""],
            ["", "", *(_size(one) for one in self.rooms.values()), f"room for frames ({PART:.0%} of memory)"],
            *(
                [name, _size(one), *(_FITS[self.fits(name, place)] for place in self.rooms), one.about]
                for name, one in self.sizes.items()
            ),
        ]

    def _load_table(self) -> list[list[str]]:
        count = f"a node ({many_of(self.cores, 'core')}, {many_of(self.gpus_per_node, 'GPU')})"
        rows = [["samples a second", "a core", count, "a GPU", "limited by", ""]]
        for way, one in self.loads.items():
            node = self.load(way)
            each = None if node is None else node / self.gpus_per_node
            limit = self.limit(way) or "-"
            about = one.about if node is None else f"a core: {one.about}; a node: linear in cores"
            rows.append([way, *map(_number, (one.value, node, each)), limit, about])
        each = self.wanted.value
        node = None if each is None else each * self.gpus_per_node
        return [*rows, ["what GPUs train on", "", _number(node), _number(each), "", self.wanted.about]]

    def as_dict(self) -> dict[str, Any]:
        """Returns all figures, as they are written to a JSON file."""
        return {
            **asdict(self),
            "nodes": self.nodes,
            "limits": {way: self.limit(way) for way in self.loads},
            "conclusion": self.conclusion(),
            "sources": SOURCES,
        }


def _laid(rows: list[list[str]]) -> list[str]:
    """Rows as lines of aligned columns; numbers are at the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
            + [row[-1]]
        ).rstrip()
        for row in rows
    ]


def _number(value: float | None) -> str:
    """A number with three digits or, of large ones, without a fraction."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _time(hours: float | None) -> str:
    """Hours, in a unit in which people would say them."""
    if hours is None:
        return "-"
    seconds = round(3600 * hours)
    if seconds < 100:
        return f"{seconds} s" if seconds else "below 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{hours:,.1f} h"


def _size(one: Figure) -> str:
    return "-" if one.value is None else readable(int(max(one.value, 0)))
