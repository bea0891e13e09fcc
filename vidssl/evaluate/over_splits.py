"""An evaluation over the official splits of a data set: each split by itself, then their mean and standard deviation.

Source: papers on UCF101 and HMDB51 report the mean over the three splits of the release.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from vidssl.datasets import Dataset
from vidssl.evaluate.confidence import Estimate
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import TrainedRun
from vidssl.evaluate.splits import Splits, with_columns
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError


def check_splits(dataset: Dataset, numbers: Sequence[int]) -> None:
    """Raises VidsslError unless the data set has lists of all these splits, each named once."""
    known = sorted(int(part.removeprefix("test_")) for part in dataset.parts if part.startswith("test_"))
    known = [number for number in known if f"train_{number}" in dataset.parts]
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(known):
        raise VidsslError(
            f"evaluate: splits={tuple(numbers)}: take one or more of {', '.join(map(str, known))}, each once; "
            f"these are the splits of {dataset.name} that have lists"
        )


def official_splits(dataset: Dataset, index: VideoIndex, numbers: Sequence[int]) -> list[Splits]:
    """Selects the training and test videos of official splits. Labels and groups are those of the data set's lists.

    Args:
        dataset: The data set, with the parts "train_N" and "test_N" of each split N.
        index: The videos of the data set.
        numbers: Numbers of the splits.

    Returns:
        The splits, in the order of their numbers.

    Raises:
        VidsslError: A number is given twice, or the data set has no such split; none of its videos are in the index.
    """
    check_splits(dataset, numbers)
    rows = {(index.root / path).resolve(): row for row, path in enumerate(index.column("path").to_pylist())}

    def part(name: str) -> VideoIndex:
        entries = dataset.parts[name]
        found = {rows[path]: one for one in entries if one.path and (path := one.row()) in rows}
        if not found:
            raise VidsslError(
                f"evaluate: train={str(index.root)!r}: none of the {len(entries)} videos of {name} are there; "
                f"run `vidssl datasets check {dataset.name}` to see what is missing"
            )
        chosen = index.select(sorted(found))
        columns = [(found[row].label, found[row].group) for row in sorted(found)]
        return with_columns(chosen, {"label": [one for one, _ in columns], "group": [one for _, one in columns]})

    return [
        Splits(
            train=part(f"train_{number}"),
            test=part(f"test_{number}"),
            description=f"split {number} of {dataset.name}",
            number=number,
            missing=sum(one.path is None for name in ("train", "test") for one in dataset.parts[f"{name}_{number}"]),
        )
        for number in sorted(numbers)
    ]


def evaluate_over_splits(
    run: TrainedRun,
    splits: Sequence[Splits],
    evaluate: Callable[[Splits, Path | None], Result],
    *,
    out: Path | None = None,
) -> Result:
    """Evaluates every split, and publishes their mean.

    Each split publishes its own result, RUN/KIND_splitN.json; with `out`, it is in `detail.splits` of that file.

    Args:
        run: The run.
        splits: The splits.
        evaluate: Evaluates one split and publishes it in a file; None stands for the run's folder.
        out: JSON file of the mean; None writes RUN/KIND.json.

    Returns:
        A result with a row for each split, their mean, and their standard deviation (of the sample, with n - 1).

    Raises:
        VidsslError: An evaluation fails, or `out` cannot be written.
    """
    alone = None if out is None else Path(os.devnull)  # one file was named, so it has the splits' results too
    results = {int(one.number or 0): evaluate(one, alone) for one in splits}
    first = next(iter(results.values()))
    names = ", ".join(map(str, results))
    result = Result(
        kind=first.kind.rpartition("_split")[0],
        protocol=f"{first.protocol}; mean over the official splits {names}",
        numbers=mean_rows({number: one.numbers for number, one in results.items()}),
        split=", ".join(one.description for one in splits),
        counts={"splits": len(results)},
        weights=first.weights,
        settings={**first.settings, "splits": list(results)},
        notes=tuple(
            f"{one.split}: {', '.join(f'{count} {what}' for what, count in one.counts.items())}. {' '.join(one.notes)}"
            for one in results.values()
        ),
        detail={} if out is None else {"splits": {number: one.as_dict() for number, one in results.items()}},
    )
    data = [one.data() for one in splits]
    videos = {f"{part}_videos": sum(len(getattr(one, part)) for one in splits) for part in ("train", "test")}
    prints = {part: " ".join(str(one[part]) for one in data) for part in ("train", "test")}
    seen = [one.seen.known for one in splits if one.seen.known is not None]
    count = sum(seen) if len(seen) == len(splits) else None
    result.publish(run, {**data[0], **videos, **prints, "test_videos_pretrained_on": count}, out=out)
    return result


def mean_rows(numbers: Mapping[int, Numbers]) -> Numbers:
    """Makes the rows of a table over splits.

    Args:
        numbers: The table of each split.

    Returns:
        Of each row of the tables: the row of every split, the mean and, of two or more splits, the standard deviation.
        Of the row "chance": the mean alone.
    """
    found: Numbers = {}
    first = next(iter(numbers.values()))
    for name, row in first.items():
        every = {number: table[name] for number, table in numbers.items()}
        columns = [column for column in row if all(column in one for one in every.values())]
        values = {column: [one[column].value for one in every.values()] for column in columns}
        means = {column: Estimate(fmean(values[column])) for column in columns}
        if name == "chance":
            found[name] = means
            continue
        found |= {f"{name}, split {number}": one for number, one in every.items()}
        found[f"{name}, mean"] = means
        if len(every) > 1:
            found[f"{name}, standard deviation"] = {column: Estimate(stdev(values[column])) for column in columns}
    return found
