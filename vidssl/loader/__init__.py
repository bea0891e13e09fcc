from vidssl.loader.loader import Loader

__all__ = ["Loader"]
