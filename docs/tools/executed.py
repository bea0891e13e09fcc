"""The directive `run`: shows a command, or Python code, with what it printed and drew when it was executed.

    ```{run}
    vidssl check demo/scenes
    ```

`docs/tools/commands.py` executes them. A command that fails, and code that raises, fails the build. Options:

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
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from docs.tools.commands import WORK, printed
from docs.tools.pages import ROOT

log = logging.getLogger(__name__)


def clean(text: str) -> str:
    """What was printed without colours, progress bars, and paths of this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip().rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if not re.search(r"\d%\|.*\|", line))
    for folder in (WORK, ROOT):
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    return text.strip("\n")


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
        text = "\n".join(self.content).strip("\n")
        language = self.options.get("language", "bash")
        file = self.options.get("file")
        shown: list[nodes.Node] = [self._block(text, "python" if file else language, "executed", file)]
        if file:
            return shown
        told = printed(self.env.docname)
        if text not in told:
            log.warning("%s was not executed", text, location=self.get_location())
            return shown
        lines = clean(told[text]).splitlines()
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
    """An image of a file outside of the sources; on a phone it scrolls in its box, so that its text stays readable."""
    there = os.path.relpath(made, Path(directive.env.doc2path(directive.env.docname)).parent)
    box, image = nodes.container(classes=["made"]), nodes.image(uri=there, alt=alt)
    directive.set_source_info(image)
    box += image
    return box


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
