"""Re-encodes videos once, so that training decodes them quickly.

| file | what it does |
|---|---|
| run.py | a whole data set, in parallel; continues after an interruption |
| make.py | the new videos, in a pool |
| encode.py | one video: size, key frames and frame rate |
| names.py | gives each source a new file of its own |
| journal.py | keeps what was made, for the next call |
| stale.py | files that earlier calls left: unfinished ones, and copies without a source |
| splits.py | copies lists of files, with the new names |
| publish.py | uploads what was made to a bucket |
"""

from vidssl.prepare.encode import Encoding
from vidssl.prepare.run import PrepareResult, prepare

__all__ = ["Encoding", "PrepareResult", "prepare"]
