"""Lets tests import the helpers beside them as `stages.clips`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
