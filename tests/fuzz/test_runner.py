"""The runner of `make fuzz`: it continues where it stopped, keeps findings with their inputs, and mixes no code."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from tests.fuzz import __main__ as runner
from tests.fuzz.targets import TARGETS, Target


def small(folder: Path) -> Callable[[int], str]:
    """Writes its seed into its input; multiples of three are wrong."""
    (folder / "input").mkdir()

    def run(seed: int) -> str:
        (folder / "input" / "seed").write_text(str(seed))
        return "" if seed % 3 else "a multiple of three"

    return run


@pytest.fixture(autouse=True)
def _one_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TARGETS", {"small": Target("tests.fuzz.test_runner:small", 1)})


def test_a_stopped_run_continues_where_it_stopped(tmp_path: Path) -> None:
    book = runner.Book(tmp_path)
    runner.fuzz(book, [("small", range(2, 6))], 1)
    kinds = {2: "ok", 3: "wrong", 4: "ok", 5: "ok"}
    assert book.done == {("small", seed): kind for seed, kind in kinds.items()}
    with (tmp_path / "done.txt").open("a") as file:
        file.write("small 9 o")  # a killed run leaves half a line
    book = runner.Book(tmp_path)
    todo = list(runner.jobs(book, ["small"], 8, 0))
    assert todo == [("small", range(0, 2)), ("small", range(6, 8))]
    runner.fuzz(book, todo, 2)
    assert list(runner.jobs(runner.Book(tmp_path), ["small"], 8, 0)) == []
    assert book.summary().splitlines()[-1] == "| all | 8 | 5 | 0 | 0 | 0 | 3 |"


def test_a_finding_is_kept_with_its_input_and_command(tmp_path: Path) -> None:
    runner.fuzz(runner.Book(tmp_path), [("small", range(2, 5))], 1)
    [folder] = (tmp_path / "findings").iterdir()
    said = (folder / "finding.txt").read_text().splitlines()
    assert "--targets small --seed 3 --count 1 " in said[0]
    assert said[1:] == ["wrong: a multiple of three"]
    assert (folder / "input" / "seed").read_text() == "3"


def test_outcomes_of_other_code_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.Book(tmp_path)
    monkeypatch.setattr(runner, "fingerprint", lambda: 1)
    with pytest.raises(SystemExit, match="begun with other code; name another folder"):
        runner.Book(tmp_path)


def test_every_target_is_a_function() -> None:
    for target in TARGETS.values():
        module, _, name = target.function.partition(":")
        assert callable(getattr(import_module(module), name))
