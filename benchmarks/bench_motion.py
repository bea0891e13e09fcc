"""Does motion weighting do what it says? Our motion score against optical flow, and what plans draw by it, clip by
clip.

    python -m benchmarks.bench_motion --data CLIPS... --out benchmarks/results

Score: the sad of `vidssl.ops.motion`, summed over the picture. Reference: the mean length of OpenCV's Farneback flow on
luma whose short side is made 120 pixels where it is longer, for speed. Both score a frame against the one before it;
frame 0 takes frame 1's score, as in plan. Then plans of five free frames are drawn by motion and evenly, and it is
counted how many of their frames lie in that half of the clip's frames that moves most, once as our score ranks them and
once as Farneback does. How far weighting can go is in the clip: the "weight held by the upper half" is the chance of a
plan's first draw; its later draws take from what is left.

With --sizes, the same is asked of frames that a store has reduced to each of these sizes, against Farneback's flow of
the frames as they were decoded. Its results are those of "motion_sizes".
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import tyro
from tqdm import tqdm

from benchmarks import workloads
from benchmarks.harness import Spent, compare, interleave, report, timed
from vidssl import ops
from vidssl.index.kinds import EXTENSIONS
from vidssl.store.frames import parse_size
from vidssl.types import Frames, VidsslError
from vidssl.video.decode import decode

Floats = npt.NDArray[np.float64]
Weight = Literal["motion", "uniform"]
OURS, THEIRS = "vidssl motion", "OpenCV Farneback"
BASES = 5  # frames of a plan
MINIMUM, MAXIMUM = 20, 150  # frames of a clip: with fewer it is left out, of more the first are taken
SHORT = 120  # pixels; Farneback's picture
WEIGHTS: tuple[Weight, Weight] = ("motion", "uniform")
RANKINGS = {"our motion": OURS, "Farneback": THEIRS}


def ranks(values: npt.ArrayLike) -> Floats:
    """float64 [N]: the place of each value in ascending order, from 1 on; equal ones share the mean of their places."""
    _, which, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    found: Floats = (last - (count - 1) / 2)[which]
    return found


def spearman(left: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Rank correlation of two series of one length, in -1..1: Pearson's of their ranks. Raises VidsslError where one is
    constant.
    """
    a, b = (found - found.mean() for found in (ranks(left), ranks(right)))
    if a.shape != b.shape or not a.any() or not b.any():
        raise VidsslError(
            f"spearman: {len(a)} and {len(b)} values, one series perhaps constant: take two of one length that vary"
        )
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def motion_score(frames: Frames) -> npt.NDArray[np.uint64]:
    """uint64 [F - 1]: what plan weighs frame f + 1 by, less the 1 that it adds."""
    found: npt.NDArray[np.uint64] = ops.motion(frames).sad.sum(axis=(1, 2), dtype=np.uint64)
    return found


def farneback(luma: npt.NDArray[np.uint8]) -> Floats:
    """float64 [F - 1]: mean length of the flow from frame f to f + 1, in pixels of the smaller picture. luma: uint8 [F,
    H, W].
    """
    try:
        import cv2
    except ImportError as error:
        raise VidsslError("OpenCV is what motion is compared with; run: pip install opencv-python-headless") from error
    cv2.setNumThreads(1)
    height, width = luma.shape[1:]
    scale = min(1.0, SHORT / min(height, width))
    size = round(scale * width), round(scale * height)
    small = (cv2.resize(np.ascontiguousarray(shown), size, interpolation=cv2.INTER_AREA) for shown in luma)
    found = []
    for before, after in pairwise(small):
        flow: Any = np.zeros((*before.shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(
            before, after, flow, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
        )
        found.append(float(np.hypot(flow[..., 0], flow[..., 1]).mean()))
    return np.asarray(found)


def upper_half(steps: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """bool [F]: the half (F // 2) of the frames that moves most, by the scores [F - 1] of frames 1..F-1; of equals the
    first.
    """
    score = np.concatenate([steps[:1], steps])
    upper = np.zeros(len(score), np.bool_)
    upper[np.argsort(-score.astype(np.float64), kind="stable")[: len(score) // 2]] = True
    return upper


def held(steps: npt.NDArray[np.uint64], upper: npt.NDArray[np.bool_]) -> float:
    """Share of the weight of all frames that lies in `upper` bool [F]. steps: our scores [F - 1]."""
    weights = np.concatenate([steps[:1], steps]) + np.uint64(1)
    return float(weights[upper].sum() / weights.sum())


def key_ratio(steps: npt.NDArray[Any], keys: npt.NDArray[Any]) -> float | None:
    """Mean score of the frames `keys` / that of frames 1..F-1 that are none; None without keys.

    The index's seek points are key frames at least 12 frames apart. There a codec codes the picture anew, and its
    errors change at once.
    """
    key = np.isin(np.arange(1, len(steps) + 1), keys)
    return round(float(steps[key].mean() / steps[~key].mean()), 2) if key.any() and steps[~key].any() else None


def draw(weight: Weight, frames: int, size: tuple[int, int], sad: Any, samples: Iterable[int]) -> npt.NDArray[np.int32]:
    """int32 [N, BASES]: the frames that plans show. No random number is used for both weights, nor for two samples."""
    spec = ops.PlanSpec(
        arrangements=np.arange(BASES).reshape(1, BASES, 1),
        labels=np.zeros(1),
        bases=BASES,
        draw="free",
        weight=weight,
        window="video",
    )
    seed = WEIGHTS.index(weight)
    shown = [
        ops.plan(spec, frames=frames, size=size, seed=seed, epoch=0, sample=sample, sad=sad).frame.ravel()
        for sample in samples
    ]
    return np.stack(shown)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many of `draws` drawn frames were hits, and mean and variance of that number where every frame is drawn as
    often.
    """

    draws: int
    hits: int
    mean: float
    variance: float

    @classmethod
    def of(cls, drawn: npt.NDArray[np.int32], upper: npt.NDArray[np.bool_]) -> Tally:
        """Plans are independent; the frames of one are drawn without replacement, so its hits are hypergeometric."""
        (plans, bases), total = drawn.shape, len(upper)
        part = float(upper.mean())
        variance = plans * bases * part * (1 - part) * (total - bases) / (total - 1)
        return cls(draws=plans * bases, hits=int(upper[drawn].sum()), mean=plans * bases * part, variance=variance)

    @classmethod
    def pooled(cls, tallies: Sequence[Tally]) -> Tally:
        """Of independent ones."""
        return cls(
            draws=sum(t.draws for t in tallies),
            hits=sum(t.hits for t in tallies),
            mean=sum(t.mean for t in tallies),
            variance=sum(t.variance for t in tallies),
        )

    @property
    def share(self) -> float:
        return self.hits / self.draws

    @property
    def z(self) -> float:
        """Standard deviations above what even draws give. One-sided: even draws are over 1.64 once in 20 times, over 4
        once in 30000.
        """
        return (self.hits - self.mean) / math.sqrt(self.variance)


Tallies = dict[str, dict[Weight, Tally]]  # by ranking, then by the weight that was drawn by


def share_facts(tallies: Tallies) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for ranking, tally in tallies.items():
        shares: dict[str, float] = {weight: round(tally[weight].share, 4) for weight in WEIGHTS}
        even = round(tally["motion"].mean / tally["motion"].draws, 4)
        found[f"upper half by {ranking}"] = {
            "even": even,
            **shares,
            **{f"z {weight}": round(tally[weight].z, 2) for weight in WEIGHTS},
        }
    return found


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one clip."""

    frames: int  # that were measured
    spent: dict[str, list[Spent]]
    spearman: float
    tallies: Tallies
    reduced: dict[str, Reduced]  # by size


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """Of one clip, or of all, at the size of a store: agreement with Farneback's flow of the frames as decoded."""

    spearman: float
    tally: Tally  # of plans by motion, in the upper half by Farneback

    @classmethod
    def of(cls, frames: Frames, size: str, flow: Floats, samples: Iterable[int]) -> Reduced:
        side = parse_size(size)
        assert side != "native", "main refuses it"
        small = ops.reduce(frames, side)
        score = motion_score(small)
        drawn = draw("motion", len(small.data), side, ops.motion(small).sad, samples)
        agree = spearman(score, flow) if len(np.unique(score)) > 1 else 0.0  # of a score that says nothing
        return cls(spearman=agree, tally=Tally.of(drawn, upper_half(flow)))

    @property
    def facts(self) -> dict[str, float]:
        return {"spearman": round(self.spearman, 4), "upper half by Farneback": round(self.tally.share, 4)}


def bench(
    path: Path, scratch: Path, *, plans: int, first: int, repeats: int, sizes: Sequence[str], out: Path | None
) -> Measured | None:
    """One clip; None where it is left out, and why is printed. first: sample number of its first plan."""
    index = workloads.repeated(path, 1, scratch)
    if not len(index.usable(MINIMUM)):
        tqdm.write(f"{path.name}: left out: {index.skipped(MINIMUM)[0][1]}")
        return None
    video = index.video(0)
    count = min(video.frames, MAXIMUM)
    frames = decode(video, np.arange(count))
    (height, width), sad = frames.size, ops.motion(frames).sad
    luma = frames.data[:, :height, :width]
    steps: dict[str, npt.NDArray[Any]] = {OURS: motion_score(frames), THEIRS: farneback(luma)}
    try:
        agree = spearman(steps[OURS], steps[THEIRS])
    except VidsslError:
        tqdm.write(f"{path.name}: left out: all its {count} frames move alike")
        return None
    cases: dict[str, Callable[[], object]] = {OURS: lambda: motion_score(frames), THEIRS: lambda: farneback(luma)}
    timings = {name: timed(work, items=count) for name, work in cases.items()}
    spent = interleave(timings, repeats=repeats, warmup=0, title=path.name)  # both ran above
    drawn = {weight: draw(weight, count, frames.size, sad, range(first, first + plans)) for weight in WEIGHTS}
    halves = {ranking: upper_half(steps[name]) for ranking, name in RANKINGS.items()}
    tallies: Tallies = {
        ranking: {weight: Tally.of(drawn[weight], upper) for weight in WEIGHTS} for ranking, upper in halves.items()
    }
    reduced = {size: Reduced.of(frames, size, steps[THEIRS], range(first, first + plans)) for size in sizes}
    keys = video.points.frame[(video.points.frame > 0) & (video.points.frame < count)]
    facts = {
        "frames": f"{count} of {video.frames}, {width}x{height} {video.codec}",
        "spearman": round(agree, 4),
        "plans": plans,
        **share_facts(tallies),
        "weight held by the upper half": {
            ranking: round(held(steps[OURS], upper), 4) for ranking, upper in halves.items()
        },
        "seek points": len(keys),
        "score at seek points / elsewhere": {
            ranking: key_ratio(steps[name], keys) for ranking, name in RANKINGS.items()
        },
        **{f"at {size}": one.facts for size, one in reduced.items()},
        "opencv": opencv(),
    }
    report(compare(name_of(sizes), path.name, spent, subject=OURS, item="frame", facts=facts), out)
    return Measured(frames=count, spent=spent, spearman=agree, tallies=tallies, reduced=reduced)


def name_of(sizes: Sequence[str]) -> str:
    """Name of the benchmark. Sizes may be measured on a busy machine; the times of "motion" need a quiet one."""
    return "motion_sizes" if sizes else "motion"


def opencv() -> str:
    import cv2

    return str(cv2.__version__)


def pool(found: Sequence[Measured], plans: int, out: Path | None) -> None:
    """All clips as one: times are means of the clips' times a frame, each rank correlation counts once."""
    names = (OURS, THEIRS)
    rounds = {name: list(zip(*(one.spent[name] for one in found), strict=True)) for name in names}
    spent = {
        name: [Spent(*(float(np.mean(part)) for part in zip(*turn, strict=True))) for turn in rounds[name]]
        for name in names
    }
    tallies: Tallies = {
        ranking: {weight: Tally.pooled([one.tallies[ranking][weight] for one in found]) for weight in WEIGHTS}
        for ranking in RANKINGS
    }
    agree = [one.spearman for one in found]
    facts = {
        "frames": str(sum(one.frames for one in found)),
        "spearman": round(median(agree), 4),
        "spearman, lowest and highest": [round(min(agree), 4), round(max(agree), 4)],
        "plans": plans * len(found),
        **share_facts(tallies),
        **{f"at {size}": pooled_at(size, found) for size in found[0].reduced},
        "opencv": opencv(),
    }
    name = name_of(list(found[0].reduced))
    report(compare(name, f"all {len(found)} clips", spent, subject=OURS, item="frame", facts=facts), out)


def pooled_at(size: str, found: Sequence[Measured]) -> dict[str, float]:
    """How well all clips agree at a size, and by how much the rank correlation falls at most from that as decoded."""
    at = [one.reduced[size] for one in found]
    middle = Reduced(spearman=median(one.spearman for one in at), tally=Tally.pooled([one.tally for one in at]))
    worst = max(one.spearman - small.spearman for one, small in zip(found, at, strict=True))
    return {**middle.facts, "largest fall of spearman": round(worst, 4)}


def clips(data: Iterable[Path]) -> list[Path]:
    """Files as named, and of folders what lies directly in them. Raises VidsslError where there is none, or two have
    one name.
    """
    found: list[Path] = []
    for path in data:
        if not path.exists():
            raise VidsslError(f"--data {path}: no such file or folder; name video files, or folders of them")
        inside = (
            sorted(file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS) if path.is_dir() else [path]
        )
        found += [file for file in inside if file.is_file()]
    if not found:
        raise VidsslError(f"--data {' '.join(map(str, data))}: no video in it; name video files, or folders of them")
    names = [path.name for path in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise VidsslError(f"--data: two clips are called {twice[0]}; rename one, or measure them one after the other")
    return found


def main(
    *,
    data: tuple[Path, ...] = (),
    out: Path | None = None,
    plans: int = 1000,
    repeats: int = 3,
    sizes: tuple[str, ...] = (),
) -> None:
    """Measure our motion score, and what is drawn by it, against OpenCV's Farneback flow.

    Args:
        data: Video files of at least 20 frames, or folders whose files are taken (not those of folders in them).
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        plans: Plans to draw of each clip, by each weight.
        repeats: Rounds; each runs both once.
        sizes: Also measure frames that are reduced to these sizes, HEIGHTxWIDTH, as a store keeps them.
    """
    torch.set_num_threads(1)
    if plans < 1:
        raise VidsslError(f"plans={plans}: take at least 1")
    if "native" in map(parse_size, sizes):
        raise VidsslError("--sizes native: frames as decoded are always measured; take HEIGHTxWIDTH")
    found = []
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        for at, path in enumerate(clips(data)):
            one = bench(
                path, Path(folder) / str(at), plans=plans, first=at * plans, repeats=repeats, sizes=sizes, out=out
            )
            found += [one] if one is not None else []
    if len(found) > 1:
        pool(found, plans, out)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
