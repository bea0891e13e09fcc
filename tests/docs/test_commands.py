"""The commands of the pages: found, executed several pages at a time, and beside the demo where a page can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("docutils", reason="make docs installs what the site needs")

from docs.tools import commands
from docs.tools.commands import WORK, Block, blocks, printed, run_all, run_page
from docs.tools.executed import clean
from docs.tools.pages import ROOT, sources

PAGE = """# Page

```{run}
:language: python
:pictures: a.png
names = ["a"]

print(names)
```

```{run}
:file: code.py
x = 1
```

```{run}
:tail: 3
cat code.py
```
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the commands with nothing but a demo that was made before."""
    for name in ("work", "printed"):
        (tmp_path / name).mkdir()
    (tmp_path / "work/demo.log").write_text("made before\n")
    monkeypatch.setattr(commands, "WORK", tmp_path / "work")
    monkeypatch.setattr(commands, "PRINTED", tmp_path / "printed")
    monkeypatch.setattr(commands, "TIMES", tmp_path / "times.txt")
    return tmp_path / "work"


def test_the_blocks_of_a_page_are_found() -> None:
    assert blocks(PAGE) == [
        Block("python", None, 'names = ["a"]\n\nprint(names)'),
        Block("bash", "code.py", "x = 1"),
        Block("bash", None, "cat code.py"),
    ]


@pytest.mark.parametrize("name", sources())
def test_every_block_of_every_page_is_found_once(name: str) -> None:
    text = (ROOT / name).read_text()
    found = blocks(text)
    assert len(found) == sum(line == "```{run}" for line in text.splitlines())
    assert len({block.text for block in found}) == len(found)  # what one printed is found by its text


def test_a_page_is_executed_in_order(work: Path) -> None:
    more = "```{run}\n:language: python\nprint(len(names))\n```\n"
    took = run_page("guides/page", PAGE + more)
    assert list(printed("guides/page").values()) == ["['a']\n", "x = 1\n", "1\n"]
    assert [one.text for one in took] == ["print(names)", "x = 1", "cat code.py", "print(len(names))"]
    assert (work / "code.py").read_text() == "x = 1\n"


def test_progress_bars_and_colours_are_left_out(work: Path) -> None:
    run_page("page", "```{run}\nprintf 'bar:  0%%|   | 0/2\\rbar: 100%%|###| 2/2\\n\\033[1mdone\\033[0m\\n'; pwd\n```")
    (told,) = printed("page").values()
    assert clean(told.replace(str(work), str(WORK))) == "done\n."


@pytest.mark.parametrize("block", ["```{run}\necho told; false\n```", "```{run}\n:language: python\n1 / 0\n```"])
def test_what_fails_is_named_with_its_page(work: Path, block: str) -> None:
    with pytest.raises(RuntimeError, match=r"^bad: this failed:\n(.|\n)*(told|ZeroDivisionError)"):
        run_all({"bad": block, "good": "```{run}\necho good\n```"})
    assert printed("good") == {"echo good": "good\n"}
    assert printed("bad") == {}


def test_only_pages_that_show_the_run_wait_for_the_demo(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo ends here only if a page that needs its videos alone is executed beside it."""
    (work / "demo.log").unlink()
    waits = "timeout 60 sh -c 'until [ -e free ]; do sleep 0.05; done'"
    waits = f"mkdir demo; touch demo/index.arrow; {waits}; echo demo >> log"
    monkeypatch.setattr(commands, "DEMO", waits)
    trained = "```{run}\necho trained >> log; echo demo/run\n```"
    run_all({"a": trained, "b": "```{run}\necho free >> log; touch free\n```"})
    assert (work / "log").read_text().split() == ["free", "demo", "trained"]
    assert len(commands.TIMES.read_text().splitlines()) == 3


def test_only_the_pages_that_were_asked_for_are_executed(work: Path) -> None:
    texts = {name: f"```{{run}}\necho {name}; date +%s%N\n```" for name in "ab"}
    run_all(texts)
    first = {name: printed(name) for name in texts}
    (work / "kept").touch()
    run_all(texts, pages=["b"])
    assert printed("a") == first["a"]
    assert printed("b") != first["b"]
    assert (work / "kept").exists()
    assert json.loads((commands.PRINTED / "b.json").read_text()) == printed("b")
