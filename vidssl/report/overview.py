"""The tables of all runs: how well each knows its own task, and the main figures of each evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidssl.evaluate.confidence import wilson
from vidssl.pretext import chances, pretext_from
from vidssl.report import parts
from vidssl.report.read import RunRecord
from vidssl.train.config import tuples
from vidssl.train.heldout import no_better
from vidssl.train.watch import COLLAPSED
from vidssl.types import VidsslError

# The figures of the table of evaluations: (file of the result, column, what it is called).
_SHOWN = (
    ("retrieval", "R@1", "retrieval R@1"),
    ("probe", "linear", "linear probe"),
    ("attentive", "attentive", "attentive probe"),
    ("time", "direction", "time: direction"),
    ("time", "order", "time: order"),
    ("time", "speed", "time: speed"),
    ("finetune", "accuracy", "fine-tuned"),
    ("finetune_scratch", "accuracy", "from scratch"),
)
_COUNTED = ("queries", "test videos", "videos", "splits")  # what `counts` calls those that a figure is of
_ROWS = ("trained", "untrained", "fine-tuned", "from scratch")  # come first; chance comes last


def overview(runs: Sequence[RunRecord]) -> str:
    """The tables, as HTML, and warnings."""
    head = ["run", "task", "encoder", "step", "held-out tuples right, %"]
    rows = []
    for run in runs:
        recipe = run.meta["recipe"]
        cells = [parts.text(run.name), parts.text(recipe["method"]), parts.text(recipe["encoder"])]
        rows.append([*cells, f"{run.meta['step']:,}", "<br>".join(_validation(run))])
    warned = (f'<p class="warning">{parts.text(f"{run.name}: {line}.")}</p>' for run in runs for line in warnings(run))
    return parts.table(head, rows) + "".join(warned) + _evaluations(runs)


def chance_of(run: RunRecord) -> Mapping[str, float]:
    """The chance of each task, as the run recorded it; of a run of an earlier version, as its task has it."""
    if "chance" in run.meta:
        found: Mapping[str, float] = run.meta["chance"]
        return found
    recipe = run.meta["recipe"]
    if "classes" in run.meta:  # fine-tuned: it tells the classes of a data set apart
        return {}
    try:
        return chances(pretext_from(recipe["method"], tuples(recipe["pretext"])).objectives)
    except VidsslError:  # a task of somebody else's, which is not imported
        return {}


def levels(run: RunRecord) -> dict[str, float]:
    """Chance by the metric beside which it is shown: "train/accuracy", "val/accuracy/TASK".

    The few held-out tuples may have one label more often: then theirs is what the run's log has.
    """
    last, chance = _last(run), chance_of(run)
    held_out = {name: last.get(f"val/{name.replace('accuracy', 'chance', 1)}", one) for name, one in chance.items()}
    return {f"{part}/{name}": one for part, of in (("train", chance), ("val", held_out)) for name, one in of.items()}


def warnings(run: RunRecord) -> list[str]:
    """What the run's log warns of at its end: a task at chance, features that collapsed."""
    last, found = _last(run), []
    for name, chance in levels(run).items():
        right, count = last.get(name), last.get(name.replace("accuracy", "tuples", 1))
        if right is not None and count and no_better(right, count, chance):
            task = name.partition("accuracy/")[2] or run.meta["recipe"]["method"]
            found.append(
                f"the task {task} is not learnt at step {run.meta['step']:,}: {100 * right:.1f} % of {count:.0f} "
                f"held-out tuples is no more than chance ({100 * chance:.1f} %)"
            )
    if last.get("watch/spread", COLLAPSED) < COLLAPSED:
        found.append("the features of all held-out clips are nearly the same: the encoder has collapsed")
    return found


def _last(run: RunRecord) -> dict[str, float]:
    """The last value of each metric."""
    return {name: curve[-1][1] for name, curve in run.curves.items() if curve}


def _validation(run: RunRecord) -> list[str]:
    """The last accuracy of each task on held-out tuples, with its interval, the number of tuples, and chance."""
    chance, last, lines = levels(run), _last(run), []
    for name, accuracy in last.items():
        if f"{name}/".startswith("val/accuracy/"):
            count = last.get(name.replace("accuracy", "tuples", 1), 0)
            about = []
            if count:
                low, high = wilson(accuracy * count, count)
                about.append(f"[{100 * low:.1f}, {100 * high:.1f}] of {count:.0f} tuples")
            if (guessed := chance.get(name)) is not None:
                about.append(f"chance {100 * guessed:.1f}")
            lines.append(f"{parts.text(f'{name[13:]} {100 * accuracy:.1f}'.strip())} <small>{', '.join(about)}</small>")
    return lines


def _evaluations(runs: Sequence[RunRecord]) -> str:
    """The table of the main figures: a row for each evaluation of each run, a column for each row of its result."""
    kinds = sorted({kind for run in runs for kind in run.results if kind.startswith("finetune_from_")})
    given = [(kind, "accuracy", f"fine-tuned {kind[9:]}") for kind in kinds]
    own = {column: column.replace("accuracy", "own task", 1).replace("/", ": ") for column in _own(runs)}
    given += [("pretext", column, called) for column, called in own.items()]
    lines: list[tuple[str, RunRecord, str, Mapping[str, Any]]] = []
    for kind, column, called in (*_SHOWN, *given):
        for run in runs:
            numbers = run.results[kind]["numbers"] if kind in run.results else {}
            row = {_short(name): one[column] for name, one in numbers.items() if column in one and _short(name)}
            if row:
                lines.append((called, run, kind, row))
    if not lines:
        return ""
    names = dict.fromkeys(name for *_, row in lines for name in row if name not in (*_ROWS, "chance"))
    columns = [name for name in (*_ROWS, *names, "chance") if any(name in row for *_, row in lines)]
    cells = [
        [
            *(parts.text(called), parts.text(run.name)),
            *(parts.cell(row[at]) if at in row else "" for at in columns),
            parts.text(_count(run.results[kind]["counts"])),
        ]
        for called, run, kind, row in lines
    ]
    table = parts.table(["evaluation, %", "run", *columns, "of"], cells, kind="stacked")
    return f"<h2>Evaluations</h2>{_WORDS}{table}{''.join(_unlike(runs, *one) for one in _headings(lines))}"


_WORDS = (
    "<p class='soft'>Trained: the encoder of the run. Untrained: the same encoder with random weights, of the run's "
    "seed. Frame difference, colour histogram, optical flow and low level need no encoder: one that does not beat them "
    "has learnt little. Chance: what guessing reaches. In brackets: 95 % confidence intervals.</p>"
)


def _own(runs: Sequence[RunRecord]) -> list[str]:
    """The columns of `evaluate pretext`, one for each task: "accuracy", or "accuracy/TASK"."""
    rows = [row for run in runs for row in run.results.get("pretext", {"numbers": {}})["numbers"].values()]
    return list(dict.fromkeys(column for row in rows for column in row if f"{column}/".startswith("accuracy/")))


def _short(name: str) -> str:
    """What the table calls a row of a result; "" if it has no place there: of several splits, it shows the mean."""
    return "" if ", split " in name or name.endswith(", standard deviation") else name.removesuffix(", mean")


def _count(counts: Mapping[str, int]) -> str:
    return next((f"{counts[what]} {what}" for what in _COUNTED if what in counts), "")


def _headings(lines: Sequence[tuple[str, RunRecord, str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """The kinds of the results, each with the names of its figures."""
    found: dict[str, dict[str, None]] = {}
    for called, _, kind, _ in lines:
        found.setdefault(kind, {})[called] = None
    return [(kind, ", ".join(names)) for kind, names in found.items()]


def _unlike(runs: Sequence[RunRecord], kind: str, heading: str) -> str:
    """A warning if results of one kind are not comparable: it says which of their videos differ, or that only the
    words for the split do.
    """
    found = {run.name: run.results[kind] for run in runs if kind in run.results}
    about = {name: one["data"] for name, one in found.items()}
    learnt = (
        "the training videos"
        if any("train_videos" not in data for data in about.values())  # of the run, as in its own task
        else "the videos that the test videos are compared with"
        if kind.startswith("retrieval")
        else "the videos that labels are learnt from"
    )
    reasons = []
    for part, what in (("test", "the test videos"), ("train", learnt)):
        if len({data.get(part) for data in about.values()}) > 1:
            reasons.append(f"{what} differ ({_videos(about, part)})")
    if not reasons and len({one["split"] for one in found.values()}) > 1:
        sets = "; ".join(f"{name}: {one['split']}" for name, one in found.items())
        reasons.append(f"the videos are split differently ({sets})")
    if not reasons:
        return ""
    unlike = f"Not comparable: {heading}, because {', and '.join(reasons)}."
    return f'<p class="soft">{parts.text(unlike)}</p>'


def _videos(about: Mapping[str, Mapping[str, Any]], part: str) -> str:
    """The videos of one part of each result: how many, of which folder; where that is the same, their fingerprint."""
    sets = {
        name: f"{data[f'{part}_videos']} videos of {data[f'{part}_root']}" if f"{part}_videos" in data else ""
        for name, data in about.items()
    }
    if len(set(sets.values())) == 1:
        sets = {name: f"{text} with fingerprint {about[name].get(part)}".strip() for name, text in sets.items()}
    return "; ".join(f"{name}: {text}" for name, text in sets.items())
