"""A fine-tuning that is resumed takes its settings from its record; what the command gives is compared with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidssl.encoders import check_trusted
from vidssl.evaluate.finetune import FineTune, finetune_folder
from vidssl.train.config import TrainConfig, tuples
from vidssl.train.recorded import changes, free_settings
from vidssl.types import VidsslError

log = logging.getLogger(__name__)

_TESTED = ("select", "clips", "crops")  # how it is tested, which changes nothing that is learnt
_FIX = "move that folder away"


def find_begun(run: Path, how: FineTune, numbers: Sequence[int | None]) -> Path:
    """Returns the folder of a fine-tuning to resume; of several official splits, the first that has begun.

    Args:
        run: The run's folder.
        how: Its init names the folder.
        numbers: Numbers of the official splits; one None if the videos are split otherwise.

    Raises:
        VidsslError: None has begun; the message names those that have.
    """
    folders = [finetune_folder(run, how, number) for number in numbers]
    for folder in folders:
        if has_begun(folder):
            return folder
    begun = sorted(path.parent.name for path in (run / "finetune").glob("*/run.json"))
    there = f"those that have are {', '.join(begun)}: --init and --dataset say which one is meant" if begun else ""
    asked = " or ".join(repr(str(folder)) for folder in folders) or "splits=()"
    raise VidsslError(
        f"finetune: resume: no fine-tuning has begun in {asked}; {there}{', or ' if there else ''}leave --resume out"
    )


def has_begun(folder: Path) -> bool:
    """Whether a fine-tuning has begun in its folder, though it may have made no checkpoint yet."""
    return (folder / "run.json").is_file() or (folder / "checkpoints").is_dir()


def settings_of(
    record: Mapping[str, Any], asked: FineTune, given: Collection[str], *, where: str, trust_code: bool = False
) -> FineTune:
    """Returns the settings of a fine-tuning, with those of the given ones that may change.

    These are the settings of CHANGEABLE that training may change too, and how it is tested (select, clips, crops).
    Its init names its folder, so it is as asked.

    Args:
        record: The fine-tuning's record. One of an older version has no settings; they are then as asked.
        asked: The settings that the command line gives.
        given: Names of the options that are given. All other settings are the record's.
        where: Beginning of an error: the command, the argument and its value.
        trust_code: Import the code that builds the recorded encoder. Code that is given is trusted.

    Raises:
        VidsslError: A given setting contradicts the record, this version cannot read it, or its code is not trusted.
    """
    if "finetune" not in record:
        log.warning("%s was begun by a version that did not record its settings; they are taken as given here", where)
        return asked
    values = {**json.loads(json.dumps(asdict(FineTune()))), **record["finetune"], "init": asked.init}
    train = values["train"]
    if not isinstance(train, dict):
        raise VidsslError(f"{where}: its record has no settings of the training; {_FIX}")
    free = [*free_settings(train.get("schedule")), *_TESTED]
    changed = changes(values, asdict(asked), given, free=free, where=where, fix=_FIX)
    for key, value in changed.items():
        part, _, name = key.rpartition(".")
        (train if part else values)[name] = value
    try:
        how = FineTune(**{**tuples(values), "train": TrainConfig(**tuples(train))})
    except (TypeError, VidsslError) as error:
        raise VidsslError(f"{where}: this version of vidssl cannot read its settings ({error}); {_FIX}") from error
    if how.encoder is not None:
        check_trusted(how.encoder, trust_code=trust_code or "encoder" in given)
    return how
