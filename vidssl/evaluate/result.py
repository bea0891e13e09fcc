"""The result of an evaluation, in one format for all kinds: a table for people, a JSON file for programs, and
TensorBoard for both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from vidssl.evaluate.confidence import Estimate
from vidssl.evaluate.run import TrainedRun
from vidssl.paths import check_output, markdown_code, printable, write_output
from vidssl.train.log import events_folder
from vidssl.versions import versions

# row ("trained", "untrained", "chance") -> column ("R@1", "linear") -> fraction
Numbers = dict[str, dict[str, Estimate]]

BEGINS = '{\n "kind": "'  # of the JSON file


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an evaluation.

    Attributes:
        kind: Kind of evaluation, such as "retrieval".
        protocol: Name of the protocol, and its source.
        numbers: Fractions in 0..1, by row and column of the table.
        split: How the videos were split, in words.
        counts: Numbers of videos, classes and so on.
        settings: Other settings that the numbers depend on.
        notes: Sentences for people.
        weights: Which of the checkpoint's weights gave the numbers: "raw", or their moving average ("ema").
        detail: Further results, only in the JSON file.
    """

    kind: str
    protocol: str
    numbers: Numbers
    split: str
    counts: dict[str, int]
    settings: dict[str, Any]
    weights: Literal["ema", "raw"]
    notes: tuple[str, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """A table for people, in percent, with 95 % intervals."""
        columns = list(dict.fromkeys(column for row in self.numbers.values() for column in row))
        head = f"{self.kind}, % ({self.weights} weights)"
        wide = max(len(name) + 2 for name in (head, *self.numbers))
        lines = [f"{head:{wide}s}" + "".join(f"  {column:>21s}" for column in columns)]
        for name, row in self.numbers.items():
            lines.append(f"{name:{wide}s}" + "".join(f"  {_cell(row.get(column)):>21s}" for column in columns))
        counted = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return "\n".join(map(printable, [*(line.rstrip() for line in lines), f"{counted}; {self.split}", *self.notes]))

    def as_dict(self) -> dict[str, Any]:
        """What a JSON file says of it."""
        numbers = {name: {at: one._asdict() for at, one in row.items()} for name, row in self.numbers.items()}
        return {**asdict(self), "numbers": numbers}

    def publish(
        self,
        run: TrainedRun,
        data: Mapping[str, object],
        *,
        out: Path | None = None,
        images: Mapping[str, Path] | None = None,
    ) -> Path:
        """Writes the JSON file, and the run's TensorBoard entries unless `out` names another place for the result.

        Args:
            run: The run that was evaluated.
            data: The videos that it was evaluated on, as `Splits.data` describes them.
            out: The JSON file, which is then all that is written; None writes KIND.json in the run's folder.
            images: PNG files by name, for TensorBoard.

        Returns:
            Path of the JSON file.

        Raises:
            VidsslError: The JSON file cannot be written.
        """
        about = {
            **self.as_dict(),
            "data": dict(data),
            "seed": run.recipe.train.seed,
            "checkpoint": str(run.path),
            "step": run.step,
            "pretrained_on": run.meta["data"],
            "recipe": run.recipe.as_dict(),
            "versions": versions(),
            "images": {name: path.name for name, path in (images or {}).items()},
        }
        check_output(out, ".json", BEGINS)
        target = out if out is not None else run.folder / f"{self.kind}.json"
        write_output(target, json.dumps(about, indent=1) + "\n", argument="evaluate: out")
        if out is None:
            self._to_board(run, images or {})
        return target

    def _to_board(self, run: TrainedRun, images: Mapping[str, Path]) -> None:
        """Writes the run's TensorBoard entries."""
        with SummaryWriter(str(events_folder(run.folder))) as board:
            for name, row in self.numbers.items():
                for column, one in row.items():
                    board.add_scalar(f"{self.kind}/{name}/{column}", one.value, run.step)
            board.add_text(self.kind, markdown_code(self.text()), run.step)
            for name, path in images.items():
                board.add_image(
                    f"{self.kind}/{name}", np.asarray(Image.open(path).convert("RGB")), run.step, dataformats="HWC"
                )


def _cell(one: Estimate | None) -> str:
    if one is None:
        return ""
    interval = "" if one.low is None or one.high is None else f" [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    return f"{100 * one.value:.1f}{interval}"
