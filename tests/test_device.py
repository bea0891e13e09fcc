"""The device that a name means."""

from __future__ import annotations

import pytest
import torch

from vidssl import VidsslError
from vidssl.device import pick_device


@pytest.fixture
def third_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs is made believe; the third one is torch's current one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)


@pytest.mark.usefixtures("third_of_four")
@pytest.mark.parametrize(
    ("name", "index"),
    [("cuda", 2), ("auto", 2), (torch.device("cuda"), 2), ("cuda:0", 0), ("cuda:3", 3), (torch.device("cuda", 1), 1)],
)
def test_a_gpu_comes_with_its_index(name: str | torch.device, index: int) -> None:
    assert pick_device(name) == torch.device("cuda", index)


@pytest.mark.usefixtures("third_of_four")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(
        VidsslError, match=r"device='cuda:4': torch finds 4 CUDA device\(s\) on this machine; pass cpu or auto"
    ):
        pick_device("cuda:4")


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_gpu_it_is_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["mps", "gpu"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(VidsslError, match=f"device='{name}': pass auto, cpu, cuda or cuda:N"):
        pick_device(name)
