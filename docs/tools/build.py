"""Builds the site into build/site: pages are collected in build/docs/source, commands run in build/docs/commands.

    python -m docs.tools.build [--processes N] [PAGE ...]

With pages, such as `guides/data`, only their commands are executed; the other pages show what theirs printed the last
time. Any warning of Sphinx, any command that fails and any link that leads nowhere fails the build.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.tools import api, commands
from docs.tools.pages import DOCS, ROOT, menu, rewritten, sources
from vidssl.cpus import cpus

SOURCE, SITE = ROOT / "build/docs/source", ROOT / "build/site"
LARGEST = 15  # MB of the site


def collect() -> None:
    """Write the pages to SOURCE, with links that hold there."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = sources()
    for name, where in pages.items():
        page = SOURCE / where
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(rewritten((ROOT / name).read_text(), name, pages) + menu(where, pages))
    for picture in [*DOCS.rglob("*.png"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.css")]:
        target = SOURCE / picture.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    shutil.copyfile(ROOT / "benchmarks/peers.png", SOURCE / "benchmarks/peers.png")
    api.write(SOURCE / "api")


def private(site: Path) -> list[str]:
    """The pages that have a path of this machine."""
    marks = (str(ROOT).encode(), str(Path.home()).encode() + b"/")
    texts = (path for path in site.rglob("*") if path.suffix in (".html", ".js", ".svg", ".txt"))
    return [str(path.relative_to(site)) for path in texts if any(mark in path.read_bytes() for mark in marks)]


def main() -> int:
    """Build. Returns the exit code."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog="docs.tools.build")
    parser.add_argument("pages", nargs="*", help="execute the commands of these pages alone")
    parser.add_argument("--processes", type=int, default=cpus(), help="pages that are executed at a time")
    options = parser.parse_args()
    collect()
    texts = {where.removesuffix(".md"): (SOURCE / where).read_text() for where in sources().values()}
    try:
        commands.run_all(texts, pages=options.pages or None, processes=options.processes)
    except RuntimeError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    executed = time.perf_counter() - began
    shutil.rmtree(SITE, ignore_errors=True)
    flags = ["-q", "-W", "--keep-going", "-E", "-j", str(options.processes), "-b", "html", "-c", str(DOCS)]
    flags += ["-d", str(ROOT / "build/docs/doctrees")]
    code: int = build_main([*flags, str(SOURCE), str(SITE)])
    if code:
        return code
    wrong = private(SITE)
    if wrong:
        print(f"docs: paths of this machine in {', '.join(wrong)}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) / 1e6
    if size > LARGEST:
        print(f"docs: the site has {size:.1f} MB, more than {LARGEST}", file=sys.stderr)
        return 1
    took = time.perf_counter() - began
    print(f"docs: build/site/index.html; {size:.1f} MB, {took:.0f} s, of which {executed:.0f} s for commands")
    return 0


if __name__ == "__main__":
    sys.exit(main())
