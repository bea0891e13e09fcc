"""Data sets on disk: what they should hold, what of it is there, and lists of it. Nothing is downloaded.

| file | what it does |
|---|---|
| base.py | `Dataset`, its parts and problems; finds files by name |
| ucf101.py, hmdb51.py, kinetics.py | each with its official lists |
| plain.py | a folder a class, or a list of your own, with a split by groups |
| lists.py | writes a list for each part |
"""

from __future__ import annotations

from vidssl.datasets.base import Dataset, Entry
from vidssl.datasets.hmdb51 import hmdb51
from vidssl.datasets.kinetics import kinetics
from vidssl.datasets.lists import write_lists
from vidssl.datasets.plain import plain
from vidssl.datasets.ucf101 import ucf101

__all__ = ["Dataset", "Entry", "hmdb51", "kinetics", "plain", "ucf101", "write_lists"]
