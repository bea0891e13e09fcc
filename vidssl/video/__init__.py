"""Reads the packets and frames of one file, with exact frame numbers.

    file ─► packets (numbered) ─► decode ─► frames, upright, planar YUV 4:2:0
                               └► segment: the packets that some frames need, as a small file in memory

| file | contents |
|---|---|
| packets.py | opens a file, numbers its packets, seeks, drops packets that no wanted frame needs |
| pictures.py | how the pictures of a folder of frames are named and turned |
| decode.py | decodes frames by number |
| exhausted.py | what the machine lacks, such as file descriptors or memory, which no video is to blame for |
| serve.py | a process that decodes windows for another one |
| times.py | when the frames of an AVI file are shown |
| segment.py | packets of a window as a file of their own, for a decoder in the DALI graph |
| bitstream.py | reads headers from the packets of H.264, HEVC, MPEG-4, VP8 and VP9 |
| color.py | a video's matrix, range and chroma siting as one affine map to RGB |
"""
