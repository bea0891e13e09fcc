"""The page says what the runs' files say, and needs nothing else."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate.parts import parts
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.trained import View, open_run
from vidssl.report import write_report
from vidssl.train.config import Recipe
from vidssl.train.loop import train

VOID = {"meta", "img", "br", "i"}


class Checker(HTMLParser):
    """Every tag is closed; nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID - {"i"}:
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def runs(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        train(recipe, index, root / name, steps=4, device="cpu", quiet=True)
    run = open_run(root / "first")
    data = parts(run.recipe, run.meta["data"], index)
    evaluate_retrieval(run, data, view=View(clips=2), ks=(1,), device="cpu", progress=False)
    evaluate_probe(run, data, view=View(clips=2), device="cpu", progress=False)
    return [root / "first", root / "second"]


def test_all_is_in_the_page(runs: list[Path], tmp_path: Path) -> None:
    text = write_report(runs, tmp_path / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(checker.loaded) == 1
    assert checker.loaded[0].startswith("data:image/png;base64,")
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", re.sub(r'src="data:[^"]+"', "", text))
    found = json.loads((runs[0] / "retrieval.json").read_text())
    assert f"{100 * found['numbers']['trained']['R@1']['value']:.1f}" in text
    assert all(name in text for name in ("train/loss", "val/accuracy", "first", "second", "vcop", "r3d_tiny", "Not evaluated"))
    assert text.count("<polyline") >= 2 * 5  # two runs, at least five metrics
    assert len(re.findall(r"taken for", text)) == 3 * 3


def test_the_command(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "sub" / "r.html")]) == 0
    assert (tmp_path / "sub" / "r.html").is_file()
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 2
    assert "no checkpoint in it" in capsys.readouterr().err


def test_wrong_use_is_named(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"runs=\[\]"):
        write_report([], tmp_path / "r.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(VidsslError, match="name a file that can be written"):
        write_report(runs, tmp_path / "file" / "r.html")


def test_figures_of_different_videos_are_said_not_to_compare(runs: list[Path], index: VideoIndex, tmp_path: Path) -> None:
    warning = "Not to be compared, tested on different videos: retrieval R@1 ("
    folders = [shutil.copytree(path, tmp_path / path.name) for path in runs]
    first, second = (open_run(folder) for folder in folders)
    evaluate_retrieval(second, parts(second.recipe, second.meta["data"], index), view=View(clips=2), ks=(1,), device="cpu", progress=False)
    assert warning not in write_report(folders, tmp_path / "same.html").read_text()
    fewer = index.select(range(8))
    evaluate_retrieval(first, parts(first.recipe, first.meta["data"], fewer), view=View(clips=2), ks=(1,), device="cpu", progress=False)
    assert warning in write_report(folders, tmp_path / "other.html").read_text()
