"""What is there: one row a video, found once by decoding it.

    source ─► sources: which videos ─► scan: decode each once ─► journal: keep finished rows ─► table: VideoIndex ─►
    holdout

| file | what it does |
|---|---|
| schema.py | the columns of an index |
| checksums.py | checksums within the file, so that damage is an error |
| row.py | a row as a `Video`; rows that no file can have are refused |
| boxes.py | MP4 and MOV boxes, as far as they must be known before FFmpeg opens a file |
| table.py | `VideoIndex`: build, save, load; a row as a `Video` that can be decoded |
| sources.py | which videos a folder, a list, or the shards in a folder hold |
| scan.py | one file: what decodes, where decoding can begin, which colours; or why it cannot be used |
| journal.py | rows that are finished, so that a build that was cut off goes on |
| holdout.py | which videos are held out; groups stay together |
| names.py | which entry of a list a path means |
"""
