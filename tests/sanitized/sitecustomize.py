"""Python imports this at its start where PYTHONPATH names this folder: `vidssl._native` then comes from the folder
VIDSSL_NATIVE. Child processes inherit both, so no process of a sanitized run loads the plain build.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any


class Sanitized(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "vidssl._native":
            return None
        return spec_from_file_location(name, Path(os.environ["VIDSSL_NATIVE"], f"_native{EXTENSION_SUFFIXES[0]}"))


sys.meta_path.insert(0, Sanitized())
