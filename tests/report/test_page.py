"""The page says what the runs' files say, and needs nothing else."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vidssl import VideoIndex, VidsslError, files
from vidssl.cli import main
from vidssl.evaluate.confidence import wilson
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import View, load_run
from vidssl.evaluate.splits import make_splits
from vidssl.report import write_report
from vidssl.report.read import read_curves
from vidssl.train.train import train

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
    assert all(
        name in text for name in ("train/loss", "val/accuracy", "first", "second", "vcop", "r3d_tiny", "Not evaluated")
    )
    logged = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    (last,) = [line for line in logged if "val/accuracy" in line][-1:]
    accuracy, count = last["val/accuracy"], last["val/tuples"]
    low, high = wilson(accuracy * count, count)
    shown = f"{100 * accuracy:.1f} <small>[{100 * low:.1f}, {100 * high:.1f}] of {count:.0f} tuples, "
    assert f"{shown}chance {100 * last['val/chance']:.1f}</small>" in text
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
    with pytest.raises(VidsslError, match="cannot be written to; name a file in another folder"):
        write_report(runs, tmp_path / "file" / "r.html")


def test_figures_of_different_videos_are_said_not_to_compare(runs: list[Path], tmp_path: Path) -> None:
    """The warning says which videos differ, and how."""
    folders = [shutil.copytree(path, tmp_path / path.name) for path in runs]
    shutil.copy(folders[0] / "retrieval.json", folders[1])
    result = json.loads((folders[1] / "retrieval.json").read_text())
    known = result["data"]
    tested, learnt = (f"{known[f'{part}_videos']} videos of {known[f'{part}_root']}" for part in ("test", "train"))

    def warning(split: str = result["split"], **data: Any) -> str:
        say(folders[1], data={**known, **data}, split=split)
        text = html.unescape(write_report(folders, tmp_path / "r.html").read_text())
        return next(iter(re.findall(r"Not comparable: [^<]*", text)), "")

    assert warning() == ""
    gallery = "the videos that the test videos are compared with differ"
    assert warning(train="another", train_videos=97) == (
        f"Not comparable: retrieval R@1, because {gallery} "
        f"(first: {learnt}; second: 97 videos of {known['train_root']})."
    )
    assert warning(test="another", test_videos=3, test_root="b") == (
        f"Not comparable: retrieval R@1, because the test videos differ (first: {tested}; second: 3 videos of b)."
    )
    assert warning(train="x", test="y") == (
        "Not comparable: retrieval R@1, because the test videos differ "
        f"(first: {tested} with fingerprint {known['test']}; second: {tested} with fingerprint y), and {gallery} "
        f"(first: {learnt} with fingerprint {known['train']}; second: {learnt} with fingerprint x)."
    )
    assert "the videos are split differently (first: tested on" in warning(split="in another way")


def test_the_page_fits_a_phone_and_a_dark_screen(runs: list[Path], tmp_path: Path) -> None:
    head, body = write_report(runs, tmp_path / "r.html").read_text().split("</head>")
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in head
    assert "@media(prefers-color-scheme:dark)" in head
    assert body.count("<table") == body.count('<div class="wide"><table')  # a wide table scrolls, not the page


def copy_of(run: Path, to: Path) -> Path:
    shutil.copytree(run, to, symlinks=True)
    return to


def say(run: Path, **changes: Any) -> None:
    """Change what the run's retrieval.json says."""
    about = json.loads((run / "retrieval.json").read_text())
    (run / "retrieval.json").write_text(json.dumps(about | changes))


def test_a_run_shows_nothing_from_outside_of_its_folder(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.png").write_bytes((runs[0] / "retrieval.png").read_bytes())
    out = tmp_path / "r.html"
    for number, name in enumerate(("../secret.png", str(tmp_path / "secret.png"))):
        run = copy_of(runs[0], tmp_path / f"run{number}")
        say(run, images={"x": name})
        with pytest.raises(VidsslError, match=r"it leads out of .*allow_outside=True \(--allow-outside\)"):
            write_report([run], out)
        assert main(["report", str(run), "--out", str(out)]) == 2
        assert "--allow-outside" in capsys.readouterr().err
        assert not out.exists()
    assert main(["report", str(run), "--out", str(out), "--allow-outside"]) == 0
    assert "data:image/png" in out.read_text()


@pytest.mark.parametrize(
    "name", ["retrieval.png", "retrieval.json", "metrics.jsonl", "checkpoints/step_00000004", "checkpoints"]
)
def test_a_link_that_leads_out_of_a_run_is_not_read(name: str, runs: list[Path], tmp_path: Path) -> None:
    run = copy_of(runs[0], tmp_path / "run")
    (tmp_path / "kept").mkdir()
    (run / name).rename(tmp_path / "kept" / "x")
    (run / name).symlink_to(tmp_path / "kept" / "x")
    with pytest.raises(VidsslError, match="it leads out of"):
        write_report([run], tmp_path / "r.html")
    write_report([run], tmp_path / "r.html", allow_outside=True)
    if name.startswith("checkpoints"):
        with pytest.raises(VidsslError, match="it leads out of"):
            load_run(run)
        assert load_run(run, allow_outside=True).folder == run.resolve()
    if name == "metrics.jsonl":
        assert main(["runs", str(tmp_path), "--out", str(tmp_path / "runs.png")]) == 2
        assert main(["runs", str(tmp_path), "--out", str(tmp_path / "runs.png"), "--allow-outside"]) == 0


def test_the_best_checkpoint_may_be_named_by_its_link(runs: list[Path]) -> None:
    opened = load_run(runs[0] / "checkpoints" / "best")
    assert opened.folder == runs[0].resolve()
    (runs[0].parent / "alias").symlink_to(runs[0])
    assert load_run(runs[0].parent / "alias").folder == runs[0].resolve()


def test_only_pictures_are_put_into_the_page(runs: list[Path], tmp_path: Path) -> None:
    run = copy_of(runs[0], tmp_path / "run")
    say(run, images={"x": "metrics.jsonl"})
    with pytest.raises(VidsslError, match=r"metrics\.jsonl: it is not a PNG picture"):
        write_report([run], tmp_path / "r.html")


HOSTILE = "<script>alert(1)</script>\n![x](http://example.com/y)\t\x1b[2J"


def test_what_a_run_says_is_text(runs: list[Path], tmp_path: Path) -> None:
    run = copy_of(runs[0], tmp_path / "run")
    about = json.loads((run / "retrieval.json").read_text())
    numbers = {HOSTILE: next(iter(about["numbers"].values()))}
    confusion = {HOSTILE: {"classes": [HOSTILE], "table": [[1]]}}
    say(
        run,
        notes=[HOSTILE],
        split=HOSTILE,
        protocol=HOSTILE,
        numbers=numbers,
        counts={HOSTILE: 1},
        detail={"confusion": confusion},
        images={HOSTILE: "retrieval.png"},
        seed=HOSTILE,
    )
    (run / "retrieval.json").rename(run / "<script>.json")
    text = write_report([run], tmp_path / "r.html").read_text()
    assert text.count("&lt;script&gt;alert(1)") >= 7
    assert "<script" not in text
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert all(source.startswith("data:image/png;base64,") for source in checker.loaded)


@pytest.mark.parametrize("changes", [{"step": "x"}, {"numbers": {"trained": {"R@1": {"value": "1"}}}}, {"counts": []}])
def test_a_run_that_is_not_ours_is_an_error(changes: dict[str, Any], runs: list[Path], tmp_path: Path) -> None:
    run = copy_of(runs[0], tmp_path / "run")
    say(run, **changes)
    with pytest.raises(VidsslError, match="is not in the format that vidssl writes"):
        write_report([run], tmp_path / "r.html")


def test_an_evaluation_writes_into_the_run_alone(runs: list[Path], index: VideoIndex, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("features", "tensorboard"):
        run = copy_of(runs[0], tmp_path / name)
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).symlink_to(tmp_path / "elsewhere")
        opened = load_run(run)
        data = make_splits(opened.recipe, opened.trained_on, index)
        with pytest.raises(VidsslError, match="a link leads out of"):
            evaluate_retrieval(opened, data, view=View(clips=2), ks=(1,), device="cpu", progress=False)
        with pytest.raises(VidsslError, match="a link leads out of"):
            train(
                opened.recipe, index, run, steps=5, device="cpu", quiet=True, resume=True
            ) if name == "tensorboard" else evaluate_probe(
                opened, data, view=View(clips=2), device="cpu", progress=False
            )
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_evaluation_replaces_no_file_that_its_results_are_links_to(
    runs: list[Path], index: VideoIndex, tmp_path: Path
) -> None:
    run = copy_of(runs[0], tmp_path / "run")
    for name in ("retrieval.json", "retrieval.png"):
        (tmp_path / name).write_text("a source")
        (run / name).unlink()
        (run / name).symlink_to(tmp_path / name)
    opened = load_run(run)
    evaluate_retrieval(
        opened,
        make_splits(opened.recipe, opened.trained_on, index),
        view=View(clips=2),
        ks=(1,),
        device="cpu",
        progress=False,
    )
    assert [(tmp_path / name).read_text() for name in ("retrieval.json", "retrieval.png")] == ["a source", "a source"]
    assert not (run / "retrieval.png").is_symlink()


def test_out_is_not_a_list_of_labels(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "l.csv").write_text("path,label\n")
    for option in ("--labels", "--train"):
        data = [] if option == "--train" else ["--train", str(tmp_path)]
        path = str(tmp_path / "l.csv")
        assert main(["evaluate", "retrieval", str(runs[0]), *data, option, path, "--out", path]) == 2
        assert "name a file that ends in .json" in capsys.readouterr().err
    for name in ("run.json", "metrics.jsonl"):
        before = (runs[0] / name).read_bytes()
        for command in (["evaluate", "probe", str(runs[0]), "--train", str(tmp_path)], ["report", str(runs[0])]):
            assert main([*command, "--out", str(runs[0] / name)]) == 2
            assert "name" in capsys.readouterr().err
        assert (runs[0] / name).read_bytes() == before


def test_lines_that_no_log_has_are_left_out(runs: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('null\n[1]\n{"train/loss": 1.0}\n{"step": "x", "train/loss": 2.0}\n{"step": 3, "train/loss": 4.0}\n')
    assert read_curves(log) == {"train/loss": [(3.0, 4.0)]}


def test_a_log_may_be_longer_than_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.read_text, "__defaults__", ("utf-8", 1000))
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(f'{{"step": {step}, "train/loss": 1.5}}\n' for step in range(100)))
    assert read_curves(log) == {"train/loss": [(float(step), 1.5) for step in range(100)]}
