"""The targets of `make fuzz`. A target is added by its line here."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """function: As tests/fuzz/harness.py describes it. share: Its part of all inputs. limit_s: Seconds after which an
    input hangs.
    """

    function: str
    share: int
    limit_s: float = 40.0


TARGETS = {
    "containers": Target("tests.fuzz.test_containers:container", 30),
    "bitstreams": Target("tests.fuzz.test_bitstreams:bitstream", 25),
    "changed": Target("tests.fuzz.test_containers:changed", 10),
    "tars": Target("tests.fuzz.test_tars:shard", 8),
    "lists": Target("tests.fuzz.test_lists:any_list", 7),
    "indices": Target("tests.fuzz.test_index:index", 5),
    "journals": Target("tests.fuzz.test_index:journal", 4),
    "stores": Target("tests.fuzz.test_store:store", 5),
    "checkpoints": Target("tests.fuzz.test_checkpoints:run_folder", 6),
    "arrays": Target("tests.fuzz.test_arrays:array", 5),
}
