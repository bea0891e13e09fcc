"""Frames that were decoded once and are kept, at one size, for later epochs and runs.

    video ─► decode ─► reduce ─► blocks of 16 frames ─► shards ─► window

| file | what it does |
|---|---|
| frames.py | FrameStore: reads and keeps the frames of a video |
| arguments.py | checks of what users hand to a FrameStore |
| backend.py | the protocol of the backends |
| file.py | backend: shards mapped into memory |
| memory.py | backend: the same, locked in memory |
| device.py | frames that a loader copies to its device |
| choose.py | chooses between these three, and says why |
| scores.py | the motion of kept frames |
| shard.py | one immutable file of blocks, with checksums |
| claims.py | which process keeps which video |
| writer.py | writes shards, as long as there is room |
| folder.py | lists and deletes what is in a folder |
| fill.py | decodes what is missing of a video, or while a loader runs |
| fill_index.py | decodes all that is missing of an index, in a pool |
"""

from vidssl.store.frames import FrameStore

__all__ = ["FrameStore"]
