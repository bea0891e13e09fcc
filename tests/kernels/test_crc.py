"""crc32 equals zlib's."""

import zlib

import numpy as np
import pytest

from vidssl.native import kernels
from vidssl.types import VidsslError

pytestmark = pytest.mark.skipif(not hasattr(kernels, "crc32"), reason="this processor lacks its instruction")


def test_equals_zlib() -> None:
    rng = np.random.default_rng(0)
    data = rng.bytes(5000)
    for count in [*range(300), *rng.integers(300, 4000, 200).tolist()]:
        first, start = int(rng.integers(0, 100)), int(rng.integers(0, 2**32))
        part = data[first : first + count]
        assert kernels.crc32(part) == zlib.crc32(part)
        assert kernels.crc32(part, start) == zlib.crc32(part, start)
        assert kernels.crc32(part[count // 2 :], kernels.crc32(part[: count // 2])) == zlib.crc32(part)


@pytest.mark.parametrize(("data", "named"), [(None, "data is a NoneType"), (np.zeros(9)[::2], "data: its bytes")])
def test_wrong_arguments(data: object, named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        kernels.crc32(data)
