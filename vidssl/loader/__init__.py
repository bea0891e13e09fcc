"""Batches of tuples on the device, a pure function of (seed, epoch, position).

    sampler ─► Window ─► worker ─► Decoded | Assembled | SegmentWindow ─► engine ─► Output ─► loader ─► Batch
               └───────────────────────────── pipeline: threads, queue ─────────────────┘

| file | what it does |
|---|---|
| loader.py | `Loader`: what users call; checks, counts, state |
| pipeline.py | which batch holds which positions; worker threads, their queue, the engine |
| sampler.py | which frames of which video a position shows |
| worker.py | fetches one window: plan, then decode, assemble or cut; replaces a window that cannot be read |
| windows.py | the types of a window on its way |
| engines/ | make batches of windows: inline, eager, DALI, DALI with a decoder in the graph |
| buffers.py | memory of batches, used again; pinned memory, and the way up to a GPU |
| graph_decoder.py | which videos NVDEC, or DALI's software decoder, takes |
| choose_decoder.py | where frames are decoded, and why |
| quarantine.py | names and counts windows of corrupt videos; too many of them end the run |
| profile.py | how fast videos load, and which step takes the time |
"""

from vidssl.loader.loader import Loader

__all__ = ["Loader"]
