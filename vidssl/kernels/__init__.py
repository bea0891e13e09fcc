"""The steps between decoder and encoder, as functions on arrays of numpy, torch or cupy. The kernels are in
csrc/kernels.

    frames ─► motion ─► plan ─► assemble ─► clips

| file | what it does |
|---|---|
| motion.py | how much changes from frame to frame in each cell, and thumbnails |
| augment.py | how every shown frame is cut and coloured |
| plan.py | a pretext as a table; one draw from it for one tuple |
| assemble.py | gather, resize, crop, flip, colour, normalise and permute in one pass |
| decode_assemble.py | decode and assemble frame by frame, on the CPU |
"""
