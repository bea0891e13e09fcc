"""The pages of the API: a page for each public module, with every name of its `__all__`."""

from __future__ import annotations

import inspect
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
    "vidssl.datasets": "Official lists of data sets.",
    "vidssl.prepare": "Videos that decode quickly.",
    "vidssl.report": "The HTML page about runs.",
}
NAMES = {"vidssl.train.config": ("Recipe", "TrainConfig")}  # of modules without `__all__`


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


def write(folder: Path) -> None:
    """Write FOLDER/index.md and a page for each module."""
    folder.mkdir(parents=True, exist_ok=True)
    documented: set[tuple[str, str]] = set()  # an object has one page; others link to it
    rows = "\n".join(f"| [{module}]({module}.md) | {about} |" for module, about in MODULES.items())
    toc = "\n".join(MODULES)
    (folder / "index.md").write_text(
        "# API\n\nThe public names, made from their docstrings. What is not listed here may change without a word.\n\n"
        f"| module | what it holds |\n|---|---|\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
    )
    for module, about in MODULES.items():
        parts = [f"# {module}\n\n{about}\n"]
        for name, value in public(module).items():
            if not is_object(value):
                keys = ", ".join(f"`{key}`" for key in value)
                parts.append(f"## {name}\n\nA table by name: {keys}.\n")
                continue
            where, own = home(value)
            parts.append(f"## {name}\n")
            if (where, own) in documented:
                parts.append(f"{{py:obj}}`{where}.{own}`, shown on the page of the module above.\n")
                continue
            documented.add((where, own))
            kind = "autoclass" if inspect.isclass(value) else "autofunction"
            members = "\n   :members:" if inspect.isclass(value) and not issubclass(value, Exception) else ""
            parts.append(f"```{{eval-rst}}\n.. {kind}:: {where}.{own}{members}\n```\n")
        (folder / f"{module}.md").write_text("\n".join(parts))
