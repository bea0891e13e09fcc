"""Which files of the repository are pages of the site, and where the links between them lead there."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Files outside of docs/ that are pages: their place in the site.
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks/tables.md",
    "benchmarks/loading.md": "benchmarks/loading.md",
    "benchmarks/store.md": "benchmarks/store.md",
    "benchmarks/indexing.md": "benchmarks/indexing.md",
    "benchmarks/methods.md": "benchmarks/methods.md",
    "benchmarks/time.md": "benchmarks/time.md",
    "benchmarks/why.md": "benchmarks/why.md",
    "benchmarks/LOG.md": "benchmarks/log.md",
    "examples/README.md": "examples/index.md",
}
# Files that are no pages: the pages that say the same.
INSTEAD = {
    "README.md": "index.md",
    "docs/README.md": "index.md",
}
LISTED = ("decisions/index.md", "examples/index.md")  # pages that get a list of the pages beside them, for the menu
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
# Code, in which nothing is a link. A name in code that is the text of a link is part of it: [`name`](file.md).
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1\s*$|(?P<linked>\[`[^`\n]+`\](?=\())|`[^`\n]+`", re.DOTALL | re.MULTILINE)


class BrokenLink(ValueError):
    """A link leads to no file of the repository."""


def sources() -> dict[str, str]:
    """Each Markdown file of the repository that is a page: its place in the site; both are relative paths."""
    found = dict(OUTSIDE)
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(ROOT).as_posix()
        if name not in INSTEAD:
            found[name] = name.removeprefix("docs/").replace("README.md", "index.md")
    return found


def place(name: str, pages: dict[str, str]) -> str | None:
    """Where a file of the repository is in the site; None if it is no page.

    Args:
        name: Path, relative to the repository.
        pages: What `sources` returns.
    """
    example = re.fullmatch(r"examples/(\w+)\.(?:py|sh)", name)
    if example:
        return f"examples/{example[1]}.md"
    return pages.get(name) or INSTEAD.get(name)


def resolve(target: str, name: str) -> tuple[str, str]:
    """Split a link of a file into the file that it leads to, relative to the repository, and the anchor ("" or #...).

    Raises:
        BrokenLink: There is no such file.
    """
    path, mark, anchor = target.partition("#")
    joined = os.path.normpath(PurePosixPath(name).parent / path) if path else name
    if joined.startswith("..") or not (ROOT / joined).exists():
        raise BrokenLink(f"{name}: the link to {target} leads to no file")
    return joined, mark + anchor


def rewritten(text: str, name: str, pages: dict[str, str]) -> str:
    """The text of a page with links that hold in the site. A link to a file that is no page becomes its text.

    Args:
        text: Markdown.
        name: Path of its file, relative to the repository.
        pages: What `sources` returns.
    """
    here = PurePosixPath(pages[name]).parent

    def link(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        joined, anchor = resolve(target, name)
        if picture:  # it is copied beside the page
            return found[0]
        there = place(joined, pages)
        return f"[{words}]({os.path.relpath(there, here)}{anchor})" if there else words

    parts, end = [], 0
    for code in (found for found in FENCE.finditer(text) if not found["linked"]):  # code stays as it is
        parts += [LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


def menu(where: str, pages: dict[str, str]) -> str:
    """What is added to a page so that the menu lists the pages beside it; "" for most pages."""
    if where not in LISTED:
        return ""
    folder = PurePosixPath(where).parent
    beside = sorted(page for page in pages.values() if PurePosixPath(page).parent == folder and page != where)
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(PurePosixPath(page).stem for page in beside) + "\n```\n"


def links(text: str) -> list[str]:
    """The targets of a text's links and pictures inside the repository, without those in code."""
    without = FENCE.sub(lambda found: found["linked"] or "", text)
    return [found[3] for found in LINK.finditer(without) if not re.match(r"[a-z]+:", found[3])]
