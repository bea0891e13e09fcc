"""The search trains named variants, asks about groups that they did not see, and leaves out what it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bench_recipes import VARIANTS, changed, left_chance, main
from benchmarks.method_tables import recipes_table
from tests.clips import make_clip
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_recipe_with_its_settings(name: str) -> None:
    recipe, settings = VARIANTS[name]
    made = changed(RECIPES[recipe](), settings)
    assert (made == RECIPES[recipe]()) == (not settings)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("vcop_") and name not in RECIPES])
def test_a_variant_sees_differences_only_if_its_name_says_so(name: str) -> None:
    for variant in ("vcop", name):
        recipe, settings = VARIANTS[variant]
        made = changed(RECIPES[recipe](), settings)
        assert (made.encoder == "r3d_tiny_difference") == ("difference" in variant)


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(VidsslError, match=r"settings='train\.rate': no such setting; take one of .*lr"):
        changed(RECIPES["opn_tiny"](), {"train.rate": 1})


@pytest.mark.parametrize(
    ("low", "step"), [((0.1, 0.3, 0.3), 2), ((0.3, 0.1, 0.3), 3), ((0.3, 0.3, 0.1), None), ((0.3, 0.3, 0.3), 1)]
)
def test_chance_is_left_for_good(low: tuple[float, ...], step: int | None) -> None:
    curve = [{"step": at, "low": one, "chance": 0.2} for at, one in enumerate(low, start=1)]
    assert left_chance(curve) == step


def test_it_asks_about_other_groups_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "videos", tmp_path / "out.jsonl"
    folder.mkdir()
    for number in range(32):
        make_clip(folder / f"{number % 8}_{number}.avi", "mpeg4", frames=16, size=(48, 64))
    main(data=folder, keep=tmp_path / "keep", variants=("odd_one_out_tiny",), groups=r"\d(?=_)", steps=6, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["workload"] == "videos, training groups, odd_one_out_tiny, 6 steps, seed 632"
    # Eight groups of four videos: two are set aside, and of the other six either one or two are asked about.
    assert line["videos"] == 4 * line["groups"]
    assert line["groups"] in (1, 2)
    assert line["tuples"] == 4 * line["videos"]
    assert [one["step"] for one in line["curve"]] == [1, 2, 3, 4, 5, 6]
    assert line["low"] <= line["accuracy"] <= line["high"]
    assert f"| **{100 * line['accuracy']:.1f}** [" in recipes_table([line])
    main(data=folder, keep=tmp_path / "keep", variants=("odd_one_out_tiny",), groups=r"\d(?=_)", steps=6, out=out)
    assert len(out.read_text().splitlines()) == 1
    again = tmp_path / "again.jsonl"
    main(data=folder, keep=tmp_path / "keep", variants=("odd_one_out_tiny",), groups=r"\d(?=_)", steps=6, out=again)
    one = json.loads(again.read_text())
    assert one["curve"] == line["curve"]
    assert (one["cpu minutes"], line["cpu minutes"] is None) == (None, False)
