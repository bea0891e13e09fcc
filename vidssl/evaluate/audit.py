"""The shortcut audit: how much of a pretext task does a linear model solve that sees only low-level cues?

If brightness, colour or the codec give the answer away, the encoder learns just these. The cues
(vidssl/evaluate/cues.py) come from the same batches that training sees, augmentation included. The model is trained on
tuples of the training videos and tested on tuples of the held-out videos.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Z, clustered_half_width, effective_size, wilson
from vidssl.evaluate.cues import LEAST, NAMES, PICTURE, Tuples, collect
from vidssl.evaluate.logistic import choose_penalty, fit_logistic, predict_logits
from vidssl.evaluate.run import trained_model
from vidssl.index.holdout import fingerprint, split
from vidssl.index.table import VideoIndex
from vidssl.paths import atomic_write
from vidssl.plots.bars import Bar, draw_bars
from vidssl.pretext import PretextModel
from vidssl.train import checkpoint
from vidssl.train.compute import torch_threads
from vidssl.train.config import Recipe, flat, recipe_from
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class Score:
    """How much of the task a set of cues, or a trained model, solves on the held-out tuples.

    accuracy: share answered right; low, high: its 95 % interval; effective_size: independent tuples that would give the same.
    balanced: the mean over the classes of the share answered right when every class is taken for equally likely, whose
    chance is 1 / classes; balanced_half_width: half of its 95 % interval. features: numbers a tuple; penalty: of the penalty as
    chosen; both None for a trained model.
    """

    name: str
    accuracy: float
    low: float
    high: float
    effective_size: float
    balanced: float
    balanced_half_width: float
    verdict: str
    features: int | None = None
    penalty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found. chance: accuracy of always giving the commonest label; known, fresh: tuples learnt from and
    measured on.
    """

    recipe: str
    classes: int
    chance: float
    train_tuples: int
    test_tuples: int
    videos: tuple[int, int]  # those tuples came from
    scores: dict[str, Score]
    trained: Score | None
    notes: tuple[str, ...]

    def text(self) -> str:
        """For people, in percent."""
        lines = [
            f"Shortcut audit of {self.recipe}: a linear model on low-level cues only, in percent of {self.test_tuples} held-out tuples",
            f"{'':24s}{'numbers':>8s}{'accuracy':>10s}{'95 % interval':>16s}{'balanced':>10s}   verdict",
        ]
        for score in [*self.scores.values(), *([self.trained] if self.trained else [])]:
            interval = f"{100 * score.low:.1f} .. {100 * score.high:.1f}"
            lines.append(
                f"{score.name:24s}{score.features if score.features is not None else '':>8}{100 * score.accuracy:10.1f}{interval:>16s}"
                f"{100 * score.balanced:10.1f}   {score.verdict}"
            )
        lines.append(f"{'chance':24s}{'':8s}{100 * self.chance:10.1f}{'':16s}{100 / self.classes:10.1f}")
        return "\n".join([*lines, *self.notes])

    def bars(self) -> list[Bar]:
        """The scores as the chart shows them."""
        kinds = {name: "picture" if name in (*PICTURE, "picture") else "file" for name in self.scores} | {
            "trained": "trained"
        }
        all_ = self.scores | ({"trained": self.trained} if self.trained else {})
        return [Bar(one.name, one.accuracy, one.low, one.high, one.verdict, kinds[name]) for name, one in all_.items()]


def audit(
    recipe: Recipe,
    index: VideoIndex,
    *,
    name: str = "",
    run: Path | None = None,
    tuples: int = 1000,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Audit:
    """Audit the task of a recipe on the videos of an index.

    name: what to call the recipe. run: a run of it, whose newest checkpoint is measured on the same held-out tuples.
    tuples: number to learn from, and number to measure on. device: where the trained model computes. out: folder that
    gets audit.json and audit.png. The videos are split as training splits them; recipe.train.seed also draws the
    tuples. Raises VidsslError where nothing is held out, too few tuples meet the task's limits, or the run is of
    another task or other videos.
    """
    _need(tuples >= LEAST, f"tuples={tuples}: take at least {LEAST}")
    config, pretext = recipe.train, recipe.pretext
    _need(
        config.holdout > 0, "holdout=0.0: the audit measures on held-out videos; take a fraction of them, such as 0.2"
    )
    picked = pick_device(device)
    if out is not None:
        make_folder(out)
    model, step = (None, "") if run is None else _open(run, recipe, index)
    train_part, held = split(index, config.holdout, seed=config.seed, group=config.group, span=pretext.plan.frames)
    with torch_threads(config.threads):
        known = collect(recipe, train_part, tuples, seed=config.seed, desc="to learn from", progress=progress)
        # Another seed, or position p of both parts would show the same arrangement.
        other = (config.seed + 1) % 2**63
        fresh = collect(
            recipe, held, tuples, seed=other, desc="held out", model=model, device=picked, progress=progress
        )
        scores = {cue: _score(cue, recipe, known, fresh) for cue in known.cues}
    found = Audit(
        recipe=name or pretext.name,
        classes=pretext.plan.classes,
        chance=pretext.chance,
        train_tuples=len(known.label),
        test_tuples=len(fresh.label),
        videos=(known.videos, fresh.videos),
        scores=scores,
        trained=None
        if fresh.logits is None
        else measure(f"trained, {step}", fresh.logits, fresh.label, fresh.video, pretext.plan.labels),
        notes=(*_notes(known, fresh), *_overfit(scores)),
    )
    if out is not None:
        about = asdict(found) | {
            "settings": recipe.as_dict(),
            "data": fingerprint(index),
            "run": None if run is None else str(run),
        }
        _write(out, about, found)
    return found


def measure(
    name: str, logits: torch.Tensor, label: torch.Tensor, video: torch.Tensor, table: npt.NDArray[Any], **about: Any
) -> Score:
    """The score of logits [N, classes] for the labels [N] of tuples of video [N]. table: labels of the task's rows."""
    right = (logits.argmax(1) == label).double()
    accuracy = float(right.mean())
    independent = effective_size(right, video)
    low, high = wilson(accuracy * independent, independent)
    count = np.bincount(table, minlength=logits.shape[1])
    prior = torch.from_numpy(np.log(np.maximum(count, 1e-9) / count.sum()))
    fair = ((logits.double() - prior).argmax(1) == label).double()  # as if every class were equally common
    each = torch.bincount(label, minlength=len(count)).double()
    hit = torch.bincount(label, fair, len(count)) / each  # of each class; not a number where there is none
    here = int((each > 0).sum())
    balanced = float(hit.nansum()) / here
    spread = max(
        clustered_half_width((fair - hit[label]) / each[label] / here, video),
        Z * math.sqrt(float((hit * (1 - hit) / each).nansum())) / here,
    )
    chance, even = float(count.max() / count.sum()), 1 / int((count > 0).sum())
    if low > chance:
        way = [(value - chance) / (1 - chance) for value in (accuracy, low, high)]
        verdict = (
            f"solves {100 * way[0]:.0f} % of the way from chance to right ({100 * way[1]:.0f} to {100 * way[2]:.0f})"
        )
    elif chance > even + 1e-9 and balanced - spread > even:
        verdict = f"no better than the most common label, yet separates the classes ({100 * balanced:.0f} % balanced)"
    else:
        verdict = "solves nothing"
    return Score(
        name=name,
        accuracy=accuracy,
        low=low,
        high=high,
        effective_size=independent,
        balanced=balanced,
        balanced_half_width=spread,
        verdict=verdict,
        **about,
    )


def _score(cue: str, recipe: Recipe, known: Tuples, fresh: Tuples) -> Score:
    mean, std = known.cues[cue].mean(dim=0), known.cues[cue].std(dim=0)
    keep = std > 1e-6  # cues are within 0..1; what does not change would only be rounding, blown up
    x, other = (((one.cues[cue] - mean) / std)[:, keep] for one in (known, fresh))
    classes = recipe.pretext.plan.classes
    penalty, _ = choose_penalty(x, known.label, known.video, classes)
    logits = predict_logits(fit_logistic(x, known.label, classes, penalty), other)
    return measure(
        NAMES[cue], logits, fresh.label, fresh.video, recipe.pretext.plan.labels, features=len(mean), penalty=penalty
    )


def _open(run: Path, recipe: Recipe, index: VideoIndex) -> tuple[PretextModel, str]:
    """The run's model, and its step. Raises VidsslError where its task, its videos or its held-out videos are not
    these.
    """
    path = checkpoint.find(run)
    meta = checkpoint.load_meta(path)
    theirs = recipe_from(meta["recipe"])
    then, now = (_decides(one) for one in (theirs, recipe))
    keys = [key for key in now if then.get(key) != now[key]]
    if then["method"] != now["method"]:
        keys = ["method"]
    elif _shows(theirs) == _shows(recipe):  # what differs of the task is the head's, or another way to say the same
        keys = [key for key in keys if not key.startswith("pretext.")]
    differ = "; ".join(f"{key}: {then.get(key)!r} in the run, {now[key]!r} here" for key in keys)
    _need(
        not keys,
        f"run={str(run)!r}: of another recipe ({differ}); audit the run's own recipe and settings, or leave run out",
    )
    _need(
        meta["data"] == fingerprint(index),
        f"run={str(run)!r}: trained on other videos ({meta['videos']}, here {len(index)}), so some held out here may have been among them; "
        "take the videos it was trained on, or leave run out",
    )
    return trained_model(path)[0], f"step {meta['step']}"


def _decides(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what is shown, and which videos are held out."""
    names = ("method", "train.holdout", "train.seed", "train.group")
    return {key: value for key, value in flat(recipe.as_dict()).items() if key in names or key.startswith("pretext.")}


def _shows(recipe: Recipe) -> tuple[str, list[Any], list[Any], Any]:
    plan = recipe.pretext.plan
    return plan.text, plan.arrangements.tolist(), plan.labels.tolist(), plan.window


def _notes(known: Tuples, fresh: Tuples) -> tuple[str, ...]:
    notes = [
        f"Trained on {len(known.label)} tuples of {known.videos} videos, tested on {len(fresh.label)} tuples of {fresh.videos} others.",
        "The intervals account for differences between the held-out videos. Of 40 useless cues, about one will still appear to "
        "solve something by chance."
        if fresh.videos > 1
        else "The intervals are too narrow: they treat the tuples of the only held-out video as independent. Take a larger holdout.",
        "* The position between key frames is a property of the file; pictures show it only through compression artefacts.",
    ]
    single, looked = known.single[0] + fresh.single[0], known.single[1] + fresh.single[1]
    if single:
        notes.append(
            f"  {single} of {looked} videos have no key frame after the first: there it is the time in the video, which gives the order away."
        )
    rejected = known.rejected + fresh.rejected
    if rejected:
        notes.append(
            f"{rejected} of {known.drawn + fresh.drawn} tuples did not meet the task's limits and were left out, as in training."
        )
    return tuple(notes)


def _overfit(scores: dict[str, Score]) -> tuple[str, ...]:
    """A note if all cues together score lower than the best of them alone."""
    single = max(
        (score for name, score in scores.items() if name not in ("picture", "all")), key=lambda score: score.accuracy
    )
    if single.accuracy <= max(scores["picture"].accuracy, scores["all"].accuracy):
        return ()
    return (
        f"The cues together overfit (many values, few videos): {single.name} alone scores higher, so read that row.",
    )


def make_folder(out: Path) -> None:
    """Make `out` where it is not there. Raises VidsslError where it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error


def _write(out: Path, about: dict[str, Any], found: Audit) -> None:
    try:
        with atomic_write(out / "audit.json") as aside:
            aside.write_text(json.dumps(about, indent=1) + "\n")
        draw_bars(
            found.bars(),
            found.chance,
            f"Low-level cues of {found.recipe}: how much they give away",
            found.notes,
            out / "audit.png",
        )
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: Path, error: OSError) -> VidsslError:
    return VidsslError(f"audit: out={str(out)!r}: {error.strerror or error}; name a folder that can be written")


def _need(good: bool, message: str) -> None:
    if not good:
        raise VidsslError(f"audit: {message}")
