"""A task of a file: trained, joined, resumed, evaluated and loaded by its code, and run only where it is trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vidssl
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.pretext import METHODS, Vcop, import_pretext, join, pretext_code
from vidssl.pretext.registry import CODE
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, recipe_from
from vidssl.train.train import train

TASK = """
from pathlib import Path

from vidssl.pretext import Vcop

with (Path(__file__).parent / "imported").open("a") as file:  # shows whether the code was run
    file.write("x")


class Mine(Vcop):
    name = "mine"


class NoTask:
    pass


class Taken(Vcop):
    pass


def function():
    pass
"""


def forget() -> None:
    """Leaves this process as one that has not seen the task."""
    for name in CODE:
        METHODS.pop(name, None)
    CODE.clear()
    for name in [one for one in sys.modules if one == "own_task" or one.startswith("vidssl_code_")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget()


@pytest.mark.parametrize("code", ["own_task.py:Mine", "own_task:Mine"])
def test_a_task_of_a_file(
    code: str, folder: Path, index: VideoIndex, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    own = replace(recipe, pretext=join(recipe.pretext, [code]))
    assert (own.pretext.name, own.pretext.augment) == ("mine", recipe.pretext.augment)
    train(own, index, folder / "RUN", device="cpu", steps=2, quiet=True)
    train(own, index, folder / "RUN", device="cpu", steps=4, resume=True, quiet=True)
    meta = checkpoint.load_meta(checkpoint.find(folder / "RUN"))
    assert meta["recipe"]["code"] == {"mine": code}
    assert "code" not in recipe.as_dict()

    for ask in (f"evaluate retrieval RUN --train {index.root} --clips 1", "export RUN --out ENCODER"):
        forget()
        (folder / "imported").unlink()
        assert main(ask.split()) == 2
        assert f"pretext='{code}': this run's task 'mine' is that code" in capsys.readouterr().err
        assert not (folder / "imported").exists()
        assert main([*ask.split(), "--trust-code"]) == 0
        assert (folder / "imported").exists()
    forget()
    with pytest.raises(VidsslError, match="--trust-code"):
        vidssl.load(folder / "RUN")
    assert vidssl.load(folder / "RUN", trust_code=True).features(index.video(0).path, device="cpu").ndim == 1


def test_a_task_of_a_file_beside_ours(folder: Path, recipe: Recipe) -> None:
    joint = replace(recipe, pretext=join(recipe.pretext, ["vcop", "own_task.py:Mine"]))
    assert joint.pretext.name == "vcop+mine"
    assert pretext_code(joint.pretext.name) == {"mine": "own_task.py:Mine"}
    values = joint.as_dict()
    forget()
    again = recipe_from(values, trust_code=True)
    assert again.as_dict() == values


def test_an_unchanged_file_gives_the_same_class(folder: Path) -> None:
    mine = import_pretext("own_task.py:Mine")
    assert import_pretext("own_task.py:Mine") is mine
    (folder / "own_task.py").write_text(TASK + "# changed\n")
    with pytest.raises(VidsslError, match=r"name='mine': vidssl_code_.*Mine has this name"):
        import_pretext("own_task.py:Mine")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("none.py:Mine", "no such file"),
        ("none_of_these:Mine", "ModuleNotFoundError"),
        ("own_task.py:None_", "has no class 'None_'"),
        ("own_task.py:", "take module:class"),
        ("own_task.py:NoTask", "no subclass of vidssl.pretext.Pretext"),
        ("own_task.py:function", "no subclass of vidssl.pretext.Pretext"),
    ],
)
def test_what_is_no_task(code: str, problem: str, folder: Path, recipe: Recipe) -> None:
    with pytest.raises(VidsslError, match=f"^pretext='{code}': ") as raised:
        join(recipe.pretext, [code])
    assert raised.match(problem)


def test_the_name_of_one_of_ours_is_refused(folder: Path) -> None:
    with pytest.raises(VidsslError, match=r"name='vcop': vidssl\.pretext\.vcop\.Vcop has this name"):
        import_pretext("own_task.py:Taken")
    assert METHODS["vcop"] is Vcop


def test_a_run_whose_task_was_renamed(folder: Path, recipe: Recipe) -> None:
    values = replace(recipe, pretext=join(recipe.pretext, ["own_task.py:Mine"])).as_dict()
    forget()
    (folder / "own_task.py").write_text(TASK.replace('"mine"', '"other"'))
    with pytest.raises(VidsslError, match="its name is 'other', but the run's task was 'mine'"):
        recipe_from(values, trust_code=True)


def test_a_task_that_is_not_known_is_named(recipe: Recipe) -> None:
    values = {**recipe.as_dict(), "method": "somebodys"}
    with pytest.raises(VidsslError, match=r"^pretext='somebodys': no task of this name is known here; import the mod"):
        recipe_from(values)


HOLDS = """
from dataclasses import dataclass
from typing import ClassVar

from vidssl.pretext import Vcop


@dataclass(frozen=True, kw_only=True)
class Holds(Vcop):
    \"\"\"VCOP with a setting of its own.

    Args:
        hold: Frames that are held.
    \"\"\"

    name: ClassVar[str] = "holds"
    hold: int = 2
"""


def test_fields_of_a_task_of_ones_own_are_options(
    folder: Path, index: VideoIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "holds.py").write_text(HOLDS)
    command = ["train", "vcop_r3d_tiny", "--pretext", "holds.py:Holds"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "--hold INT" in capsys.readouterr().out
    index.save("videos.arrow")
    command += ["--data", "videos.arrow", "--out", "RUN", "--batch-size", "2", "--device", "cpu"]
    assert main([*command, "--steps", "1", "--interval", "4", "--hold", "5"]) == 0
    task = recipe_from(checkpoint.load_meta(checkpoint.find(folder / "RUN"))["recipe"]).pretext
    assert (task.name, task.as_dict()["hold"], task.as_dict()["interval"]) == ("holds", 5, 4)
    assert main([*command, "--resume", "--steps", "2"]) == 0
    assert main([*command, "--resume", "--steps", "3", "--hold", "6"]) == 2
    assert "pretext.hold: 5 in the run, 6 here" in capsys.readouterr().err
