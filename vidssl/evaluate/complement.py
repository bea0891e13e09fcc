"""Do a run's features add anything to other features, such as a supervised model's? One probe is trained on each set
of features, and one on both concatenated.

A is the run's encoder, and B is the other model. The rows "A (untrained)" show whether features of an untrained encoder
would add as much.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vidssl.device import pick_device
from vidssl.evaluate.cache import load_features, run_features
from vidssl.evaluate.confidence import Estimate, gain, name_ids, proportion
from vidssl.evaluate.features import Clips, Features, extract
from vidssl.evaluate.probe import LARGEST_CLASS, PROTOCOL, Predictions, linear_probe, majority_fraction
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.splits import Splits
from vidssl.types import VidsslError

Both = tuple[Features, Features]  # of the training videos, and of the test videos


def evaluate_complement(
    run: TrainedRun,
    data: Splits,
    other: str,
    *,
    view: View = DEFAULT_VIEW,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Probes the run's features, other features, and both concatenated.

    Videos without features in either set are left out, and the result counts them.

    Args:
        run: The run.
        data: The videos to train the probes on and those to test on.
        other: A features file (.safetensors, see vidssl/evaluate/cache.py), or "module:function", a function that
            returns a torch module and the `Clips` that the module expects. The run's store_size is not B's: B sees the
            videos as they are decoded.
        view: How the videos are shown to the run's encoders.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file; None writes RUN/complement.json.
        progress: Show progress bars.

    Returns:
        The result, which is also published in the run's folder.

    Raises:
        VidsslError: `other` cannot be loaded, has features that are not finite, or has no video in common with the run;
            a label is missing; `out` cannot be written.
    """
    run = run.writing_to(out)
    encoders = run.encoders()
    train, test = run_features(run, data, encoders, view, device=device, progress=progress)
    others = _others(other, run, data, device=device, progress=progress)
    ours = {name: _common((a, b), others) for name, a, b in zip(encoders, train, test, strict=True)}
    theirs = _common(others, ours["trained"])
    sets = {
        "A (trained)": ours["trained"],
        "A (untrained)": ours["untrained"],
        "B": theirs,
        "A (trained) + B": _beside(ours["trained"], theirs),
        "A (untrained) + B": _beside(ours["untrained"], theirs),
    }
    answers = {
        name: linear_probe(a, b, leave_group_out=data.leave_group_out, progress=progress)
        for name, (a, b) in sets.items()
    }
    (group,) = name_ids(theirs[1].groups())
    numbers: Numbers = {name: {"accuracy": proportion(found.correct, group)} for name, found in answers.items()}
    numbers["chance"] = {"accuracy": Estimate(majority_fraction(theirs[1].label))}
    for name in encoders:
        numbers[f"A ({name}) + B"]["gain over B"] = gain(
            answers[f"A ({name}) + B"].correct, answers["B"].correct, group
        )
    overlap = {name: error_overlap(answers[f"A ({name})"], answers["B"]) for name in encoders}
    sizes = {"features A": ours["trained"][0].feature.shape[1], "features B": theirs[0].feature.shape[1]}
    result = Result(
        kind=data.named("complement"),
        protocol=PROTOCOL.split(";")[0] + "; gain with an interval over the groups of the test videos",
        numbers=numbers,
        split=data.description,
        counts={
            "training videos": len(theirs[0].label),
            "test videos": len(theirs[1].label),
            "classes": len(set(theirs[0].label)),
            "test videos left out": len(data.test) - len(theirs[1].label),
        },
        weights=run.weights,
        settings={**asdict(view), "other": other, **sizes},
        notes=(
            *(_overlap_note(name, counts) for name, counts in overlap.items()),
            *data.copies_note(),
            data.seen.note(len(data.test)),
            *view.notes(run.recipe),
            LARGEST_CLASS,
        ),
        detail={"overlap": overlap, "confusion": {name: found.table() for name, found in answers.items()}},
    )
    result.publish(run, data.data(), out=out)
    return result


def error_overlap(a: Predictions, b: Predictions) -> dict[str, float]:
    """Counts the test videos that both, only one, or neither of the two probes predicts correctly.

    "both wrong, expected" is the count of the last kind if the errors of the two were independent of each other.
    """
    right_a, right_b = a.correct, b.correct
    wrong = float((~right_a).double().mean() * (~right_b).double().mean())
    return {
        "both right": int((right_a & right_b).sum()),
        "only A right": int((right_a & ~right_b).sum()),
        "only B right": int((~right_a & right_b).sum()),
        "both wrong": int((~right_a & ~right_b).sum()),
        "both wrong, expected": round(wrong * len(right_a), 1),
    }


def _overlap_note(name: str, found: dict[str, float]) -> str:
    counts = ", ".join(f"{value} {what}" for what, value in found.items() if "expected" not in what)
    expected = found["both wrong, expected"]
    return f"A ({name}) and B: {counts} ({expected} both wrong if their errors were independent)"


def _others(other: str, run: TrainedRun, data: Splits, *, device: str, progress: bool) -> Both:
    parts = [data.train] if data.leave_group_out else [data.train, data.test]
    if other.endswith(".safetensors"):
        found = [load_features(Path(other), part) for part in parts]
    else:
        module, clips = build_other(other)
        if run.store is not None and run.store.size == "native":  # as decoded, which is what B sees
            clips = replace(clips, store=run.store)
        # Not cached: the code of a foreign module may change under the same name.
        found = [extract([module], part, clips, device=pick_device(device), progress=progress)[0] for part in parts]
    for features, part in zip(found, parts, strict=True):
        bad = (~features.feature.isfinite().all(dim=1)).nonzero().flatten().tolist()
        if bad:
            path = part.select(features.row).column("path")[bad[0]]
            raise VidsslError(
                f"other={other!r}: features of {len(bad)} videos are not finite, such as {path}'s; "
                "fix them or leave them out"
            )
    return found[0], found[-1]


def build_other(name: str) -> tuple[nn.Module, Clips]:
    """Calls a function that is named as "module:function".

    Returns:
        The torch module and the `Clips` that the function returns.

    Raises:
        VidsslError: The function cannot be imported or called, or returns something else.
    """
    where = f"other={name!r}:"
    place, _, function = name.partition(":")
    if not place or not function:
        raise VidsslError(f"{where} take a features file (.safetensors), or module:function")
    try:
        made: Any = getattr(importlib.import_module(place), function)()
    except (ImportError, AttributeError, TypeError) as error:
        raise VidsslError(
            f"{where} {error}; name a function without arguments of a module that Python finds (PYTHONPATH)"
        ) from error
    if not (
        isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and isinstance(made[1], Clips)
    ):
        raise VidsslError(
            f"{where} the function returns {type(made).__name__}; "
            "let it return (torch module, vidssl.evaluate.features.Clips)"
        )
    return made


def _common(of: Both, others: Both) -> Both:
    """The features in `of` of the videos that `others` also has."""
    pair = []
    for one, other in zip(of, others, strict=True):
        places = np.flatnonzero(np.isin(one.row, other.row))
        if not len(places):
            raise VidsslError(
                "evaluate: complement: A and B have no video in common; take shorter clips, or other videos"
            )
        pair.append(one.take(places))
    return pair[0], pair[1]


def _beside(a: Both, b: Both) -> Both:
    """Both features of each video concatenated. The probe standardises each value, so scales do not matter."""
    made = [one._replace(feature=torch.cat((one.feature, other.feature), 1)) for one, other in zip(a, b, strict=True)]
    return made[0], made[1]
