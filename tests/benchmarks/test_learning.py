"""The table of what is learnt takes the longest runs of each set, and marks what is above chance."""

from __future__ import annotations

from typing import Any

from benchmarks.learning_table import table

DIFFERENCES = "r3d_tiny_difference"


def alone(workload: str, accuracy: float, steps: int, low: float) -> dict[str, Any]:
    about = {"bench": "recipes", "workload": workload, "steps": steps, "tuples": 280, "chance": 1 / 6}
    return {**about, "accuracy": accuracy, "low": low, "high": 0.9, "commit": "0123456789", "changed": False}


def together(method: str, form: str, encoder: str, **task: float) -> dict[str, Any]:
    about = {
        "bench": "time",
        "method": method,
        "form": form,
        "steps": 2000,
        "seed": 0,
        "commit": "89abcdef01",
        "changed": False,
    }
    return {
        **about,
        "encoder": encoder,
        "task": {f"val/{name.replace('_', '/')}": value for name, value in task.items()},
    }


def test_figures_stand_where_they_belong() -> None:
    text = table(
        [
            alone("fights, test groups, vcop_r3d_tiny, 400 steps, seed 1", 0.25, 400, 0.2),
            alone("fights, test groups, vcop_r3d_tiny, 600 steps, seed 1", 0.3, 600, 0.2),
            alone("tennis, training groups, vcop, 400 steps, seed 1", 0.221, 400, 0.163),
            alone("tennis, training groups, vcop, 400 steps, seed 2", 0.168, 400, 0.122),
            together("vcop_r3d_tiny", "inductive", DIFFERENCES, accuracy=0.352, tuples=54),
            together("vcop_r3d_tiny", "inductive", DIFFERENCES, accuracy=0.17, tuples=56) | {"seed": 1},
            together("vcop_r3d_tiny", "inductive", DIFFERENCES, accuracy=0.5, tuples=54) | {"steps": 9000},
            together("vcop_r3d_tiny", "transductive", DIFFERENCES, accuracy=0.99, tuples=54),
            together("vcop_r3d_tiny", "inductive", "r3d_tiny", accuracy=0.98, tuples=54),  # not the recipe's encoder
            together(
                "vcop_r3d_tiny:vcop,pace,arrow",
                "inductive",
                DIFFERENCES,
                **{"accuracy_vcop": 0.37, "tuples_vcop": 54, "accuracy_pace": 0.3, "tuples_pace": 54},
                **{"accuracy_arrow": 0.481, "tuples_arrow": 54},
            ),
        ]
    )
    _, _, *rows = ([cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines())
    assert rows == [
        [
            "`vcop_r3d_tiny`",
            "",
            "**30.0** [20.0, 90.0] of 280 (chance 16.7; 600 steps)",
            "",
            "**35.2**, 17.0 of 54 to 56 (chance 16.7)",
            "**50.0** of 54 (chance 16.7), 9,000 steps",
            "0123456, 89abcde",
        ],
        [
            "the same, frames instead of differences",
            "22.1 [16.3, 90.0] of 280; 16.8 [12.2, 90.0] of 280 (chance 16.7; 400 steps; settings chosen on these)",
            *("", "", "", ""),
            "0123456",
        ],
        [
            "`vcop_r3d_tiny --pretext vcop,pace,arrow`",
            *("", "", ""),
            "vcop **37.0** of 54 (chance 16.7); pace 30.0 of 54 (chance 25.0); arrow 48.1 of 54 (chance 50.0)",
            "",
            "89abcde",
        ],
    ]
