"""The pages of the API: a page for each public module, with every name of its `__all__`."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

# Public modules: what each is for. What is not listed may change without a word.
MODULES = {
    "vidssl": "Videos, tables of frames, batches, and trained encoders: the names that most programs need.",
    "vidssl.pretext": "Pretext tasks, and the base class of your own.",
    "vidssl.models": "Encoders, and the base classes of your own.",
    "vidssl.recipes": "A pretext task, an encoder and how to train, with the source of the settings.",
    "vidssl.train.config": "The settings of a training.",
    "vidssl.train.train": "Training.",
    "vidssl.ops": "The kernels, for numpy, torch and cupy arrays.",
    "vidssl.trained": "A trained encoder in use.",
    "vidssl.loader.profile": "How fast videos load, and which step takes the time.",
    "vidssl.datasets": "Official lists of data sets.",
    "vidssl.forecast": "What a data set will cost, and what training on it will wait for.",
    "vidssl.prepare": "Videos that decode quickly.",
    "vidssl.report": "The HTML page about runs.",
}
NAMES = {  # of modules without `__all__`
    "vidssl.train.config": ("Recipe", "TrainConfig"),
    "vidssl.loader.profile": ("Profile", "profile"),
}


SPLIT = ("vidssl", "vidssl.pretext")  # modules with a page for each name: one page would be too long to read


def public(module: str) -> dict[str, Any]:
    """The public names of a module and what they name, without modules and dunder names."""
    found = import_module(module)
    names = NAMES.get(module) or found.__all__
    values = {name: getattr(found, name) for name in names if not name.startswith("__")}
    return {name: value for name, value in values.items() if not inspect.ismodule(value)}


def home(value: Any) -> tuple[str, str]:
    """The module that defines a class or function, and its name there."""
    return value.__module__, value.__qualname__


def is_object(value: Any) -> bool:
    """Whether a public name is a class or a function, and not a table such as METHODS."""
    return inspect.isclass(value) or inspect.isfunction(value)


def undocumented() -> list[str]:
    """Public classes, functions, methods and properties without a docstring of their own."""
    missing = []
    for module in MODULES:
        for name, value in public(module).items():
            if not is_object(value):
                continue
            if not (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__):
                missing.append(f"{module}.{name}")
            for key, member in vars(value).items() if inspect.isclass(value) else ():
                inner = getattr(member, "fget", None) or getattr(member, "func", None) or member
                inner = getattr(inner, "__func__", inner)
                if not key.startswith("_") and inspect.isfunction(inner) and not inner.__doc__:
                    missing.append(f"{module}.{name}.{key}")
    return missing


def summary(value: Any) -> str:
    """The first sentence of a docstring, for a cell of a table."""
    paragraph = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    sentence = re.match(r".*?[.?!](?= [A-Z`]|$)", paragraph)
    return re.sub(r"([|*])", r"\\\1", sentence[0] if sentence else paragraph)


def table(head: str, rows: list[str], toc: list[str]) -> str:
    """Markdown of a table, and of the menu of its pages."""
    menu = "\n".join(["", "```{toctree}", ":hidden:", "", *toc, "```", ""]) if toc else ""
    return "\n".join([head, "|---|---|", *rows, menu])


def write(folder: Path) -> None:
    """Write FOLDER/index.md, and a page for each module, or for each name of it."""
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[tuple[str, str], str] = {}  # an object has one page, also if several modules have it
    rows = [f"| [{module}]({module}.md) | {about} |" for module, about in MODULES.items()]
    (folder / "index.md").write_text(
        "# API\n\nThe public names, made from their docstrings. What is not listed here may change without a word.\n\n"
        + table("| module | what it holds |", rows, list(MODULES))
    )
    for module, about in MODULES.items():
        rows, own, parts = [], [], []
        for name, value in public(module).items():
            if not is_object(value):
                keys = ", ".join(f"`{key}`" for key in value)
                parts.append(f"## {name}\n\nA table by name: {keys}.\n")
                continue
            if home(value) not in pages:
                pages[home(value)] = f"{module}.{name}.md" if module in SPLIT else f"{module}.md#{name.lower()}"
                if module in SPLIT:
                    own.append(f"{name} <{module}.{name}>")
                    (folder / f"{module}.{name}.md").write_text(f"# {name}\n\n{directive(value)}")
                else:
                    parts.append(f"## {name}\n\n{directive(value)}")
            rows.append(f"| [{name}]({pages[home(value)]}) | {summary(value)} |")
        text = f"# {module}\n\n{about}\n\n{table('| name | what it is |', rows, own)}\n"
        (folder / f"{module}.md").write_text(text + "\n".join(parts))


def directive(value: Any) -> str:
    """The directive that shows the docstrings of a class or function."""
    where, own = home(value)
    kind = "autoclass" if inspect.isclass(value) else "autofunction"
    members = "\n   :members:" if inspect.isclass(value) and not issubclass(value, Exception) else ""
    return f"```{{eval-rst}}\n.. {kind}:: {where}.{own}{members}\n```\n"
