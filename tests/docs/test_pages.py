"""The pages of the site: every link leads somewhere, every page is in a menu, every example has a page.

`make docs` also executes them; it takes minutes, so CI has these tests of the text.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.tools.pages import INSTEAD, LISTED, ROOT, BrokenLink, links, menu, place, resolve, rewritten, sources

PAGES = sources()


def anchors(text: str) -> set[str]:
    """The anchors of a text's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, *INSTEAD])
def test_links_lead_somewhere(name: str) -> None:
    for target in links((ROOT / name).read_text()):
        joined, anchor = resolve(target, name)
        if anchor:
            assert anchor[1:] in anchors((ROOT / joined).read_text()), f"{name}: {target}"


def listed(where: str, text: str) -> set[str]:
    """The pages that the menus of a page name."""
    found = set()
    for menu_of in re.findall(r"^```\{toctree\}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        names = (re.sub(r".*<(.+)>", r"\1", line) for line in menu_of.splitlines() if line and not line.startswith(":"))
        found |= {(Path(where).parent / f"{name}.md").as_posix() for name in names}
    return found


def test_every_page_is_in_one_menu() -> None:
    found = [
        page for name, where in PAGES.items() for page in listed(where, (ROOT / name).read_text() + menu(where, PAGES))
    ]
    assert sorted(found) == sorted([*(set(PAGES.values()) - {"index.md"}), "api/index.md"])


def test_every_example_has_a_page_that_executes_it() -> None:
    for path in (ROOT / "examples").iterdir():
        if path.suffix not in (".py", ".sh"):
            continue
        page = place(f"examples/{path.name}", PAGES)
        assert page in PAGES.values()
        text = (ROOT / "docs" / str(page)).read_text()
        assert f"/examples/{path.name}\n" in text
        assert re.search(rf"```{{run}}\n(?:.*\n)*?.*examples/{path.name}\b", text), path.name


def test_links_are_rewritten_but_not_in_code() -> None:
    pages = {"docs/guides/data.md": "guides/data.md", "SECURITY.md": "security.md", "docs/design.md": "design.md"}
    text = (
        "[a](../../SECURITY.md#x) [b](../design.md) [c](../../setup.py) [d](https://e.f) `[e](../../SECURITY.md)` "
        "[`f`](../../SECURITY.md) `g`"
    )
    assert rewritten(text, "docs/guides/data.md", pages) == (
        "[a](../security.md#x) [b](../design.md) c [d](https://e.f) `[e](../../SECURITY.md)` [`f`](../security.md) `g`"
    )
    assert links(text) == ["../../SECURITY.md#x", "../design.md", "../../setup.py", "../../SECURITY.md"]


@pytest.mark.parametrize("target", ["missing.md", "../../../outside.md"])
def test_a_broken_link_is_named(target: str) -> None:
    with pytest.raises(BrokenLink, match=re.escape(target)):
        rewritten(f"[a]({target})", "docs/guides/data.md", PAGES)


def test_menus_are_made_where_they_are_listed() -> None:
    assert set(LISTED) <= set(PAGES.values())
    assert menu("install.md", PAGES) == ""
    assert "\ntrain\n" in menu("examples/index.md", PAGES)
