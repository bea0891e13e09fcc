"""Check data sets on disk against their official lists, and write lists of their videos. Nothing is downloaded.

| file | what it does |
|---|---|
| base.py | `Dataset` with its parts and problems; find files by name |
| ucf101.py, hmdb51.py, kinetics.py, ssv2.py, diving48.py | read the official lists of one data set each |
| epic_kitchens.py | the same, of a data set whose videos are segments of files |
| records.py | read JSON files of a release |
| plain.py | read one folder for each class, or your own list; split by groups |
| lists.py | write a list for each part |
| duplicates.py | near-duplicate videos, by perceptual hashes |
"""

from __future__ import annotations

from vidssl.datasets.base import Dataset, Entry
from vidssl.datasets.diving48 import diving48
from vidssl.datasets.duplicates import with_duplicates
from vidssl.datasets.epic_kitchens import epic_kitchens
from vidssl.datasets.hmdb51 import hmdb51
from vidssl.datasets.kinetics import kinetics
from vidssl.datasets.lists import write_lists
from vidssl.datasets.plain import plain
from vidssl.datasets.ssv2 import ssv2
from vidssl.datasets.ucf101 import ucf101

__all__ = [
    "Dataset",
    "Entry",
    "diving48",
    "epic_kitchens",
    "hmdb51",
    "kinetics",
    "plain",
    "ssv2",
    "ucf101",
    "with_duplicates",
    "write_lists",
]
