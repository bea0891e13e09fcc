"""The shortcut audit: how much of a pretext task can a linear model solve from low-level cues alone?

If brightness, colour or the codec reveal the answer, the encoder learns only these. The cues
(vidssl/evaluate/cues.py) come from the same batches that training sees, augmentation included. The model is trained on
tuples of the training videos and tested on tuples of the held-out videos.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Z, clustered_half_width, effective_size, wilson
from vidssl.evaluate.cues import LEAST, NAMES, PICTURE, Tuples, collect
from vidssl.evaluate.logistic import choose_penalty, fit_logistic, predict_logits
from vidssl.evaluate.probe import constant_accuracy
from vidssl.evaluate.run import shown_by, size_notes, trained_model
from vidssl.index.holdout import fingerprint
from vidssl.index.table import VideoIndex
from vidssl.paths import atomic_write, unmade_if_failed
from vidssl.plots.bars import Bar, draw_bars
from vidssl.pretext import PretextModel
from vidssl.store.frames import FrameStore
from vidssl.train import checkpoint
from vidssl.train.compute import torch_threads
from vidssl.train.config import Recipe, flat, recipe_from
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class Score:
    """How much of the task a set of cues, or a trained model, solves on the held-out tuples.

    Attributes:
        name: Name of the cues or of the model, for people.
        accuracy: Fraction of the tuples that are predicted correctly.
        low: Lower end of the 95 % interval of the accuracy.
        high: Upper end of that interval.
        effective_size: Number of independent tuples that would give the same interval.
        balanced: Mean over the classes of the fraction predicted correctly, where the prediction treats all classes as
            equally likely. Chance is 1 / classes.
        balanced_half_width: Half the width of the 95 % interval of `balanced`.
        verdict: What the numbers mean, in words.
        features: Values per tuple that the linear model sees; None for a trained model.
        penalty: L2 penalty that was chosen; None for a trained model.
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
    """The result of an audit.

    Attributes:
        recipe: Name of the recipe.
        classes: Number of classes of the task.
        chance: What one answer to all held-out tuples reaches: the fraction of the most common label, in the task's
            table or among these tuples.
        train_tuples: Number of tuples that the linear models were trained on.
        test_tuples: Number of held-out tuples that they were tested on.
        videos: Numbers of videos that the train tuples and the test tuples come from.
        scores: Scores of the linear models, by set of cues.
        trained: Score of the run's model on the same test tuples; None without a run.
        notes: Sentences about how to read the scores.
    """

    recipe: str
    classes: int
    chance: float
    train_tuples: int
    test_tuples: int
    videos: tuple[int, int]
    scores: dict[str, Score]
    trained: Score | None
    notes: tuple[str, ...]

    def text(self) -> str:
        """A table for people, in percent."""
        lines = [
            f"Shortcut audit of {self.recipe}: a linear model on low-level cues only, "
            f"in percent of {self.test_tuples} held-out tuples",
            f"{'':24s}{'numbers':>8s}{'accuracy':>10s}{'95 % interval':>16s}{'balanced':>10s}   verdict",
        ]
        for score in [*self.scores.values(), *([self.trained] if self.trained else [])]:
            interval = f"{100 * score.low:.1f} .. {100 * score.high:.1f}"
            features = "" if score.features is None else score.features
            lines.append(
                f"{score.name:24s}{features:>8}{100 * score.accuracy:10.1f}{interval:>16s}"
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
    store: FrameStore | None = None,
    progress: bool = True,
    weights: checkpoint.Which = "auto",
) -> Audit:
    """Audits the task of a recipe on the videos of an index.

    The videos are split as training splits them. recipe.train.seed also draws the tuples.

    Args:
        recipe: The recipe whose task is audited.
        index: The videos.
        name: Name of the recipe in the result; "" takes the name of the pretext.
        run: A run of the recipe, whose latest checkpoint is tested on the same held-out tuples.
        tuples: Number of tuples to train on, and number to test on.
        device: Where the run's model computes: "auto", "cpu", "cuda" or "cuda:N".
        out: Folder for audit.json and audit.png; None writes neither.
        store: Frames are taken from this store and kept in it. Its size must be recipe.store_size. None keeps nothing;
            the scores are the same.
        progress: Show progress bars.
        weights: Which of the run's weights: "raw", "ema" (their moving average), or "auto": the average if it has one.

    Returns:
        The scores, with notes.

    Raises:
        VidsslError: No videos are held out; too few tuples meet the task's limits; the run has another task or other
            videos; the store has another size; `out` cannot be written.
    """
    _need(tuples >= LEAST, f"tuples={tuples}: take at least {LEAST}")
    config, pretext = recipe.train, recipe.pretext
    _need(
        len(pretext.objectives) == 1,
        f"{pretext.name}: a cue solves one task at a time; audit a recipe of each of these tasks, without a run: "
        "vidssl audit RECIPE --data DATA",
    )
    _need(
        config.holdout > 0, "holdout=0.0: the audit measures on held-out videos; take a fraction of them, such as 0.2"
    )
    with made_folder(out):
        found = _audit(recipe, index, name, run, tuples, device, store, progress, weights)
        if out is not None:
            about = asdict(found) | {"settings": recipe.as_dict(), "data": fingerprint(index), "run": run and str(run)}
            _write(out, about, found)
    return found


def _audit(
    recipe: Recipe,
    index: VideoIndex,
    name: str,
    run: Path | None,
    tuples: int,
    device: str,
    store: FrameStore | None,
    progress: bool,
    weights: checkpoint.Which,
) -> Audit:
    config, pretext = recipe.train, recipe.pretext
    picked, shown = pick_device(device), shown_by(recipe, store)
    model, step = (None, "") if run is None else _open(run, recipe, index, weights)
    train_part, held = config.split(index, pretext.plan.frames)
    with torch_threads(config.threads):
        of = partial(collect, recipe, tuples=tuples, store=shown, progress=progress)
        train = of(index=train_part, seed=config.seed, desc="to learn from")
        # Another seed, or position p of both parts would show the same arrangement.
        test = of(index=held, seed=(config.seed + 1) % 2**63, desc="held out", model=model, device=picked)
        scores = {cue: _score(cue, recipe, train, test) for cue in train.cues}
    return Audit(
        recipe=name or pretext.name,
        classes=pretext.plan.classes,
        chance=constant_accuracy(pretext.chance, test.label),
        train_tuples=len(train.label),
        test_tuples=len(test.label),
        videos=(train.videos, test.videos),
        scores=scores,
        trained=None
        if test.logits is None
        else measure(f"trained, {step}", test.logits, test.label, test.video, pretext.plan.labels),
        notes=(*_notes(train, test), *_overfit(scores), *size_notes(recipe)),
    )


def measure(
    name: str, logits: torch.Tensor, label: torch.Tensor, video: torch.Tensor, table: npt.NDArray[Any], **about: Any
) -> Score:
    """Scores the predictions for N tuples.

    Args:
        name: Name of the score.
        logits: float [N, classes].
        label: int64 [N], the true classes.
        video: int64 [N], the video of each tuple; the intervals treat the tuples of a video as dependent.
        table: Labels of the rows of the task's table, which give the probability of each class.
        **about: `features` and `penalty` of the score.

    Returns:
        The score.
    """
    right = (logits.argmax(1) == label).double()
    accuracy = float(right.mean())
    independent = effective_size(right, video)
    low, high = wilson(accuracy * independent, independent)
    count = np.bincount(table, minlength=logits.shape[1])
    prior = torch.from_numpy(np.log(np.maximum(count, 1e-9) / count.sum()))
    fair = ((logits.double() - prior).argmax(1) == label).double()  # as if every class were equally common
    each = torch.bincount(label, minlength=len(count)).double()
    hit = torch.bincount(label, fair, len(count)) / each  # per class; NaN for a class without tuples
    here = int((each > 0).sum())
    balanced = float(hit.nansum()) / here
    spread = max(
        clustered_half_width((fair - hit[label]) / each[label] / here, video),
        Z * math.sqrt(float((hit * (1 - hit) / each).nansum())) / here,
    )
    chance, even = constant_accuracy(float(count.max() / count.sum()), label), 1 / int((count > 0).sum())
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


def _score(cue: str, recipe: Recipe, train: Tuples, test: Tuples) -> Score:
    mean, std = train.cues[cue].mean(dim=0), train.cues[cue].std(dim=0)
    keep = std > 1e-6  # cues are in 0..1; scaling up a constant cue would only amplify rounding errors
    x, other = (((one.cues[cue] - mean) / std)[:, keep] for one in (train, test))
    classes = recipe.pretext.plan.classes
    penalty, _ = choose_penalty(x, train.label, train.video, classes)
    logits = predict_logits(fit_logistic(x, train.label, classes, penalty), other)
    return measure(
        NAMES[cue], logits, test.label, test.video, recipe.pretext.plan.labels, features=len(mean), penalty=penalty
    )


def _open(run: Path, recipe: Recipe, index: VideoIndex, weights: checkpoint.Which) -> tuple[PretextModel, str]:
    """The run's model and its step. Raises VidsslError if its task, videos or held-out videos differ from these."""
    path = checkpoint.find(run)
    meta = checkpoint.load_meta(path, "recipe", "step", "data", "videos")
    named_again = meta["recipe"].get("encoder") == recipe.encoder  # by the caller, who thereby trusts its code
    where = f"checkpoint={str(path)!r}"
    theirs = recipe_from(meta["recipe"], where=where, versions=meta.get("versions"), trust_code=named_again)
    then, now = (_decides(one) for one in (theirs, recipe))
    keys = [key for key in now if then.get(key) != now[key]]
    if then["method"] != now["method"]:
        keys = ["method"]
    elif _shows(theirs) == _shows(recipe):  # the tables are the same; only the head's settings or their spelling differ
        keys = [key for key in keys if not key.startswith("pretext.")]
    differ = "; ".join(f"{key}: {then.get(key)!r} in the run, {now[key]!r} here" for key in keys)
    _need(
        not keys,
        f"run={str(run)!r}: of another recipe ({differ}); audit the run's own recipe and settings, or leave run out",
    )
    _need(
        meta["data"] == fingerprint(index),
        f"run={str(run)!r}: trained on other videos ({meta['videos']}, here {len(index)}), so some held out here may "
        "have been among them; take the videos it was trained on, or leave run out",
    )
    return trained_model(path, trust_code=named_again, weights=weights)[0], f"step {meta['step']}"


def _decides(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what is shown, and which videos are held out."""
    names = ("method", "train.holdout", "train.seed", "train.group")
    found = {key: value for key, value in flat(recipe.as_dict()).items() if key in names or key.startswith("pretext.")}
    as_decoded = recipe.store_size in ("none", "native")
    return found | {"store_size": "none or native" if as_decoded else recipe.store_size}


def _shows(recipe: Recipe) -> tuple[Any, ...]:
    plan, levelled = recipe.pretext.plan, recipe.pretext.augment.level_luma
    return plan.text, plan.arrangements.tolist(), plan.labels.tolist(), plan.window, levelled


def _notes(train: Tuples, test: Tuples) -> tuple[str, ...]:
    notes = [
        f"Trained on {len(train.label)} tuples of {train.videos} videos, "
        f"tested on {len(test.label)} tuples of {test.videos} others.",
        "The intervals account for differences between the held-out videos. "
        "Of 40 useless cues, about one will still appear to solve something by chance."
        if test.videos > 1
        else "The intervals are too narrow: they treat the tuples of the only held-out video as independent. "
        "Take a larger holdout.",
        "* The position between key frames is a property of the file; pictures show it only through compression "
        "artefacts.",
    ]
    single, looked = train.single[0] + test.single[0], train.single[1] + test.single[1]
    if single:
        notes.append(
            f"  {single} of {looked} videos have no key frame after the first: "
            "for them it is the time in the video, which reveals the order."
        )
    rejected = train.rejected + test.rejected
    if rejected:
        notes.append(
            f"{rejected} of {train.drawn + test.drawn} tuples did not meet the task's limits and were left out, "
            "as in training."
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


@contextmanager
def made_folder(out: Path | None) -> Iterator[None]:
    """Makes the folder `out` if it does not exist. If the block fails, folders that it leaves empty are deleted again.

    Raises:
        VidsslError: It cannot be made.
    """
    if out is None:
        yield
        return
    with unmade_if_failed(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(out, error) from error
        yield


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
