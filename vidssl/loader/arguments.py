"""Checks the numbers that a Loader takes."""

from __future__ import annotations

from vidssl.checks import is_real, is_whole
from vidssl.types import VidsslError


def check_numbers(
    batch_size: int, seed: int, rank: int, world_size: int, workers: int, tuples_per_window: int, max_corrupt: float
) -> None:
    """Raise VidsslError if a number is none, or out of its range."""
    for name, value in {"batch_size": batch_size, "seed": seed, "rank": rank, "world_size": world_size}.items():
        need(isinstance(value, int), f"{name}={value!r}: take a whole number")
    for name, value in {"workers": workers, "tuples_per_window": tuples_per_window}.items():
        need(is_whole(value, -(2**63), 2**63), f"{name}={value!r}: take a whole number")
    need(batch_size >= 1, f"batch_size={batch_size}: take at least 1")
    need(workers >= 1, f"workers={workers}: take at least 1")
    need(is_real(max_corrupt, 0, 1), f"max_corrupt={max_corrupt!r}: take a fraction of the videos in 0..1")
    need(0 <= rank < world_size, f"rank={rank}, world_size={world_size}: take 0 <= rank < world_size")
    need(tuples_per_window >= 1, f"tuples_per_window={tuples_per_window}: take at least 1")
    whole = batch_size % tuples_per_window == 0
    need(whole, f"batch_size={batch_size}: take a multiple of tuples_per_window={tuples_per_window}")


def need(good: bool, message: str) -> None:
    """Raise VidsslError with the message unless the argument is good."""
    if not good:
        raise VidsslError(message)
