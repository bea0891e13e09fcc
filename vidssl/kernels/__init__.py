"""The steps between decoder and encoder, as functions on arrays of numpy, torch or cupy. The kernels are in
csrc/kernels.

    frames ─► [reduce] ─► motion ─► plan ─► assemble ─► clips

| file | what it does |
|---|---|
| motion.py | measures the change of each cell from frame to frame, and makes thumbnails |
| reduce.py | resizes frames once, to the size that a store keeps |
| augment.py | settings of crop, flip and colour |
| plan.py | describes a pretext as a table, and draws one tuple from it |
| views.py | tables of tasks without a question about order: labelled clips, several views, masked clips |
| joint.py | several tables that share a window, and one tuple of each |
| assemble.py | gathers, resizes, crops, flips, colours, normalises and permutes in one pass |
| decode_assemble.py | decodes and assembles frame by frame on the CPU |
| decode_reduce.py | reduces decoded frames one by one on the CPU |
"""
