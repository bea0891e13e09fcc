"""Files behind a URL, such as s3://bucket/videos and https://host/videos, read through fsspec.

Nothing here imports fsspec before a URL is used. Everything that opens, lists or stats a remote file is in this folder:

| file | contents |
|---|---|
| path.py | `RemotePath`: a URL as a pathlib.Path, and `as_path`, which makes one |
| fetch.py | requests through fsspec: which errors are tried again, and what the others mean |
| file.py | `RemoteFile`: a part of a remote file, read in pieces |
| cache.py | the pieces that were read, in a folder of bounded size that processes share |
| upload.py | copies a local folder to a remote one |
"""

from vidssl.remote.path import RemotePath, as_path, local_copy

__all__ = ["RemotePath", "as_path", "local_copy"]
