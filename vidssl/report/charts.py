"""The curves of runs: what they learn, their features, and, folded, how the machine fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vidssl.plots.curves import html_legend, svg_curves
from vidssl.report.read import RunRecord

# What a chart says below its title, by metric of vidssl.train.log.METRICS.
ABOUT = {
    "train/loss": "of training tuples; of several tasks, the weighted sum",
    "train/accuracy": "fraction of training tuples right; dashed: chance",
    "train/learning_rate": "",
    "train/grad_norm": "norm of the gradient",
    "train/clips_per_second": "clips that are trained on in a second",
    "train/frames_per_second": "frames that are decoded in a second",
    "train/data_wait": "fraction of the time spent waiting for data",
    "train/queue_depth": "batches that are ready when a step takes one",
    "train/host_memory": "GiB of memory of the process",
    "train/gpu_memory": "most GiB of GPU memory since the point before",
    "train/rejected": "fraction of tuples outside the task's limits",
    "train/replaced_windows": "windows replaced because the video is corrupt",
    "train/skipped_steps": "steps whose loss or gradient is not finite",
    "train/windows": "windows drawn from this data set since the start",
    "val/loss": "of held-out tuples",
    "val/accuracy": "fraction of held-out tuples right; dashed: chance",
    "val/chance": "",  # drawn as the level of val/accuracy
    "val/tuples": "held-out tuples asked about",
    "watch/rank": "RankMe of held-out features: directions in use; 1: collapse",
    "watch/spread": "how far held-out features lie apart; 0: collapse",
    "watch/knn": "held-out videos whose nearest has their class, fraction",
}
_LEARNT = ("val/accuracy", "val/loss", "train/accuracy", "train/loss")
_WATCHED = tuple(name for name in ABOUT if name.startswith("watch/"))
_ONLY_SOME = ("train/rejected", "train/replaced_windows", "train/skipped_steps")  # drawn if they are not always 0


def curves_html(runs: Sequence[RunRecord], chance: Mapping[str, Mapping[str, float]]) -> str:
    """The section about training, as HTML.

    Args:
        runs: The runs.
        chance: By name of the run, the chance of each of its tasks, by the metric beside which it is shown.
    """
    others = [name for name in ABOUT if name not in (*_LEARNT, *_WATCHED, "val/chance")]
    machine = _charts(runs, others, chance)
    return "\n".join(
        [
            "<h2>Training</h2>",
            '<p class="soft">Each chart shows one metric of RUN/metrics.jsonl over the steps of training. A tuple is '
            "one question of the task; held-out videos are not trained on.</p>",
            html_legend([run.name for run in runs]) if len(runs) > 1 else "",
            _charts(runs, _LEARNT, chance),
            _charts(runs, _WATCHED, chance),
            f"<details><summary>Rates, memory and data</summary>{machine}</details>" if machine else "",
        ]
    )


def _charts(runs: Sequence[RunRecord], metrics: Sequence[str], chance: Mapping[str, Mapping[str, float]]) -> str:
    """Charts of these metrics, of all tasks, in this order."""
    found = sorted({name for run in runs for name, curve in run.curves.items() if curve})
    drawn = []
    for metric in metrics:
        for name in (one for one in found if one == metric or one.startswith(f"{metric}/")):
            curves = {run.name: run.curves.get(name, []) for run in runs}
            if metric in _ONLY_SOME and not any(value for curve in curves.values() for _, value in curve):
                continue
            levels = {run.name: chance[run.name][name] for run in runs if name in chance[run.name]}
            drawn.append(svg_curves(name, curves, about=ABOUT[metric], levels=levels))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""
