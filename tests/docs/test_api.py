"""Every public name is documented, and is on a page of the API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vidssl
from docs.tools import api


def test_every_public_name_is_documented() -> None:
    assert api.undocumented() == []


def test_a_missing_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidssl.VideoIndex.save, "__doc__", None)
    monkeypatch.setattr(vidssl.views, "__doc__", "")
    assert set(api.undocumented()) == {"vidssl.VideoIndex.save", "vidssl.views"}


def test_every_public_name_is_on_one_page(tmp_path: Path) -> None:
    api.write(tmp_path)
    shown: list[str] = []
    for module in api.MODULES:
        text = (tmp_path / f"{module}.md").read_text()
        rows = dict(re.findall(r"^\| \[(\w+)\]\(([\w.#-]+)\) \| \S", text, flags=re.MULTILINE))
        for name, target in rows.items():
            page, _, anchor = target.partition("#")
            there = (tmp_path / page).read_text()
            assert f"## {name}\n" in there if anchor else there.startswith(f"# {name}\n")
        tables = {name for name, value in api.public(module).items() if not api.is_object(value)}
        assert rows.keys() | tables == api.public(module).keys()
        assert all(f"## {name}\n" in text for name in tables)
    for path in tmp_path.iterdir():
        shown += re.findall(r"^.. auto(?:class|function):: (.+)$", path.read_text(), flags=re.MULTILINE)
    assert len(shown) == len(set(shown)) > 50


def test_the_package_lists_its_public_modules() -> None:
    """What `vidssl.__all__` and the imports of the README and the guides name has a page."""
    root = Path(api.__file__).parents[2]
    text = "\n".join(page.read_text() for page in (root / "README.md", *(root / "docs/guides").glob("*.md")))
    modules = {name for name in vidssl.__all__ if f"vidssl.{name}" in api.MODULES}
    assert modules == {"models", "ops", "pretext"}
    imported = re.findall(r"^from (vidssl[\w.]*) import ([\w, ]+)$", text, flags=re.MULTILINE)
    assert imported
    for module, names in imported:
        for name in names.split(", "):
            assert name in api.public(module) or f"{module}.{name}" in api.MODULES, f"{module}.{name}"
