"""Checks numbers of rows that a caller gives: numpy would take a mask, a fraction or a negative one as other rows."""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

from vidssl.checks import is_whole
from vidssl.types import VidsslError


def check_row(row: object, count: int, where: str) -> int:
    """Return a row's number as an int.

    Args:
        row: The number.
        count: Rows of the index.
        where: The function, for the message.

    Raises:
        VidsslError: It is no whole number in 0..count - 1.
    """
    if not is_whole(row, 0, count - 1):
        raise VidsslError(f"{where}: row={row!r}: {_rows_of(count)}")
    return operator.index(row)  # type: ignore[arg-type]  # is_whole has called it


def check_rows(rows: npt.ArrayLike, count: int, where: str) -> npt.NDArray[np.int64]:
    """Return the numbers of the chosen rows, int64 [N].

    Args:
        rows: Whole numbers in 0..count - 1, in any order, or a mask bool [count] that is True for the chosen rows.
        count: Rows of the index.
        where: The function, for the message.

    Raises:
        VidsslError: It is neither.
    """
    try:
        found = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of different lengths; tensors on a GPU
        raise VidsslError(f"{where}: rows: {error}: {_TAKE}") from error
    if found.dtype == bool and found.shape != (count,):
        raise VidsslError(
            f"{where}: rows: a mask of shape {list(found.shape)}: {_rows_of(count)}; take one bool for each"
        )
    if found.dtype == bool:
        return np.flatnonzero(found).astype(np.int64)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        what = f"{found.dtype} of shape {list(found.shape)}" if found.ndim else repr(rows)
        raise VidsslError(f"{where}: rows: {what}: {_TAKE}")
    wrong = found[(found < 0) | (found >= count)] if found.size else found
    if wrong.size:
        raise VidsslError(f"{where}: rows: {wrong[0]} is among them: {_rows_of(count)}")
    return found.astype(np.int64)


_TAKE = "take whole numbers, such as [0, 3], or a mask with one bool for each row"


def _rows_of(count: int) -> str:
    return f"the index has rows 0..{count - 1} ({count} rows)" if count else "the index has no rows"
