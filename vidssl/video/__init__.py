"""One file: its packets and its frames, exactly.

    file ─► packets (numbered) ─► decode ─► frames, upright, planar YUV 4:2:0
                               └► segment: the packets that some frames need, as a small file in memory

| file | what it does |
|---|---|
| packets.py | opens a file, numbers its packets, seeks, drops what nobody needs |
| decode.py | frame numbers in, frames out |
| segment.py | packets of a window as a file of their own, for a decoder in the graph |
| bitstream.py | what packets of h264, HEVC and VP9 say of themselves |
| color.py | a video's matrix, range and chroma siting as one 3 x 4 map to RGB |
"""
