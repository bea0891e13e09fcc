"""Re-encode videos once, so that training decodes them quickly."""

from vidssl.prepare.encode import Encoding
from vidssl.prepare.run import Report, prepare

__all__ = ["Encoding", "Report", "prepare"]
