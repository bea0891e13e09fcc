"""Re-encodes videos once, so that training decodes them quickly.

| file | what it does |
|---|---|
| run.py | a whole data set, in parallel; goes on where it was cut off |
| encode.py | one video: which size, which key frames, which rate |
| splits.py | carries lists of files over, with the new names |
"""

from vidssl.prepare.encode import Encoding
from vidssl.prepare.run import PrepareResult, prepare

__all__ = ["Encoding", "PrepareResult", "prepare"]
