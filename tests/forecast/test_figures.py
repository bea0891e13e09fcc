"""What limits training, what fits where, and where each figure comes from."""

import re
from dataclasses import replace

import pytest

from vidssl.forecast.figures import AS_THEY_ARE, PREPARED, Estimate, Figure

STORE = "a store of 36x36"


def made(*, decode: float | None, prepared: float | None, store: float, wanted: float | None) -> Estimate:
    """16 GPUs in 2 nodes of 32 cores. The loads are those of a node, and `wanted` is what one GPU trains on."""

    def load(value: float | None) -> Figure:
        if value is None:
            return Figure(value=None, source="not measured")
        return Figure(value=value / 32, source="measured here")

    return Estimate(
        data="videos",
        videos=10,
        looked=2,
        failed=[],
        usable=Figure(value=10, source="from the index"),
        frames=Figure(value=1000, source="from the index"),
        seconds=1.0,
        share=1.0,
        cores_here=2,
        cores=32,
        gpus=16,
        gpus_per_node=8,
        work={"index": Figure(value=64.0, source="extrapolated", error=0.125)},
        sizes={STORE: Figure(value=3e9, source="from the index")},
        rooms={
            "GPU memory": Figure(value=None, source="not measured"),
            "host memory": Figure(value=3e9, source="measured here"),
            "disk": Figure(value=3e9 - 1, source="measured here"),
        },
        loads={AS_THEY_ARE: load(decode), PREPARED: load(prepared), STORE: load(store)},
        wanted=Figure(value=wanted, source="not measured" if wanted is None else "given"),
        stored=STORE,
    )


def test_hours_are_divided_by_the_cores() -> None:
    found = made(decode=1.0, prepared=1.0, store=1.0, wanted=None)
    assert [found.hours("index", cores).value for cores in (1, 32, 64)] == [64.0, 2.0, 1.0]
    assert "extrapolated, ± 12 %" in found.text()
    assert found.nodes == 2


@pytest.mark.parametrize(
    ("hours", "shown"),
    [(7e-7, "below 1 s"), (0.01, "36 s"), (0.0275, "99 s"), (0.5, "30 min"), (1.6, "96 min"), (64, "64.0 h")],
)
def test_times_are_shown_in_the_unit_that_people_would_say(hours: float, shown: str) -> None:
    work = {"index": Figure(value=hours, source="extrapolated")}
    found = replace(made(decode=1.0, prepared=1.0, store=1.0, wanted=None), work=work)
    (line,) = (line for line in found.text().splitlines() if line.startswith("index "))
    assert re.split(r"\s{2,}", line)[1] == shown  # with one core


def test_what_fits() -> None:
    found = made(decode=1.0, prepared=1.0, store=1.0, wanted=None)
    assert [found.fits(STORE, place) for place in found.rooms] == [None, True, False]


@pytest.mark.parametrize(
    ("decode", "prepared", "store", "limits", "said"),
    [
        (800, 900, 9000, ("GPUs", "GPUs", "GPUs"), "limited by the GPUs: to decode the videos as they are is enough"),
        (799, 900, 9000, ("loading", "GPUs", "GPUs"), f"limited by the GPUs only with {PREPARED!r}, as decoding"),
        (
            200,
            400,
            9000,
            ("loading", "loading", "GPUs"),
            f"only with {STORE!r} (fits into: host memory), as decoding the videos as they are gives 25% of the 800",
        ),
        (100, 200, 400, ("loading",) * 3, f"by loading: {STORE!r}, the fastest way, gives 50% of the 800"),
        (
            None,
            None,
            300,
            (None, None, "loading"),
            "for which 86 cores a node would be enough",
        ),  # 32 * 800 / 300 = 85.3
    ],
)
def test_the_limit_of_training(
    decode: float | None, prepared: float | None, store: float, limits: tuple[str | None, ...], said: str
) -> None:
    """8 GPUs of a node train on 100 samples a second each."""
    found = made(decode=decode, prepared=prepared, store=store, wanted=100.0)
    assert tuple(found.limit(way) for way in found.loads) == limits
    assert said in found.conclusion()
    assert found.conclusion() in found.text()
    assert found.as_dict()["limits"] == dict(zip(found.loads, limits, strict=True))


def test_a_store_that_fits_nowhere_is_said_to() -> None:
    found = made(decode=200, prepared=400, store=9000, wanted=100.0)
    big = replace(found, sizes={STORE: Figure(value=1e15, source="from the index")})
    assert "fits into none of the places above" in big.conclusion()


def test_without_a_gpu_nothing_is_invented() -> None:
    found = made(decode=200, prepared=400, store=1600, wanted=None)
    assert [found.limit(way) for way in found.loads] == [None, None, None]
    assert f"at most 200 a second, with {STORE!r}" in found.conclusion()
    assert "what GPUs train on" in found.text()
    unknown = replace(found, loads=dict.fromkeys(found.loads, Figure(value=None, source="not measured")))
    assert "could not be measured" in unknown.conclusion()


def test_a_busy_machine_and_files_that_cannot_be_used_are_said() -> None:
    found = made(decode=200, prepared=400, store=1600, wanted=None)
    assert "had a processor" not in found.text()
    busy = replace(found, share=0.4, failed=[f"{name}.mp4: empty file" for name in "abcd"])
    assert "had a processor for 40%" in busy.text()
    assert "cannot be used: c.mp4: empty file" in busy.text()
    assert "d.mp4" not in busy.text()
    assert "and 1 more of those looked at" in busy.text()
