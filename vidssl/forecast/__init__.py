"""What a data set will cost, before the work begins: hours, bytes, and what training will wait for.

    videos ─► look ─► measure ─► run ─► figures

| file | what it does |
|---|---|
| look.py | reads some of the videos, and knows how much all of them are |
| measure.py | re-encodes, keeps and loads those, and trains on a batch of them |
| run.py | puts it together for the cores and GPUs that are asked about |
| figures.py | the result: each figure says where it comes from |
"""

from vidssl.forecast.figures import Estimate, Figure
from vidssl.forecast.run import estimate

__all__ = ["Estimate", "Figure", "estimate"]
