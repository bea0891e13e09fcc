"""Settings of Sphinx. `make docs` builds; docs/tools says how."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vidssl

project, author, copyright = "vidssl", "the vidssl authors", "the vidssl authors"
release = version = vidssl.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.tools.executed",
    "docs.tools.tasks",
    "docs.tools.charts",
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_rtype, napoleon_use_ivar = False, True
add_module_names = False
python_use_unqualified_type_names = True
default_role = "code"
exclude_patterns = ["requirements.txt"]
pygments_style, pygments_dark_style = "xcode", "github-dark"

html_theme = "furo"
html_title = "vidssl"
html_static_path = ["tools/style.css"]
html_css_files = ["style.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_selector = "div.executed pre, div.highlight-default pre, div.highlight-python pre, div.highlight-sh pre"


def plain(_app: Any, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Turn a docstring's Markdown into reStructuredText: `code` is literal, and stars and bars are themselves."""
    parts = re.split(r"(``?[^`]+``?)", "\n".join(lines))
    for at, part in enumerate(parts):
        if at % 2:
            after = "\\ " if re.match(r"\w", parts[at + 1]) else ""  # as in `Batch`es
            parts[at] = f"``{part.strip('`')}``{after}"
        else:
            parts[at] = re.sub(r"([*|\\])|(?<=\w)_(?=\W|$)", r"\\\g<0>", part)
    lines[:] = "".join(parts).split("\n")


def whole(_app: Any, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Put together what napoleon split at a colon as if a type stood before it: our annotations have the types."""
    text = "\n".join(lines)
    text = re.sub(r"^:returns: \*(.+?)\* -- ", r":returns: \1: ", text, flags=re.MULTILINE)
    first = re.search(r"\n+:type: (.+)", text) if what == "property" else None
    if first:
        text = f"{first[1]}: {text.replace(first[0], '', 1)}"
    lines[:] = text.split("\n")


def no_field(_app: Any, _what: str, _name: str, value: object, _skip: bool, _options: object) -> bool | None:
    """Leave out the fields of named tuples, which the docstring of their class describes."""
    return str(value.__doc__).startswith("Alias for field number") or None


def setup(app: Any) -> None:
    """napoleon (priority 500) makes reStructuredText of the sections."""
    app.connect("autodoc-process-docstring", plain, priority=100)
    app.connect("autodoc-process-docstring", whole, priority=900)
    app.connect("autodoc-skip-member", no_field)
