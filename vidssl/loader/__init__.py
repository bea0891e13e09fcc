"""Batches of tuples on the device, a pure function of (seed, epoch, position).

    sampler ─► Window ─► worker ─► Decoded | Assembled | Segment | StoredWindow ─► engine ─► Output ─► loader ─► Batch
               └───────────────────────────── pipeline: threads, queue ─────────────────┘

Read loader.py, pipeline.py and worker.py in this order; the others are details of these three.

| file | what it does |
|---|---|
| loader.py | `Loader`: what users call: checks arguments, counts, saves and restores its state |
| arguments.py | the numbers that `Loader` takes |
| pipeline.py | worker threads, the queue of fetched windows, the engine |
| sampler.py | which positions a batch holds, and which window (video, first frame, length) a position gets |
| order.py | which video each position of an epoch shows, of one data set or of several by their weights |
| worker.py | fetches one window: plan it, then decode, assemble or cut it; replaces a window that cannot be read |
| stored.py | fetches one window whose frames lie on the device already |
| windows.py | the types of a window between sampler and batch |
| engines/ | make batches of fetched windows: inline, eager, store, DALI, DALI with a decoder in the graph |
| processes.py | decodes windows in processes, for batches on a GPU |
| buffers.py | reused memory of batches, pinned memory, upload to a GPU |
| graph_decoder.py | which videos NVDEC or DALI's software decoder can decode |
| choose_decoder.py | chooses where frames are decoded, and says why |
| state.py | what the sequence of batches depends on, and how it differs from that of a saved state |
| effects.py | blur, solarising, cutout and tubes of finished clips, on their device |
| quarantine.py | logs the windows of corrupt videos; ends a run with too many corrupt videos |
| profile.py | measures how fast videos load, and how long each step takes |
"""

from vidssl.loader.loader import Loader

__all__ = ["Loader"]
