"""Time sensitivity: do frozen features know in which direction, in which order and how fast a clip is played?

No labels are needed. A linear probe on the features of clips tells clips that are played forward from the same clips
reversed, ordered from shuffled, and slow from fast. It learns on some videos and is tested on others. Whoever sees only
what is in the picture stays at chance, 50 %.

With labels: how much of the class is read from the order? A linear probe of the class learns on clips that are played
forward, and is tested on forward, reversed and shuffled clips. Pairs of classes that differ by time alone, such as
sitting down and standing up, are reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Estimate, gain, name_ids, proportion
from vidssl.evaluate.features import Clips, described, prefetch_videos
from vidssl.evaluate.layers import pooled
from vidssl.evaluate.logistic import choose_penalty, compact, fit_logistic, predict_logits, standardise
from vidssl.evaluate.probe import majority_fraction
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.seen import seen_by
from vidssl.evaluate.splits import group_folds, test_data
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import LUMA
from vidssl.progress import progress_bar
from vidssl.train.compute import torch_threads
from vidssl.types import VidsslError
from vidssl.video.decode import Video

PROTOCOL = (
    "linear probes on frozen features of clips, learnt on four fifths of the videos and tested on the others; "
    "chance is 50 %"
)
FRAMES = 4  # of an image encoder's clip: the features of its frames are concatenated in the order of time
FOLDS = 5  # of whole groups
LEAST = 10  # groups, so that a fold has two
_AT_ONCE = 64  # clips in one forward pass of an encoder

# The question, and the two ways of playing a clip that it compares.
QUESTIONS = {
    "direction": ("forward", "reversed"),
    "order": ("forward", "shuffled"),
    "speed": ("forward", "fast"),
}
PLAYED = ("forward", "reversed", "shuffled", "fast")


class PlayedFeatures(NamedTuple):
    """Features of V videos with N clips each, played in several ways.

    Attributes:
        feature: Way to float32 [V, N, D].
        row: int64 [V], rows of the index.
        label: V class names, None for a video without a label.
        group: V names of groups; a video without a group is one by itself.
    """

    feature: dict[str, torch.Tensor]
    row: npt.NDArray[np.int64]
    label: list[str | None]
    group: list[str]


@dataclass(frozen=True, kw_only=True)
class Player:
    """Clips of a video, each played in several ways.

    Args:
        clips: Which clips, and their pictures. An image encoder's clip has FRAMES frames here.
        seed: Seed of the shuffled orders. An order depends on the seed, the row and the clip.
        ways: Names of PLAYED. "fast" takes every second of the clip's frames, and so spans twice the time.
    """

    clips: Clips
    seed: int
    ways: tuple[str, ...] = PLAYED

    @property
    def extent(self) -> int:
        """Number of frames that a video must have."""
        return self._fast.extent if "fast" in self.ways else self.clips.extent

    @property
    def _fast(self) -> Clips:
        return replace(self.clips, stride=2 * self.clips.stride)

    def order(self, row: int, clip: int) -> npt.NDArray[np.int64]:
        """The shuffled order of a clip's frames, at least three: neither forward nor reversed."""
        if self.clips.length < 3:  # no order is left
            raise VidsslError(f"evaluate time: ways={self.ways}: shuffled needs clips of 3 frames; leave it out")
        draw = np.random.default_rng((self.seed, row, clip))
        forward = np.arange(self.clips.length)
        while True:
            order = draw.permutation(self.clips.length)
            if not (order == forward).all() and not (order == forward[::-1]).all():
                return order

    def read(self, row: int, video: Video, missed: Callable[[], None] | None = None) -> dict[str, torch.Tensor]:
        """Reads a video's clips: way to float32 [N, 3, T, H, W].

        missed: Called if the store lacks frames, which are then decoded.
        """
        forward = self.clips.read(video, missed)
        made = {"forward": forward, "reversed": forward.flip(2)}
        if "shuffled" in self.ways:
            orders = torch.from_numpy(np.stack([self.order(row, clip) for clip in range(self.clips.count)]))
            made["shuffled"] = torch.stack([clip[:, order] for clip, order in zip(forward, orders, strict=True)])
        if "fast" in self.ways:
            made["fast"] = self._fast.read(video, missed)
        return {way: made[way] for way in self.ways}


def low_level(clips: torch.Tensor) -> torch.Tensor:
    """Low-level cues of clips [N, 3, T, H, W] in the order of time: mean luma of each frame, and mean absolute
    difference from frame to frame [N, 2 T - 1].
    """
    luma = torch.einsum("nctyx,c->ntyx", clips, clips.new_tensor(LUMA))
    return torch.cat([luma.mean((2, 3)), (luma[:, 1:] - luma[:, :-1]).abs().mean((2, 3))], 1)


@torch.no_grad()
def played_features(
    run: TrainedRun,
    encoders: Mapping[str, nn.Module],
    index: VideoIndex,
    player: Player,
    *,
    view: View = DEFAULT_VIEW,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[str, PlayedFeatures]:
    """Features of every usable video's clips, played in several ways, by name of the encoder and "low level".

    Args:
        run: The run, whose pretext makes the encoders' input.
        encoders: The encoders.
        index: The videos.
        player: The clips.
        view: Layer and pooling.
        device: Where the encoders compute.
        progress: Show a progress bar.

    Raises:
        VidsslError: No video is long enough, or a video cannot be read.
    """
    rows = index.usable(player.extent)
    if not len(rows):
        raise VidsslError(f"evaluate time: none of the {len(index)} videos has the {player.extent} frames of a clip")
    encode, single = run.recipe.pretext.encode, run.recipe.pretext.plan.times == 1
    for encoder in encoders.values():
        encoder.to(device).eval()
    found: dict[str, dict[str, list[torch.Tensor]]] = {
        name: {way: [] for way in player.ways} for name in (*encoders, "low level")
    }

    def of(encoder: nn.Module, clips: torch.Tensor) -> torch.Tensor:
        if not single:
            return pooled(encoder, encode(clips), view.pool, view.layer)
        frames = clips.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # [N * T, 3, 1, H, W]
        return pooled(encoder, encode(frames), view.pool, view.layer).view(len(clips), -1)

    with torch_threads(None):
        for shown in progress_bar(
            prefetch_videos(index, rows, player.clips.store, player.read),
            total=len(rows),
            desc="clips",
            unit="video",
            show=progress,
        ):
            for way, clips in shown.items():
                found["low level"][way].append(low_level(clips))
                views = clips.to(device)
                for name, encoder in encoders.items():
                    parts = [of(encoder, part).float().cpu() for part in views.split(_AT_ONCE)]
                    found[name][way].append(torch.cat(parts))
    about = described(torch.empty(len(rows), 0), index, rows)
    return {
        name: PlayedFeatures({way: torch.stack(each) for way, each in ways.items()}, rows, about.label, about.groups())
        for name, ways in found.items()
    }


def question_probe(features: PlayedFeatures, question: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers a question about clips of videos that the probe has not learnt on.

    Args:
        features: Features of the clips.
        question: One of QUESTIONS.

    Returns:
        bool [2 V N]: whether each answer is right; int64 [2 V N]: the group of each clip.

    Raises:
        VidsslError: There are fewer than LEAST groups.
    """
    first, second = (features.feature[way] for way in QUESTIONS[question])
    clips = first.shape[1]
    (group,) = name_ids(features.group)
    _check_groups(features.group)
    x = torch.cat([first.flatten(0, 1), second.flatten(0, 1)])
    label = torch.arange(2).repeat_interleave(len(first) * clips)
    groups = group.repeat_interleave(clips).repeat(2)
    answer = torch.empty_like(label)
    for _, test in group_folds(features.group, FOLDS):
        mine = torch.isin(groups, group[test])
        answer[mine] = _predict(x, label, groups, ~mine, x[mine], 2)
    return answer == label, groups


def _check_groups(groups: Sequence[str]) -> None:
    if (count := len(set(groups))) < LEAST:
        raise VidsslError(
            f"evaluate time: the videos are of {count} groups; give at least {LEAST} (a video without a group is one "
            "by itself)"
        )


def class_probe(features: PlayedFeatures) -> tuple[dict[str, torch.Tensor], torch.Tensor, list[str]]:
    """Predicts the class of videos by a linear probe that learnt on other groups' clips, played forward.

    A video's feature is the mean over its clips.

    Args:
        features: Features of labelled videos.

    Returns:
        Way of playing to int64 [V], the predicted class; int64 [V], the true class; the names of the classes.
    """
    names = [str(label) for label in features.label]
    (label,), (group,) = name_ids(names), name_ids(features.group)
    ways = [way for way in features.feature if way != "fast"]
    mean = {way: features.feature[way].mean(1) for way in ways}
    classes = sorted(set(names))
    predicted = {way: torch.empty_like(label) for way in ways}
    for train, test in group_folds(features.group, FOLDS):
        learnt = torch.zeros(len(label), dtype=torch.bool)
        learnt[train] = True
        shown = torch.cat([mean[way][test] for way in ways])
        answer = _predict(mean["forward"], label, group, learnt, shown, len(classes))
        for way, part in zip(ways, answer.view(len(ways), -1), strict=True):
            predicted[way][test] = part
    return predicted, label, classes


def _predict(
    x: torch.Tensor, label: torch.Tensor, group: torch.Tensor, learnt: torch.Tensor, shown: torch.Tensor, classes: int
) -> torch.Tensor:
    """Predictions for `shown` by logistic regression on the rows `learnt` of x."""
    train, test = compact(*standardise(x[learnt], shown))
    penalty, start = choose_penalty(train, label[learnt], group[learnt], classes, tolerance=1e-3)
    weight = fit_logistic(train, label[learnt], classes, penalty, start, tolerance=1e-4)
    return predict_logits(weight, test).argmax(1)


def evaluate_time(
    run: TrainedRun,
    index: VideoIndex,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    view: View = DEFAULT_VIEW,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Measures how sensitive a run's encoder is to time, beside the untrained one and low-level cues.

    Args:
        run: The run.
        index: The videos. If all of them have labels, the class probe is measured as well.
        pairs: Pairs of classes that differ by time alone.
        view: How videos are shown: clips per video, layer, pooling, sizes.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file of the result; None writes RUN/time.json.
        progress: Show progress bars.

    Returns:
        The result. Its intervals treat the clips of a group as dependent, and those of a video without a group.

    Raises:
        VidsslError: No video is long enough, or one cannot be read; there are fewer than LEAST groups; a pair names a
            class that no video has; `out` cannot be written.
    """
    labels = set(index.column("label").to_pylist())
    if twice := [left for left, right in pairs if left == right]:
        raise VidsslError(f"evaluate time: pairs={twice[0]}:{twice[0]}: take two different labels")
    if unknown := [name for pair in pairs for name in pair if name not in labels]:
        has = ", ".join(sorted(str(label) for label in labels))
        raise VidsslError(f"evaluate time: pairs: no video has the label {unknown[0]!r}; take two of {has}")
    player, notes = make_player(run, index, view)
    clips, rows = player.clips, index.usable(player.extent)
    if len(rows):  # before they are decoded
        _check_groups(described(torch.empty(len(rows), 0), index, rows).groups())
    found = played_features(
        run, run.encoders(), index, player, view=view, device=pick_device(device), progress=progress
    )
    numbers: Numbers = {name: {} for name in (*found, "chance")}
    for question, ways in QUESTIONS.items():
        if all(way in player.ways for way in ways):
            right = {name: question_probe(features, question) for name, features in found.items()}
            for name, (answers, groups) in right.items():
                numbers[name][question] = proportion(answers, groups)
            numbers["chance"][question] = Estimate(0.5)
            more = gain(right["trained"][0], right["untrained"][0], right["trained"][1])
            notes.append(f"{question}: trained minus untrained {more.points()} points.")
    some = found["trained"]
    if None not in some.label and len(set(some.label)) > 1:
        for name, features in found.items():
            numbers[name] |= _class_numbers(features, pairs)
        numbers["chance"] |= _class_chance(some, pairs)
        *first, last = (way for way in player.ways if way != "fast")
        notes.append(
            "Class: a linear probe learns on clips that are played forward; it is tested on clips that are played "
            f"{', '.join(first)} and {last}."
        )
        notes += [f"{':'.join(pair)}: {len(_only(some, pair).label)} videos of these two classes." for pair in pairs]
    elif pairs:
        raise VidsslError("evaluate time: pairs: some videos have no label; give labels, or leave pairs out")
    seen = seen_by(run, index)
    result = Result(
        kind="time",
        protocol=PROTOCOL,
        numbers=numbers,
        split=f"{len(group_folds(some.group, FOLDS))} folds of whole groups",
        counts={"videos": len(some.row), "groups": len(set(some.group)), "clips a video": clips.count},
        weights=run.weights,
        settings={
            **asdict(view),
            "frames": clips.length,
            "stride": clips.stride,
            "pairs": [list(pair) for pair in pairs],
        },
        notes=(
            "Low level: mean luma of each frame of the clip, and the mean difference from frame to frame.",
            seen.note(len(index)),
            *notes,
            *view.notes(run.recipe),
        ),
    )
    result.publish(run, test_data(index, seen), out=out)
    return result


def make_player(run: TrainedRun, index: VideoIndex, view: View) -> tuple[Player, list[str]]:
    """Returns what plays the clips of a run, and notes on what the lengths of the videos do not allow."""
    clips = replace(view.of(run.recipe, store=run.store), encode=None)
    if clips.length == 1:
        clips = replace(clips, length=FRAMES)
    player, whole, notes = Player(clips=clips, seed=run.recipe.train.seed), len(index.usable(clips.extent)), []
    if clips.length == 2:
        player = replace(player, ways=tuple(way for way in PLAYED if way != "shuffled"))
        notes.append("Order is not measured: clips of two frames are forward or reversed in any order.")
    short = whole - len(index.usable(player.extent))
    if short > whole / 2:
        notes.append(f"Speed is not measured: it needs {player.extent} frames, and most videos have fewer.")
        player = replace(player, ways=player.ways[:-1])
    elif short:
        notes.append(f"{short} videos were left out: speed needs {player.extent} frames, and they have fewer.")
    return player, notes


def _class_numbers(features: PlayedFeatures, pairs: Sequence[tuple[str, str]]) -> dict[str, Estimate]:
    """Accuracy of the class on clips played in each way, and within each pair of classes."""
    (group,) = name_ids(features.group)
    predicted, label, _ = class_probe(features)
    found = {f"class, {way}": proportion(answer == label, group) for way, answer in predicted.items()}
    for pair in pairs:
        part = _only(features, pair)
        answers, true, _ = class_probe(part)
        (own,) = name_ids(part.group)
        found[":".join(pair)] = proportion(answers["forward"] == true, own)
    return found


def _class_chance(features: PlayedFeatures, pairs: Sequence[tuple[str, str]]) -> dict[str, Estimate]:
    """Accuracy of always predicting the most common class."""
    most = Estimate(majority_fraction(features.label))
    found = {f"class, {way}": most for way in features.feature if way != "fast"}
    return found | {":".join(pair): Estimate(majority_fraction(_only(features, pair).label)) for pair in pairs}


def _only(features: PlayedFeatures, classes: Sequence[str]) -> PlayedFeatures:
    """The features of the videos of some classes."""
    rows = [at for at, label in enumerate(features.label) if label in classes]
    return PlayedFeatures(
        {way: part[rows] for way, part in features.feature.items()},
        features.row[rows],
        [features.label[at] for at in rows],
        [features.group[at] for at in rows],
    )
