"""The embedded default: scenes whose order in time can be seen, an encoder that learns it, and what came of it."""

from vidssl.demo.run import run

__all__ = ["run"]
