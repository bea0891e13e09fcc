"""Data sets that people have on their disks: what they should hold, what of it is there, and lists of it. Nothing is downloaded."""

from __future__ import annotations

from vidssl.datasets.base import Dataset, Entry
from vidssl.datasets.hmdb51 import hmdb51
from vidssl.datasets.kinetics import kinetics
from vidssl.datasets.lists import write_lists
from vidssl.datasets.plain import plain
from vidssl.datasets.ucf101 import ucf101

__all__ = ["Dataset", "Entry", "hmdb51", "kinetics", "plain", "ucf101", "write_lists"]
