"""Makes build/release/vidssl-VERSION, a folder that can be published as it is. `make release` calls it.

    python -m build_backend.release [--skip PART ...] [--runs RUN ...]

| in the folder | how it is made |
|---|---|
| *.whl | `make wheel` |
| vidssl-VERSION-docs.zip | the site of `make docs` |
| weights/NAME/ | an encoder trained on the rendered demo, for `vidssl.load`, and its card: encoder.safetensors, .json |
| CHANGES.md | this version's section of CHANGELOG.md |
| README.md | what the folder has, what was left out, how to check and use it |
| SHA256SUMS | of all other files; `sha256sum -c SHA256SUMS` checks them |

The version is that of pyproject.toml, and of no other file. The folder appears whole or not at all.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vidssl
from vidssl.demo import run as demo
from vidssl.demo.render import render
from vidssl.demo.run import EACH, STEPS
from vidssl.evaluate.accuracy import evaluate_pretext
from vidssl.evaluate.result import Result
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import TrainedRun, load_run
from vidssl.evaluate.splits import make_splits
from vidssl.index.holdout import fingerprint
from vidssl.index.table import VideoIndex
from vidssl.models import ENCODERS
from vidssl.train.checkpoint import digest
from vidssl.trained import export, load
from vidssl.trained.encoder import CARD
from vidssl.types import VidsslError

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("wheels", "docs", "weights")
SEED = 0  # of the rendered demo
SUMS = "SHA256SUMS"
LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is released.

    Attributes:
        version: Version of pyproject.toml.
        commit: The commit.
        tag: The commit's tag, vVERSION; "" if it has none yet.
        changes: The version's section of CHANGELOG.md.
    """

    version: str
    commit: str
    tag: str
    changes: str


def check(root: Path, version: str) -> Release:
    """Returns what the checkout `root` releases.

    Raises:
        VidsslError: Something is not committed, the changelog has no section of this version, or a tag does not fit.
    """
    if not (root / ".git").exists():
        raise VidsslError(f"release: {str(root)!r} is no git checkout; clone the repository, and call it there")
    dirty = _git(root, "status", "--porcelain").splitlines()
    if dirty:
        raise VidsslError(
            f"release: {len(dirty)} file(s) are changed or not committed, such as {dirty[0][3:]}; commit them, or move "
            "them away"
        )
    changes = section((root / "CHANGELOG.md").read_text(), version)
    commit, fits = _git(root, "rev-parse", "HEAD"), f"v{version}"
    tags = [tag for tag in _git(root, "tag", "--points-at", "HEAD").splitlines() if re.match(r"v\d", tag)]
    if tags and fits not in tags:
        raise VidsslError(
            f"release: this commit has the tag {tags[0]}, but pyproject.toml says version {version}; write the tag's "
            f"version there, or delete the tag: git tag -d {tags[0]}"
        )
    if not tags and _git(root, "tag", "--list", fits):
        raise VidsslError(
            f"release: the tag {fits} is on another commit, so version {version} is released already; raise the "
            "version in pyproject.toml, or check out that commit"
        )
    return Release(version=version, commit=commit, tag=fits if tags else "", changes=changes)


def section(changelog: str, version: str) -> str:
    """Returns the section of a version, with its heading.

    Raises:
        VidsslError: There is none, it has no date, or it is empty.
    """
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise VidsslError(
            f"release: CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'; write this heading below "
            "'## [Unreleased]', above what is released, or set another version in pyproject.toml"
        )
    if not found[1].strip():
        raise VidsslError(f"release: the section [{version}] of CHANGELOG.md is empty; write there what changed")
    return found[0].strip() + "\n"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise VidsslError(f"release: git {' '.join(arguments)}: {done.stderr.strip()}; repair the checkout")
    return done.stdout.strip("\n")


def _make(target: str, *settings: str) -> None:
    if subprocess.run(["make", "--no-print-directory", target, *settings], cwd=ROOT, check=False).returncode:
        raise VidsslError(f"release: `make {target}` failed, see above; repair it, or leave it out with SKIP")


def add_wheels(to: Path, release: Release) -> None:
    """Writes the wheels. Raises VidsslError if they are of another version."""
    _make("wheel", f"DIST={to}")
    wrong = [path.name for path in to.glob("*.whl") if not path.name.startswith(f"vidssl-{release.version}-")]
    if wrong:
        raise VidsslError(
            f"release: {wrong[0]} is not of version {release.version}; run `make clean`, and call it again"
        )


def add_docs(to: Path, release: Release) -> None:
    """Writes the site as one archive, in a folder of its name."""
    _make("docs")
    name = f"vidssl-{release.version}-docs"
    aside = to / name
    shutil.copytree(ROOT / "build/site", aside / name)
    shutil.make_archive(str(to / name), "zip", root_dir=aside)
    shutil.rmtree(aside)


def add_weights(to: Path, release: Release, runs: Sequence[Path], work: Path) -> list[dict[str, Any]]:
    """Writes the weights of runs.

    Args:
        to: The folder of the release.
        release: What is released.
        runs: Folders of runs on the rendered demo; without any, the demo is trained.
        work: Folder in which the demo is rendered and, without `runs`, trained.

    Returns:
        The card of each.

    Raises:
        VidsslError: A run may not be released: see `check_run`.
    """
    if not runs:
        demo(work, seed=SEED, steps=STEPS, each=EACH)
        runs = [work / "run"]
    render(work / "scenes", seed=SEED, each=EACH)
    index = VideoIndex.build(work / "scenes")
    found = [load_run(run) for run in runs]
    for run in found:  # all of them before the first is evaluated
        check_run(run, index, release.commit)
    return [_add(to, release, run, index) for run in found]


def check_run(run: TrainedRun, index: VideoIndex, commit: str) -> None:
    """Checks that the weights of a run come from the rendered demo and from this commit.

    Raises:
        VidsslError: They do not.
    """
    where, versions = f"release: runs={str(run.folder)!r}:", run.meta.get("versions", {})
    local = "the weights of other data stay local, so leave it out of RUNS"
    if run.meta["data"] != fingerprint(index):
        raise VidsslError(f"{where} trained on other videos than those that `vidssl demo` renders; {local}")
    if run.recipe.init is not None or run.meta.get("init") is not None:
        raise VidsslError(f"{where} it began with weights of another run ({run.recipe.init}); {local}")
    if run.recipe.encoder not in ENCODERS:
        raise VidsslError(
            f"{where} its encoder {run.recipe.encoder} is none of vidssl, so its first weights are not known; {local}"
        )
    if versions.get("commit") != commit:
        raise VidsslError(
            f"{where} trained by commit {versions.get('commit', 'unknown')}, but {commit} is released; train it again"
        )


def _add(to: Path, release: Release, run: TrainedRun, index: VideoIndex) -> dict[str, Any]:
    recipe = run.recipe
    name = f"{recipe.pretext.name}_{recipe.encoder}_demo_seed{recipe.train.seed}"
    folder = to / "weights" / name
    if folder.exists():
        raise VidsslError(f"release: runs={str(run.folder)!r}: another run is also {name}; release one of them")
    splits = make_splits(recipe, run.trained_on, index)
    results = [
        evaluate_pretext(run, splits.test, split=splits.description),
        evaluate_retrieval(run, splits, ks=(1, 5, 10)),
    ]
    export(load(run.folder), folder)
    exported = json.loads((folder / CARD).read_text())
    card = {
        "name": name,
        "version": release.version,
        "commit": release.commit,
        "licence": LICENCE,
        "made by": f"vidssl {release.version}: `make release`, which runs `vidssl demo --seed {recipe.train.seed}`",
        "data": {
            "what": f"{len(index)} videos that `vidssl demo` renders; no recorded video was used",
            "seed": SEED,
            "videos of each scene": EACH,
            "held out": len(splits.test),
            "fingerprint": run.meta["data"],
        },
        "seed": recipe.train.seed,
        "metrics": {result.kind: _metrics(result) for result in results},
        **exported,
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n")
    return card


def _metrics(result: Result) -> dict[str, Any]:
    """The numbers of a result, as fractions; chance is a row of them, and n are the counts."""
    return {
        "what": result.protocol,
        "split": result.split,
        "n": result.counts,
        "intervals": "95 %, low to high; none where a value is exact, as chance is",
        "fractions": {
            row: {at: one._asdict() for at, one in columns.items()} for row, columns in result.numbers.items()
        },
        "notes": list(result.notes),
    }


def readme(release: Release, cards: Sequence[Mapping[str, Any]], skipped: Sequence[str]) -> str:
    """Returns the README of the folder."""
    lines = [
        f"# vidssl {release.version}",
        "",
        f"Commit {release.commit}, " + (f"tag {release.tag}." if release.tag else "not tagged when this was made."),
        "[CHANGES.md](CHANGES.md) says what is new.",
        "",
        "```sh",
        f"sha256sum -c {SUMS}  # are all files whole?",
        *(["pip install vidssl-*.whl  # the one of your Python"] if "wheels" not in skipped else []),
        "```",
        "",
    ]
    for part in skipped:
        lines += [f'**Left out: {part}** (`make release SKIP="{" ".join(skipped)}"`).', ""]
    for card in cards:
        lines += [
            f"## weights/{card['name']}",
            "",
            f'`vidssl.load("weights/{card["name"]}")` loads it. Trained for {card["step"]} steps on '
            f"{card['data']['what']}. Licence: {card['licence']}. Its card, `{CARD}`, has all settings and numbers.",
            "",
            "| % of held-out | n | trained | untrained | chance |",
            "|---|---|---|---|---|",
        ]
        for kind, found in card["metrics"].items():
            rows, counts = found["fractions"], ", ".join(f"{count} {what}" for what, count in found["n"].items())
            lines += [
                f"| {kind}, {column} | {counts} | "
                + " | ".join(_percent(rows[row][column]) for row in ("trained", "untrained", "chance"))
                + " |"
                for column in rows["trained"]
            ]
        lines.append("")
    return "\n".join(lines)


def _percent(one: Mapping[str, float | None]) -> str:
    interval = "" if one["low"] is None else f" [{100 * one['low']:.1f}, {100 * (one['high'] or 0):.1f}]"
    return f"{100 * (one['value'] or 0):.1f}{interval}"


def sums(folder: Path) -> str:
    """Returns the SHA-256 of all files below a folder, as `sha256sum` writes them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Makes the folder.

    Args:
        arguments: Those of the command; None takes the program's.

    Returns:
        The folder.

    Raises:
        VidsslError: It cannot be released, or a part cannot be made.
    """
    parser = argparse.ArgumentParser(description="Make build/release/vidssl-VERSION.")
    parser.add_argument("--skip", nargs="*", default=[], choices=PARTS, help="parts to leave out")
    parser.add_argument(
        "--runs", nargs="*", default=[], type=Path, help="runs on the rendered demo; else it is trained"
    )
    given = parser.parse_args(arguments)
    release = check(ROOT, vidssl.__version__)
    out = ROOT / "build/release"
    final, aside = out / f"vidssl-{release.version}", out / f".vidssl-{release.version}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    cards = [] if "weights" in given.skip else add_weights(aside, release, given.runs, out / "demo")
    if "wheels" not in given.skip:
        add_wheels(aside, release)
    if "docs" not in given.skip:
        add_docs(aside, release)
    if check(ROOT, release.version) != release:
        raise VidsslError("release: another commit was checked out meanwhile; call it again")
    (aside / "CHANGES.md").write_text(release.changes)
    (aside / "README.md").write_text(readme(release, cards, [part for part in PARTS if part in given.skip]))
    (aside / SUMS).write_text(sums(aside))
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    print(f"release: {final.relative_to(ROOT)}" + (f", without {', '.join(given.skip)}" if given.skip else ""))
    return final


if __name__ == "__main__":
    try:
        main()
    except VidsslError as error:
        sys.exit(f"error: {error}")
