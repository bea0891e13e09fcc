"""DALI is an extra: without it the batches are the same, and what needs it says how to get it."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from tests.loader.test_loader import MOTION, PLAIN
from vidssl import Loader, VideoIndex, VidsslError
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.choose_decoder import choose_decoder
from vidssl.native import build_info, need_dali


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> str:
        if name.startswith("nvidia-dali"):
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("vidssl.native.metadata.version", found)
    for name in [name for name in sys.modules if name.startswith("nvidia.dali")]:
        monkeypatch.setitem(sys.modules, name, None)


def batches(index: VideoIndex, spec: PlanSpec) -> tuple[str, list[torch.Tensor]]:
    with Loader(index, spec, batch_size=4, device="cpu", seed=3) as loader:
        return loader.engine, [part.clone() for batch in loader for part in (batch.clips, batch.label)]


@pytest.mark.parametrize(("spec", "with_dali", "without"), [(PLAIN, "inline", "inline"), (MOTION, "dali", "eager")])
def test_the_batches_are_the_same(
    index: VideoIndex, spec: PlanSpec, with_dali: str, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, wanted = batches(index, spec)
    assert engine == with_dali
    hide(monkeypatch)
    engine, found = batches(index, spec)
    assert engine == without
    assert len(wanted) == len(found) > 0
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


@pytest.mark.parametrize("asked", [{"engine": "dali"}, {"decode": "dali"}])
def test_what_needs_dali_says_how_to_get_it(
    index: VideoIndex, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch)
    with pytest.raises(VidsslError, match=r"=\"dali\": DALI is not installed; run: pip install 'nvidia-dali-cuda130=="):
        Loader(index, PLAIN, batch_size=4, device="cpu", **asked)


def test_nvdec_needs_dali(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)
    cuda, rows = torch.device("cuda", 0), torch.arange(len(index)).numpy()
    with pytest.raises(VidsslError, match='decode="nvdec": DALI is not installed'):
        choose_decoder("nvdec", cuda, index, rows, lambda decoder: pytest.fail("nothing to measure"))
    decoder, why = choose_decoder("auto", cuda, index, rows, lambda decoder: pytest.fail("nothing to measure"))
    assert decoder is None
    assert "DALI" in why


def test_another_minor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.native.metadata.version", lambda name: "1.50.0")
    minor = ".".join(build_info()["dali"].split(".")[:2])
    with pytest.raises(VidsslError, match=rf'engine="dali": nvidia-dali 1\.50\.0 is installed, .* built for {minor};'):
        need_dali('engine="dali"')
