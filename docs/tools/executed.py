"""The directive `run`: executes a command, or Python code, and shows what it prints and draws.

    ```{run}
    vidssl check demo/scenes
    ```

All are executed in one folder, which has the demo in `demo/` and the repository's `examples/`. A command that fails,
and code that raises, fails the build. Options:

    :language: python           Python; the blocks of a page share their names. Default: bash.
    :file: my_encoder.py        write the text to this file, and execute nothing
    :tail: 12                   show the last 12 lines alone
    :pictures: run/curve.png    pictures to show below what was printed, with
    :alt: TEXT                  what they show

The directive `picture` shows a picture that an earlier command of the page, or the demo, made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from docs.tools.pages import ROOT

WORK = ROOT / "build/docs/commands"
TIMES = ROOT / "build/docs/times.txt"  # seconds of each command
DEMO = "vidssl demo --out demo"  # run before all pages are read; what it printed is kept in demo.log
LIMIT = 300  # seconds of one command
log = logging.getLogger(__name__)
_names: dict[str, dict[str, Any]] = {}  # of the Python blocks of each page


def environment() -> dict[str, str]:
    """Of the commands: the programs of this environment first, no GPU, no colours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ours = {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1"}  # pages are read in several processes


def execute(command: str) -> str:
    """Run a command of bash in the folder of all commands.

    Returns:
        What it printed.

    Raises:
        RuntimeError: It failed, or took longer than LIMIT; with what it printed.
    """
    shell = ["bash", "-eo", "pipefail", "-c", command]
    done = subprocess.run(
        shell,
        cwd=WORK,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=None if command == DEMO else LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def execute_python(code: str, page: str) -> str:
    """Run Python code with the names of a page's earlier code. Returns what it printed; raises what it raises."""
    printed = StringIO()
    names = _names.setdefault(page, {"__name__": "__main__"})
    with chdir(WORK), redirect_stdout(printed), redirect_stderr(StringIO()):
        exec(compile(code, f"{page}.md", "exec"), names)
    return printed.getvalue()


def clean(text: str) -> str:
    """What was printed without colours, progress bars, and paths of this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    text = "\n".join(line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines())
    for folder in (WORK, ROOT):
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    return text.strip("\n")


def prepare() -> None:
    """Make the folder of the commands anew, but for the demo, which is made if it is missing."""
    WORK.mkdir(parents=True, exist_ok=True)
    TIMES.unlink(missing_ok=True)
    for path in WORK.iterdir():
        if path.name not in ("demo", "demo.log"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (WORK / "examples").symlink_to(ROOT / "examples")
    printed = WORK / "demo.log"
    if not printed.is_file():
        printed.write_text(execute(DEMO))


class Run(SphinxDirective):
    """The directive `run`."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "language": directives.unchanged,
        "file": directives.unchanged,
        "tail": directives.positive_int,
        "pictures": directives.unchanged,
        "alt": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """The text, what it printed, and its pictures."""
        text, began = "\n".join(self.content), time.perf_counter()
        language = self.options.get("language", "bash")
        file = self.options.get("file")
        shown: list[nodes.Node] = [self._block(text, "python" if file else language, "executed", file)]
        if file:
            (WORK / file).write_text(text + "\n")
            return shown
        try:
            if text == DEMO:
                printed = (WORK / "demo.log").read_text()
            else:
                printed = execute_python(text, self.env.docname) if language == "python" else execute(text)
        except (Exception, SystemExit) as error:
            told = traceback.format_exc() if language == "python" else str(error)
            log.warning("%s failed:\n%s", text, told, location=self.get_location())
            return shown
        with TIMES.open("a") as times:  # Sphinx reads pages in several processes
            times.write(f"{time.perf_counter() - began:7.1f} s  {self.env.docname}: {text.splitlines()[-1][:90]}\n")
        lines = clean(printed).splitlines()
        if len(lines) > (most := self.options.get("tail", len(lines))):
            lines = ["...", *lines[-most:]]
        if lines:
            shown.append(self._block("\n".join(lines), "text", "printed"))
        return [*shown, *self._pictures()]

    def _block(self, text: str, language: str, kind: str, caption: str | None = None) -> nodes.Node:
        block = nodes.literal_block(text, text, language=language, classes=[kind])
        self.set_source_info(block)
        if not caption:
            return block
        box = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
        box += nodes.caption(caption, "", nodes.literal("", caption))
        box += block
        return box

    def _pictures(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for name in self.options.get("pictures", "").split():
            made = WORK / name
            if not made.is_file():
                log.warning("no picture %s was made", name, location=self.get_location())
                continue
            found.append(picture(self, made, self.options.get("alt", name)))
        return found


def picture(directive: SphinxDirective, made: Path, alt: str) -> nodes.Node:
    """An image of a file outside of the sources, which opens in full when it is clicked."""
    there = os.path.relpath(made, Path(directive.env.doc2path(directive.env.docname)).parent)
    image = nodes.image(uri=there, alt=alt, classes=["made"])
    directive.set_source_info(image)
    return image


class Picture(SphinxDirective):
    """The directive `picture FILE`: a picture that a command made."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The picture."""
        return [picture(self, WORK / self.arguments[0], self.options["alt"])]


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("run", Run)
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True}
