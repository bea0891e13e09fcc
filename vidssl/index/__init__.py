"""The index: one row per video, found by decoding every video once.

    source ─► sources: list the videos ─► scan: decode each once ─► journal: keep finished rows ─► table: VideoIndex ─►
    holdout

| file | contents |
|---|---|
| schema.py | the columns of an index |
| checksums.py | checksums within the file, so that damage is reported as an error |
| row.py | converts a row to a `Video`; refuses rows that no real file can have |
| rows.py | numbers of rows that a caller gives: a mask, or refused |
| boxes.py | the MP4 and MOV boxes that must be checked before FFmpeg opens a file |
| table.py | `VideoIndex`: build, save, load, and the `Video` of a row |
| mixture.py | `Mixture`: several data sets as one index, with weights |
| recent.py | keeps the videos of the rows that were read last |
| summary.py | lists rows with their reasons |
| sources.py | lists the videos of a folder, of a shard, or of a list |
| remote.py | lists the videos of a remote folder, and what a list names by URLs |
| frames.py | finds the pictures of a folder that are the frames of a video |
| tars.py | lists the videos of one shard, with their labels |
| found.py | `VideoFile`, and the count of what is ignored |
| lists.py | reads and writes lists of videos |
| lines.py | reads a path, or a path and a label, on each line |
| kinds.py | tells by a name what a file is |
| scan.py | scans one file: its frames, seek points and colours, or why it cannot be used |
| look.py | sizes, orientation and colours of a video, from its first frame |
| verify.py | proves that decoding from each seek point gives the frames of the sequential pass |
| again.py | opens a file for each seek point, and reads its headers once where that changes nothing |
| motion.py | measures how much the picture changes from frame to frame |
| parts.py | splits a decode where the picture's size changes |
| excerpts.py | segments of a file: their start and end, and what a row of one keeps of the file |
| build.py | scans many videos in parallel; keeps finished rows when it is stopped |
| transient.py | what depends on the machine and not on the file |
| unchanged.py | which videos have a row already, as their files have not changed |
| journal.py | keeps finished rows, so that an interrupted build resumes |
| check.py | checks each file of a source, and compares an index with its files |
| holdout.py | chooses the held-out videos; groups stay together |
| classes.py | the order of classes, which numbers them |
| names.py | finds the entry of a list that a path names |
"""
