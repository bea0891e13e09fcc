"""How much of each task low-level cues solve, without and with the settings that take shortcuts away.

python -m benchmarks.bench_shortcuts --data tennis.csv --out benchmarks/results
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import tyro

from benchmarks.harness import append, circumstances, measured
from vidssl.evaluate.audit import audit
from vidssl.index.table import VideoIndex
from vidssl.pretext import Jigsaw, Pretext, Vcop
from vidssl.recipes import RECIPES
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

P = TypeVar("P", bound=Pretext)
EACH = 4  # tuples of a window: decoding is most of the time
GOP = 16  # frames from one key frame to the next, as `vidssl prepare` writes them
TINY = tuple(name for name in RECIPES if name.endswith("_tiny"))


def with_augment(pretext: P, **settings: Any) -> P:
    return replace(pretext, augment=replace(pretext.augment, **settings))


def none(pretext: Pretext) -> Pretext:
    """One crop for the whole tuple, its own colours, fixed intervals."""
    plain = with_augment(
        pretext,
        crop_scope="tuple",
        jitter=0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        grey=0.0,
        split=0.0,
        level_luma=None,
    )
    return replace(plain, interval_max=None) if isinstance(plain, Vcop | Jigsaw) else plain


def crop(pretext: Pretext) -> Pretext:
    """A crop of its own for each slot."""
    return with_augment(pretext, crop_scope="clip")


def color(pretext: Pretext) -> Pretext:
    """Colours of its own for each slot; for each frame where there is one slot."""
    scope = "clip" if pretext.plan.slots > 1 else "frame"
    return with_augment(pretext, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2, color_scope=scope)


def level(pretext: Pretext) -> Pretext:
    """The same mean luma for each slot; for each frame where there is one slot."""
    return with_augment(pretext, level_luma="clip" if pretext.plan.slots > 1 else "frame")


def gaps(pretext: Pretext) -> Pretext:
    """VCOP's intervals, drawn anew from as many as there are frames between key frames; jigsaws would get too long."""
    return replace(pretext, interval=0, interval_max=GOP - 1) if isinstance(pretext, Vcop) else pretext


SWITCHES: dict[str, Callable[[Pretext], Pretext]] = {
    "crop_scope": crop,
    "color_scope": color,
    "level_luma": level,
    "interval_max": gaps,
}


def variants(pretext: Pretext) -> dict[str, Pretext]:
    """The task without any of the switches, with each one that changes it, and with all of them."""
    plain = none(pretext)
    found, everything = {"none": plain}, plain
    for name, switch in SWITCHES.items():
        changed = switch(plain)
        if (changed.plan.text, changed.augment) != (plain.plan.text, plain.augment) and changed.plan.slots > (
            1 if name == "crop_scope" else 0
        ):  # one slot has one crop anyway
            found[name] = changed
            everything = switch(everything)
    return found | {"all": everything}


def main(
    *,
    data: Path,
    recipes: tuple[str, ...] = TINY,
    out: Path | None = None,
    tuples: int = 1000,
    holdout: float = 0.3,
    resume: bool = False,
) -> None:
    """Audit the tasks of recipes on videos, without and with each switch.

    Args:
        data: Folder or list of videos.
        recipes: Names of recipes.
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        tuples: Number of tuples to train on, and number to test on.
        holdout: Fraction of the videos to test on.
        resume: Leave out what the file has of this commit.
    """
    torch.set_num_threads(1)
    if unknown := set(recipes) - set(RECIPES):
        raise VidsslError(f"recipes={sorted(unknown)}: take some of {', '.join(RECIPES)}")
    index = VideoIndex.build(data, progress=False)
    for name in recipes:
        workload = f"{name}, {data.stem}"
        if resume and measured("shortcuts", workload, out):
            continue
        recipe: Recipe = RECIPES[name]()
        train = replace(recipe.train, holdout=holdout, tuples_per_window=EACH, workers=1, threads=1)
        found: dict[str, Any] = {}
        for switch, pretext in variants(recipe.pretext).items():
            changed = replace(recipe, pretext=pretext, train=train)
            result = audit(changed, index, name=f"{name}, {switch}", tuples=tuples, device="cpu", progress=False)
            print(result.text(), flush=True)
            scores = {
                cue: {"accuracy": one.accuracy, "low": one.low, "high": one.high} for cue, one in result.scores.items()
            }
            found[switch] = {"scores": scores, "settings": changed.as_dict()["pretext"]}
        line = {
            "bench": "shortcuts",
            "workload": workload,
            "chance": recipe.pretext.chance,
            "tuples": tuples,
            "videos": result.videos,
            "variants": found,
        }
        append({**line, **circumstances()}, out)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
