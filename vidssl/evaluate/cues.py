"""Low-level cues of a tuple: brightness, colour, motion and codec, without its content.

A cue gives one row of values per tuple, float64 [B, F]: the values of every slot, and their differences between every
pair of slots, because a linear model cannot compare two slots by itself.
"""

from __future__ import annotations

from itertools import chain, combinations, permutations, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import LUMA, Augment
from vidssl.loader import Loader
from vidssl.pretext import PretextModel
from vidssl.progress import progress_bar
from vidssl.store.frames import FrameStore
from vidssl.train.config import Recipe
from vidssl.types import Batch, VidsslError

BINS = 8  # bins of a channel's histogram
LEAST = 50  # tuples; fewer give no useful score
SIDE = 56  # pixels; larger pictures are subsampled to about this size
PICTURE = ("color", "luma", "difference")  # the cues that the picture has; only the file has "gop"
NAMES = {
    "color": "colour histogram",
    "luma": "mean luma",
    "difference": "frame difference",
    "picture": "these three together",
    "gop": "place between key frames*",
    "all": "all together*",
}


def cues(batch: Batch, augment: Augment, keys: KeyFrames) -> dict[str, torch.Tensor]:
    """Cues of every tuple of a batch, float64 [B, F] each, by name: those of PICTURE, and "gop"."""
    shown = restore(batch.clips.cpu().float(), augment)
    values = {
        "color": color(shown),
        "luma": luma(shown),
        "gop": keys.offsets(batch.video.cpu().numpy(), batch.frame.cpu().numpy()),
    }
    found = {name: with_pairs(value.double()) for name, value in values.items()}
    return found | {"difference": difference(shown).double()}


def restore(clips: torch.Tensor, augment: Augment) -> torch.Tensor:
    """Clips [B, K, 3, T, H, W] with levelled luma, if the task levels it, but without normalisation by mean and std, in
    0..1, subsampled to about SIDE pixels.
    """
    step = max(1, min(clips.shape[-2:]) // SIDE)
    shown: torch.Tensor = augment.denormalize(augment.level(clips)[..., ::step, ::step])
    return shown


def color(shown: torch.Tensor) -> torch.Tensor:
    """Histograms: the fraction of each channel's pixels in BINS equal bins, over a slot's frames [B, K, 3 * BINS]."""
    flat = shown.flatten(3)  # [B, K, 3, pixels]
    at = (flat * BINS).long().clamp_(0, BINS - 1)
    at += BINS * torch.arange(flat.shape[:3].numel()).view(*flat.shape[:3], 1)
    count = at.flatten().bincount(minlength=BINS * flat.shape[:3].numel())
    return (count.double() / flat.shape[3]).view(*flat.shape[:2], -1)


def luma(shown: torch.Tensor) -> torch.Tensor:
    """Mean luma of every frame, in 0..1 [B, K, T]."""
    return torch.einsum("bkctyx,c->bkt", shown, torch.tensor(LUMA)) / shown.shape[-2:].numel()


def difference(shown: torch.Tensor) -> torch.Tensor:
    """Mean absolute differences of frames [B, F].

    They are taken from frame to frame within each slot (with the pairs of slots), and from the last frame of each slot
    to the first frame of each other slot.
    """
    within = (shown[:, :, :, 1:] - shown[:, :, :, :-1]).abs().mean(dim=(2, 4, 5))  # [B, K, T - 1]
    slots, times = shown.shape[1], shown.shape[3]
    # With one frame per slot, both directions are the same.
    ordered = combinations(range(slots), 2) if times == 1 else permutations(range(slots), 2)
    between = [(shown[:, i, :, -1] - shown[:, j, :, 0]).abs().mean(dim=(1, 2, 3)) for i, j in ordered]
    return torch.cat([with_pairs(within), *(one[:, None] for one in between)], dim=1)


def with_pairs(values: torch.Tensor) -> torch.Tensor:
    """[B, K, F] to [B, K * F + K * (K - 1) / 2 * F]: the slots' values, then |difference| of each pair of slots."""
    pairs = [(values[:, i] - values[:, j]).abs() for i, j in combinations(range(values.shape[1]), 2)]
    return torch.cat([values.flatten(1), *pairs], dim=1)


class KeyFrames:
    """Which frames of a video are key frames, by the flags of its packets.

    The index's seek points do not serve: they leave out key frames that are close together, or from which decoding does
    not give the right frames.
    """

    def __init__(self, index: VideoIndex) -> None:
        self.index = index
        self._starts: dict[int, npt.NDArray[np.int64]] = {}

    def starts(self, row: int) -> npt.NDArray[np.int64]:
        """Frame numbers of the key frames of a row, ascending; of a segment, also those before it, below 0.

        The first frame counts as a key frame.
        """
        if row not in self._starts:
            video, lead = self.index.video(row).surroundings()
            with video.open() as reader:
                flagged = [number for number, packet in reader.packets(video.points) if packet.is_keyframe]
            found = np.flatnonzero(np.isin(video.packet, flagged))
            self._starts[row] = np.union1d([0], found).astype(np.int64) - lead
        return self._starts[row]

    def offsets(self, video: npt.NDArray[np.int64], frame: npt.NDArray[np.int64]) -> torch.Tensor:
        """Positions of frames between key frames.

        Args:
            video: int64 [B], rows of the index.
            frame: int64 [B, K, T], frame numbers.

        Returns:
            float64 [B, K, 2 T]: first the distance of every frame from the last key frame, as a fraction of the
            distance from that one to the next (or to the end of the video); then 1 for a key frame, else 0.
        """
        place, key = np.empty(frame.shape), np.empty(frame.shape)
        for at, row in enumerate(video.tolist()):
            starts = self.starts(row)
            ends = np.append(starts[1:], self.index.frames(row))
            group = np.searchsorted(starts, frame[at], side="right") - 1
            past = frame[at] - starts[group]
            place[at], key[at] = past / (ends - starts)[group], past == 0
        return torch.from_numpy(np.concatenate([place, key], axis=2))

    def single(self) -> tuple[int, int]:
        """(Number of videos with no key frame after the first, number of videos that were read)."""
        return sum(len(starts) == 1 for starts in self._starts.values()), len(self._starts)


class Tuples(NamedTuple):
    """Cues, labels and logits of N tuples.

    Attributes:
        cues: float64 [N, F] by name of the cue; "picture" and "all" concatenate the cues of PICTURE, and all cues.
        label: int64 [N].
        video: int64 [N], rows of the index.
        logits: [N, classes] of the model; None without a model.
        drawn: Number of tuples that were drawn.
        rejected: Number of them that did not meet the task's limits.
        single: Number of videos with no key frame after the first, and number of videos that were read.
    """

    cues: dict[str, torch.Tensor]
    label: torch.Tensor
    video: torch.Tensor
    logits: torch.Tensor | None
    drawn: int
    rejected: int
    single: tuple[int, int]

    @property
    def videos(self) -> int:
        """Number of videos that the tuples come from."""
        return len(np.unique(self.video.numpy()))


@torch.no_grad()
def collect(
    recipe: Recipe,
    index: VideoIndex,
    tuples: int,
    *,
    seed: int,
    desc: str,
    model: PretextModel | None = None,
    device: torch.device | str = "cpu",
    store: FrameStore | None = None,
    progress: bool = True,
) -> Tuples:
    """Draws tuples as training sees them and computes their cues. Tuples off the task's limits are left out.

    The classes have exactly their fractions of the task's table. Otherwise a model that always predicts one label could
    by chance score above chance.

    Args:
        recipe: The recipe.
        index: The videos.
        tuples: Number of tuples, rounded up to a whole number for each class.
        seed: Seed of the draws.
        desc: Name of the tuples, for the progress bar and errors.
        model: A model that predicts the same tuples; None computes no logits.
        device: Where the model computes.
        store: Shows the videos, as in Loader.
        progress: Show a progress bar.

    Returns:
        The tuples.

    Raises:
        VidsslError: Fewer than LEAST tuples met the limits.
    """
    config, pretext, keys = recipe.train, recipe.pretext, KeyFrames(index)
    each = config.tuples_per_window
    windows = max(1, min(8, len(index.usable(pretext.plan.frames))))  # an epoch has one window of every video
    loading: dict[str, Any] = {
        "tuples_per_window": each,
        "workers": config.workers,
        "max_corrupt": config.max_corrupt,
        "decode": config.decode,
        "store": store,
    }
    parts: list[dict[str, torch.Tensor]] = []
    # Number of tuples of each class that are still to be drawn.
    left = np.ceil(tuples * np.bincount(pretext.plan.labels) / len(pretext.plan.labels) - 1e-9).astype(int)
    drawn = rejected = 0
    if model is not None:
        model.to(device).eval()
    with (
        Loader(index, pretext, batch_size=windows * each, device="cpu", seed=seed, **loading) as loader,
        progress_bar(total=int(left.sum()), desc=f"tuples {desc}", unit="tuple", show=progress) as bar,
    ):
        for batch in chain.from_iterable(repeat(loader)):
            drawn, rejected = drawn + len(batch.label), rejected + int((batch.status != 0).sum())
            good = [at for at in (batch.status == 0).nonzero().flatten().tolist() if _take(left, int(batch.label[at]))]
            if good:
                kept = Batch(*(value[good] for value in batch))
                part = cues(kept, pretext.augment, keys) | {"label": kept.label, "video": kept.video}
                if model is not None:
                    part["logits"] = model(kept.clips.to(device)).float().cpu()
                parts.append(part)
                bar.update(len(good))
            if not left.any() or drawn >= 3 * tuples:
                break
    count = sum(len(part["label"]) for part in parts)
    if count < LEAST:
        raise VidsslError(
            f"audit: only {count} of {drawn} tuples {desc} met the task's limits; widen these, or take other videos"
        )
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found = {name: whole[name] for name in PICTURE}
    found["picture"] = torch.cat(list(found.values()), dim=1)
    found["gop"] = whole["gop"]
    found["all"] = torch.cat([found["picture"], found["gop"]], dim=1)
    return Tuples(found, whole["label"], whole["video"], whole.get("logits"), drawn, rejected, keys.single())


def _take(left: npt.NDArray[np.int64], label: int) -> bool:
    """True if one more tuple of the class is wanted; then `left` is lowered by one."""
    wanted = bool(left[label] > 0)
    left[label] -= wanted
    return wanted
