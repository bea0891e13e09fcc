"""The pages of methods say what was published and what vidssl does: their settings are the recipes'."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vidssl.evaluate.finetune import FineTune
from vidssl.evaluate.run import View
from vidssl.pretext import Pretext
from vidssl.recipes import RECIPES
from vidssl.train.config import Recipe, flat

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / f"methods/{name}.md" for name in ("shuffle_learn", "opn", "odd_one_out", "vcop")] + [
    DOCS / "methods.md"
]
SETTING = re.compile(r"`((?:pretext|train|plan|view|finetune|encoder)[\w.]*)=([^`]+)`")
SOURCES = ("code", "paper", "note", "framework")
COMPARED = ("lr", "schedule", "momentum", "weight_decay", "batch_size", "amp", "slotwise_bn", "holdout", "optimizer")


class Row(NamedTuple):
    setting: str
    published: str
    here: str
    status: str
    source: str


def tables() -> dict[str, list[Row]]:
    """The rows of each table, by the recipe in its heading; "Evaluation" has none."""
    found: dict[str, list[Row]] = {}
    for part in [part for page in PAGES for part in page.read_text().split("\n## ")[1:]]:
        heading, _, text = part.partition("\n")
        if not heading.startswith(("As published", "Evaluation")):
            continue
        name = match[1] if (match := re.search(r"`(\w+)`", heading)) else heading
        lines = [line for line in text.splitlines() if line.startswith("|")]
        found[name] = [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[2:]]
    return found


TABLES = tables()
METHODS = [name for name in TABLES if name in RECIPES]


def values(name: str) -> dict[str, Any]:
    """Every setting that a table may name."""
    if name == "Evaluation":
        return flat({"view": asdict(View()), "finetune": asdict(FineTune())})
    recipe: Recipe = RECIPES[name]()
    plan = recipe.pretext.plan
    return flat(recipe.as_dict()) | {"plan.frames": plan.frames, "plan.classes": plan.classes}


def test_every_published_method_has_a_table() -> None:
    assert [RECIPES[name]().pretext.name for name in METHODS] == ["shuffle_learn", "opn", "odd_one_out", "vcop"]
    assert set(TABLES) == {*METHODS, "Evaluation"}


@pytest.mark.parametrize("name", TABLES)
def test_settings_are_those_of_the_recipe(name: str) -> None:
    wanted, named = values(name), 0
    for row in TABLES[name]:
        for key, text in SETTING.findall(row.here):
            value = ast.literal_eval(text)
            assert wanted[key] == (list(value) if isinstance(value, tuple) else value), f"{row.setting}: {key}"
            named += 1
    assert named >= 10


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_a_task_has_a_row(name: str) -> None:
    named = {key for row in TABLES[name] for key, _ in SETTING.findall(row.here)}
    own = {one.name for one in fields(RECIPES[name]().pretext)} - {one.name for one in fields(Pretext)}
    assert {f"pretext.{key}" for key in own} - named == set()
    assert {f"train.{key}" for key in COMPARED} - named == set()
    assert "encoder" in named


@pytest.mark.parametrize("name", TABLES)
def test_every_row_says_how_close_it_is_and_by_which_source(name: str) -> None:
    for row in TABLES[name]:
        assert row.status.split()[0] in ("exact", "choice"), row.setting
        assert row.source.startswith(SOURCES) or (row.status == "choice" and not row.source), row.setting


def test_published_recipes_compute_in_float32() -> None:
    for name in (*METHODS, "vcop_c3d", "vcop_r2plus1d"):
        assert RECIPES[name]().train.amp == "off"


def test_published_recipes_see_videos_as_they_are() -> None:
    for name, make in RECIPES.items():
        recipe = make()
        modern = name.endswith(("resnet18", "_18"))
        resize = "x".join(map(str, recipe.pretext.augment.resize))
        assert recipe.store_size == (resize if modern else "none"), name
