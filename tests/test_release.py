"""`make release`: what it refuses, and what is in the folder."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vidssl
from build_backend import release
from build_backend.release import Release, add_weights, check, check_run, readme, section, sums
from vidssl import VideoIndex, VidsslError
from vidssl.evaluate.run import load_run
from vidssl.versions import versions

ROOT = Path(__file__).resolve().parents[1]
CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-30\n\n### Added\n- A.\n\n## [1.1.0] - 2026-10-01\n\n- B.\n"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose only commit may be released as version 1.2.0."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "CHANGELOG.md").write_text(CHANGES)
    (root / ".gitignore").write_text("/build/\n")
    git(root, "init", "-q")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a")


def test_a_committed_version_with_changes_is_released(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    untagged = Release(version="1.2.0", commit=head, tag="", changes="## [1.2.0] - 2026-11-30\n\n### Added\n- A.\n")
    assert check(checkout, "1.2.0") == untagged
    git(checkout, "tag", "v1.2.0")
    git(checkout, "tag", "a-name-of-something-else")
    assert check(checkout, "1.2.0") == replace(untagged, tag="v1.2.0")


def test_what_is_not_committed_is_refused(checkout: Path) -> None:
    (checkout / "mine.py").write_text("")
    with pytest.raises(VidsslError, match=r"1 file\(s\) are changed or not committed, such as mine\.py; commit them"):
        check(checkout, "1.2.0")
    (checkout / "mine.py").unlink()
    (checkout / "CHANGELOG.md").write_text(CHANGES + "\n")
    with pytest.raises(VidsslError, match=r"such as CHANGELOG\.md; commit them"):
        check(checkout, "1.2.0")


def test_a_tag_that_does_not_fit_is_refused(checkout: Path) -> None:
    git(checkout, "tag", "v1.1.9")
    with pytest.raises(
        VidsslError, match=r"has the tag v1\.1\.9, but pyproject\.toml says version 1\.2\.0; .*git tag -d"
    ):
        check(checkout, "1.2.0")
    git(checkout, "tag", "-d", "v1.1.9")
    git(checkout, "tag", "v1.2.0")
    (checkout / "more.py").write_text("")
    commit(checkout)
    with pytest.raises(VidsslError, match=r"tag v1\.2\.0 is on another commit.*raise the version in pyproject\.toml"):
        check(checkout, "1.2.0")


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="is no git checkout; clone the repository"):
        check(tmp_path, "1.2.0")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CHANGES.replace("1.2.0", "1.3.0"), r"no section '## \[1\.2\.0\] - YYYY-MM-DD'; write this heading"),
        (CHANGES.replace("1.2.0", "1x2.0"), "no section"),
        (CHANGES.replace(" - 2026-11-30", ""), "no section"),
        (CHANGES.replace("### Added\n- A.\n", ""), r"the section \[1\.2\.0\] of CHANGELOG\.md is empty"),
    ],
)
def test_a_version_without_changes_is_refused(text: str, named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        section(text, "1.2.0")


def test_the_last_section_ends_with_the_file() -> None:
    assert section(CHANGES, "1.1.0") == "## [1.1.0] - 2026-10-01\n\n- B.\n"


def test_the_version_has_one_place() -> None:
    """No other file states it, so that none can differ."""
    stated = rf"(^|[^-_[:alnum:]])version[\"']?\s*[:=]\s*[\"']?{re.escape(vidssl.__version__)}\b"
    listed = subprocess.run(
        ["git", "grep", "-l", "-I", "-E", stated], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode > 1:
        pytest.skip("not a git checkout")
    assert listed.stdout.split() == ["pyproject.toml"]


def test_what_is_left_out_is_said_and_the_checksums_hold(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "ROOT", checkout)
    monkeypatch.setattr(vidssl, "__version__", "1.2.0")
    made = release.main(["--skip", "weights", "docs", "wheels"])
    assert made == checkout / "build/release/vidssl-1.2.0"
    assert sorted(path.name for path in made.iterdir()) == ["CHANGES.md", "README.md", "SHA256SUMS"]
    assert (made / "CHANGES.md").read_text() == section(CHANGES, "1.2.0")
    text = (made / "README.md").read_text()
    for part in release.PARTS:
        assert f'**Left out: {part}** (`make release SKIP="wheels docs weights"`)' in text
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True)
    (made / "CHANGES.md").write_text("")
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, capture_output=True).returncode == 1
    again = release.main(["--skip", "weights", "docs", "wheels"])  # in the place of the one before
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=again, check=True)
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_a_part_that_fails_leaves_no_folder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "ROOT", checkout)
    monkeypatch.setattr(vidssl, "__version__", "1.2.0")
    with pytest.raises(VidsslError, match="`make wheel` failed"):  # there is no Makefile
        release.main(["--skip", "weights", "docs"])
    assert not (checkout / "build/release/vidssl-1.2.0").exists()


def test_weights_and_what_is_no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "STEPS", 4)
    monkeypatch.setattr(release, "EACH", 3)
    made_by = versions().get("commit", "")
    about = Release(version="1.2.0", commit=made_by, tag="", changes="")
    out, work = tmp_path / "out", tmp_path / "work"
    (card,) = add_weights(out, about, (), work)
    (folder,) = (out / "weights").iterdir()
    assert folder.name == card["name"] == "vcop_r3d_tiny_demo_seed0"
    assert sorted(path.name for path in folder.iterdir()) == ["encoder.json", "encoder.safetensors"]
    assert json.loads((folder / "encoder.json").read_text()) == card
    assert {
        "version": "1.2.0",
        "commit": made_by,
        "licence": "Apache-2.0",
        "seed": 0,
        "step": 4,
    }.items() <= card.items()
    assert (card["data"]["seed"], card["data"]["videos of each scene"], card["data"]["held out"]) == (0, 3, 6)
    pretext, retrieval = card["metrics"]["pretext"], card["metrics"]["retrieval"]
    assert pretext["n"]["tuples"] == 4 * card["data"]["held out"]
    assert 1 / 6 < pretext["fractions"]["chance"]["accuracy"]["value"] < 1 / 2  # of one answer to these 24 tuples
    assert pretext["fractions"]["chance"]["balanced"]["value"] == pytest.approx(1 / 6)
    assert retrieval["n"]["queries"] == card["data"]["held out"]
    for found in (pretext["fractions"]["trained"]["accuracy"], retrieval["fractions"]["trained"]["R@1"]):
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    video = next((work / "scenes/ink").glob("ink_*"))
    ours, theirs = (vidssl.load(path).features(video) for path in (folder, work / "run"))
    assert np.array_equal(ours, theirs)
    text = readme(about, [card], [])
    assert 'vidssl.load("weights/vcop_r3d_tiny_demo_seed0")' in text
    assert "| pretext, accuracy | 24 tuples, 6 videos, 6 classes |" in text
    assert "weights/vcop_r3d_tiny_demo_seed0/encoder.safetensors\n" in sums(out)

    run, index = load_run(work / "run"), VideoIndex.load(work / "index.arrow")
    check_run(run, index, made_by)
    with pytest.raises(VidsslError, match=r"trained on other videos than those .*stay local, so leave it out of RUNS"):
        check_run(run, index.select(np.arange(5)), made_by)
    with pytest.raises(VidsslError, match=r"it began with weights of another run \(mine\); the weights of other data"):
        check_run(replace(run, recipe=replace(run.recipe, init="mine")), index, made_by)
    with pytest.raises(VidsslError, match=r"its encoder hf:X is none of vidssl"):
        check_run(replace(run, recipe=replace(run.recipe, encoder="hf:X")), index, made_by)
    with pytest.raises(VidsslError, match=r"trained by commit .*, but abc is released; train it again"):
        check_run(run, index, "abc")
    with pytest.raises(VidsslError, match=r"another run is also vcop_r3d_tiny_demo_seed0; release one of them"):
        add_weights(out, about, (work / "run",), work)
