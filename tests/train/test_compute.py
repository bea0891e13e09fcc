"""Which precision, device and number of threads a run computes with."""

from __future__ import annotations

import os

import pytest
import torch

from vidssl.train import compute
from vidssl.train.compute import WIDE, count, loads_on, pick_amp, torch_threads


@pytest.mark.parametrize(
    ("device", "amx", "avx512", "parameters", "bf16"),
    [
        ("cuda", False, False, 1, True),
        ("cpu", True, False, 1, True),
        ("cpu", False, True, WIDE, True),
        ("cpu", False, True, WIDE - 1, False),
        ("cpu", False, False, WIDE, False),
    ],
)
def test_auto_takes_bf16_where_it_is_faster(
    device: str, amx: bool, avx512: bool, parameters: int, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert pick_amp("auto", torch.device(device), parameters) is bf16
    assert pick_amp("bf16", torch.device(device), parameters)
    assert not pick_amp("off", torch.device(device), parameters)


@pytest.mark.parametrize("cuda", [True, False])
def test_a_build_without_cuda_loads_on_the_cpu(cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "build_info", lambda: {"cuda": cuda})
    assert loads_on(torch.device("cuda", 1)) == (torch.device("cuda", 1) if cuda else torch.device("cpu"))
    assert loads_on(torch.device("cpu")) == torch.device("cpu")


def test_parameters_are_counted() -> None:
    assert count(torch.nn.Linear(3, 4)) == 16


def test_threads_are_set_for_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    with torch_threads(1) as threads:
        assert threads == torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for processes, left in ((1, 2), (4, 1), (8, 1)):  # one core is left to decoding; never more than torch had
        with torch_threads(None, processes=processes) as threads:
            assert threads == left
