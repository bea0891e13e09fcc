"""Effects: what is drawn for which frames, that kornia makes it, and that batches depend on their position alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.kernels.workload import orders
from tests.loader.test_loader import batches, same
from vidssl import Loader, PlanSpec, VideoIndex, VidsslError, reference, views
from vidssl.kernels.augment import EFFECTS, Augment, Scope
from vidssl.kernels.joint import JointSpec, part_sample
from vidssl.loader import effects
from vidssl.loader.effects import Drawn, apply_effects, draw_effects
from vidssl.recipes.pace import pace_r3d_tiny
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import check_model, train

pytest.importorskip("kornia", reason="pip install 'vidssl[kornia]'")

from benchmarks.bench_effects import OTHERS

PLAIN = Augment(resize=(40, 50), crop=(24, 32), flip=0.5, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
ALL: dict[str, Any] = {"blur": 0.5, "solarise": 0.5, "solarise_threshold": (0.3, 0.6), "cutout": 0.5, "tubes": 0.4}
SMALL: dict[str, Any] = {"blur_sigma": (0.5, 1.5), "tube_cells": (3, 5)}
SCOPES: tuple[Scope, ...] = ("frame", "clip", "tuple")


def table(augment: Augment, slots: int = 3, times: int = 4) -> PlanSpec:
    return PlanSpec(arrangements=orders(slots, times), labels=np.arange(6), bases=slots, length=times, augment=augment)


def shared(scope: Scope) -> Augment:
    return replace(PLAIN, **ALL, **SMALL, blur_scope=scope, color_scope=scope, mask_scope=scope)


def drawn(augment: Augment, count: int = 300, first: int = 0, epoch: int = 1) -> Drawn:
    return draw_effects(table(augment), seed=2**40 + 3, epoch=epoch, samples=range(first, first + count))


@pytest.mark.parametrize("scope", SCOPES)
def test_draws_are_those_of_the_reference(scope: Scope) -> None:
    """Of samples that are two apart, as those of one of two tasks are."""
    spec, samples = table(shared(scope)), range(2**33 + 1, 2**33 + 21, 2)
    found = draw_effects(spec, seed=2**40 + 3, epoch=7, samples=samples)
    hidden = np.broadcast_to(found.hidden, (*found.sigma.shape, 3, 5))
    rectangle = np.broadcast_to(found.rectangle, (*found.sigma.shape, 4))
    for n, sample in enumerate(samples):
        expected = reference.effects(spec, seed=2**40 + 3, epoch=7, sample=sample)
        for k in range(spec.slots):
            for t in range(spec.times):
                one, at = expected[k][t], (n, k, t)
                assert found.sigma[at] == pytest.approx(one.get("sigma", 0.0))
                assert found.threshold[at] == pytest.approx(one.get("threshold", np.inf))
                assert tuple(rectangle[at]) == one.get("rectangle", (0, 0, 0, 0))
                assert set(zip(*(axis.tolist() for axis in np.nonzero(hidden[at])), strict=True)) == one["hidden"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_draws_once_for_all_that_it_holds(scope: Scope) -> None:
    found = drawn(shared(scope))
    each = {"frame": 12, "clip": 3, "tuple": 1}[scope]
    masks = (np.broadcast_to(one, (300, 3, 4, *one.shape[3:])) for one in (found.rectangle, found.hidden))
    for values in (found.sigma, found.threshold, *masks):
        counts = [len(np.unique(one.reshape(12, -1), axis=0)) for one in values]
        assert max(counts) <= each
        if scope == "clip":  # one draw for all times
            assert (values == values[:, :, :1]).all()
    assert len(np.unique(found.sigma[found.sigma > 0])) > 100


def test_probabilities_and_ranges_are_as_asked() -> None:
    augment = replace(PLAIN, **SMALL, blur=0.3, solarise=0.2, solarise_threshold=(0.3, 0.6), cutout=0.7, tubes=0.4)
    augment = replace(augment, cutout_area=(0.05, 0.2), cutout_aspect=(0.5, 2.0))
    sigma, threshold, rectangle, hidden = drawn(augment, 4000)
    for on, probability in ((sigma > 0, 0.3), (np.isfinite(threshold), 0.2), (rectangle[..., 2] > 0, 0.7)):
        assert abs(on[:, :, 0].mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / 12_000)
    for values, ends in ((sigma[sigma > 0], (0.5, 1.5)), (threshold[np.isfinite(threshold)], (0.3, 0.6))):
        assert ends[0] <= values.min() < ends[0] + 0.01
        assert ends[1] - 0.01 < values.max() <= ends[1]
    x, y, width, height = np.moveaxis(rectangle[rectangle[..., 2] > 0].astype(float), -1, 0)
    assert 0.04 < (width * height / (24 * 32)).min() < 0.06
    assert 0.18 < (width * height / (24 * 32)).max() < 0.22
    assert abs(np.log(width / height).mean()) < 0.05
    assert (x.min(), y.min(), (x + width).max(), (y + height).max()) == (0, 0, 32, 24)
    assert (hidden.sum((-1, -2)) == 6).all()  # 0.4 of 15 cells
    assert np.abs(hidden.mean((0, 1, 2)) - 0.4).max() < 4 * np.sqrt(0.24 / 12_000)


def test_each_view_is_drawn_on_its_own() -> None:
    """Whatever the scopes say: crop, hue, mirroring and effects of two views of the same frames."""
    look = replace(
        shared("tuple"), crop_scope="tuple", flip_scope="tuple", hue=0.2, short_side=40, crop_area=(0.2, 1.0)
    )
    spec = views(2, 4, augment=look)
    found = draw_effects(spec, seed=3, epoch=0, samples=range(400))
    for values in (found.sigma, found.threshold, found.rectangle[..., 2], found.hidden[..., 0, 0].astype(int)):
        assert (values == values[:, :, :1]).all()  # the same in all frames of a view
    left, right = (found.sigma[:, view, 0] > 0 for view in (0, 1))
    assert abs((left & right).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)  # independent
    both = left & right
    assert not (found.sigma[both, 0, 0] == found.sigma[both, 1, 0]).any()
    assert (found.hidden[:, 0] == found.hidden[:, 1]).all((1, 2, 3)).mean() < 0.02
    plans = [
        reference.plan(spec, frames=spec.frames, size=(48, 64), seed=3, epoch=0, sample=sample) for sample in range(20)
    ]
    assert not any(np.array_equal(plan.box[0, 0], plan.box[1, 0]) for plan in plans)
    assert not any(np.array_equal(plan.color[0, 0], plan.color[1, 0]) for plan in plans)
    assert len({tuple(plan.flip.tolist()) for plan in plans}) == 4


@pytest.fixture
def clips() -> torch.Tensor:
    """[N = 2, K = 3, 3, T = 4, 24, 32] of pictures in 0..1, normalised."""
    torch.manual_seed(0)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (PLAIN.mean, PLAIN.std))
    return (torch.rand(2, 3, 3, 4, 24, 32) - mean) / std


def pictures(clips: torch.Tensor) -> torch.Tensor:
    """[N * K * T, 3, h, w] in 0..1."""
    return PLAIN.denormalize(clips).transpose(2, 3).flatten(0, 2)


def only(name: str) -> Augment:
    return replace(PLAIN, **SMALL, **{name: ALL[name]}, solarise_threshold=(0.3, 0.6), blur_scope="frame")


@pytest.mark.parametrize("name", list(EFFECTS))
def test_effects_are_those_of_kornia(name: str, clips: torch.Tensor) -> None:
    """What kornia's random augmentations make of pictures in 0..1, with the same draws for their own."""
    augment = only(name)
    found = draw_effects(table(augment), seed=4, epoch=0, samples=range(2))
    before = clips.clone()
    expected = OTHERS[name](pictures(clips), found, augment)
    apply_effects(clips, found, augment)
    torch.testing.assert_close(pictures(clips), expected, atol=2e-6, rtol=0)
    changed = (pictures(clips) - pictures(before)).abs().amax((1, 2, 3)) > 0.1
    assert 0 < changed.sum() <= len(changed)
    if name != "tubes":
        assert not changed.all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("channels_last", [True, False])
def test_types_and_layouts_agree(dtype: torch.dtype, channels_last: bool) -> None:
    augment = replace(shared("frame"), mean=(0.0,) * 3, std=(1 / 255,) * 3)
    torch.manual_seed(0)
    clips = (255 * torch.rand(2, 3, 3, 4, 24, 32)).round()
    found, shape = drawn(augment, 2), torch.empty(2, 3, 4, 24, 32, 3, dtype=dtype)
    other = shape.permute(0, 1, 5, 2, 3, 4) if channels_last else torch.empty_like(clips, dtype=dtype)
    other.copy_(clips)
    apply_effects(clips, found, augment)
    apply_effects(other, found, augment)
    apart = (other.float() - clips).abs()
    # A value beside the threshold may fall on its other side, by what was rounded before it.
    assert apart.quantile(0.99) <= {torch.float16: 0.2, torch.bfloat16: 2.0, torch.uint8: 1.0}[dtype]


EFFECTED = table(shared("clip"))
MOTION = replace(EFFECTED, weight="motion", window=20, gap=(1, 2))


@pytest.mark.parametrize("spec", [EFFECTED, MOTION], ids=["plain", "motion"])
def test_batches_are_the_same_with_every_engine_and_number_of_workers(index: VideoIndex, spec: PlanSpec) -> None:
    found = []
    engines: Any = (("inline", 1), ("inline", 3), ("eager", 2), ("dali", 1))
    for engine, workers in engines:
        with Loader(index, spec, batch_size=2, device="cpu", seed=5, workers=workers, engine=engine) as loader:
            found.append(batches(loader))
    assert all(same(found[0], other) for other in found[1:])
    plain = replace(spec, augment=PLAIN)
    with Loader(index, plain, batch_size=2, device="cpu", seed=5) as loader:
        without = batches(loader)
    for one, other in zip(found[0], without, strict=True):
        assert not torch.equal(one.clips, other.clips)
        assert torch.equal(one.frame, other.frame)


def test_batches_depend_on_position_alone(index: VideoIndex) -> None:
    """Not on the batch size, the rank, the tuples of a window's batch, or where a run went on."""

    def clips(batch_size: int, *, epochs: int = 2, begin: tuple[int, int] = (0, 0), **how: Any) -> torch.Tensor:
        with Loader(index, EFFECTED, batch_size=batch_size, device="cpu", seed=5, **how) as loader:
            state = loader.state_dict() | {"epoch": begin[0], "batch": begin[1]}
            loader.load_state_dict(json.loads(json.dumps(state)))
            return torch.cat([batch.clips.clone() for _ in range(epochs) for batch in loader])

    whole = clips(1)
    videos = len(whole) // 2
    assert videos == 9
    assert torch.equal(clips(3), whole)
    assert torch.equal(clips(videos), whole)
    assert torch.equal(clips(3, epochs=1, begin=(1, 1)), whole[videos + 3 :])
    ranks = [clips(1, epochs=1, rank=rank, world_size=3) for rank in range(3)]
    assert torch.equal(torch.stack(ranks, 1).flatten(0, 1), whole[:videos])
    assert torch.equal(clips(6, epochs=1, tuples_per_window=2), clips(2, epochs=1, tuples_per_window=2))
    assert not torch.equal(whole[:videos], whole[videos:])


def test_each_of_several_tasks_has_its_own_effects(index: VideoIndex) -> None:
    first, second = table(PLAIN), replace(EFFECTED, augment=replace(shared("clip"), flip=0.0))
    spec = JointSpec(tasks={"first": first, "second": second})
    plain = JointSpec(tasks={"first": first, "second": replace(second, augment=replace(PLAIN, flip=0.0))})
    shown: list[list[torch.Tensor]] = []
    for one in (spec, plain):
        with Loader(index, one, batch_size=3, device="cpu", seed=6) as loader:
            shown.append([batch.clips.clone() for batch in loader])
    for number, (clips, before) in enumerate(zip(*shown, strict=True)):
        assert torch.equal(clips[:, :3], before[:, :3])
        for row in range(3):
            sample = part_sample(spec, 3 * number + row, 1)
            apply_effects(
                before[row : row + 1, 3:],
                draw_effects(second, seed=6, epoch=0, samples=range(sample, sample + 1)),
                second.augment,
            )
        assert torch.equal(clips, before)


def test_evaluation_has_no_effects_and_needs_no_kornia(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "find_spec", lambda _: None)
    found = []
    for spec in (EFFECTED, table(PLAIN)):
        with Loader(index, spec, batch_size=3, device="cpu", train=False) as loader:
            found.append(batches(loader, 1))
            assert loader.state_dict()["sequence"]["effects"] is None
    assert same(*found)


def test_without_kornia_training_says_how_to_get_it(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "find_spec", lambda _: None)
    said = r"Augment: blur=0.5: kornia is not installed; run: pip install 'vidssl\[kornia\]', or take blur=0$"
    with pytest.raises(VidsslError, match=said):
        Loader(index, EFFECTED, batch_size=1, device="cpu")
    recipe = pace_r3d_tiny()
    check_model(recipe)
    augment = replace(recipe.pretext.augment, blur=0.5)
    with pytest.raises(VidsslError, match=said):  # before videos are indexed
        check_model(replace(recipe, pretext=replace(recipe.pretext, augment=augment)))


def test_a_resumed_loader_must_have_the_same_effects(index: VideoIndex) -> None:
    with Loader(index, table(PLAIN), batch_size=2, device="cpu") as loader:
        state = loader.state_dict()
        del state["sequence"]["effects"]  # of a version without effects
        loader.load_state_dict(state)
    for spec in (EFFECTED, table(replace(PLAIN, tubes=0.5))):
        with (
            Loader(index, spec, batch_size=2, device="cpu") as loader,
            pytest.raises(VidsslError, match=r"effects: None then, \[\{'.*\}\] now"),
        ):
            loader.load_state_dict(state)


def test_a_resumed_run_has_the_same_effects(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    """It continues with the same bits, and is refused with other settings."""

    def run(out: str, steps: int, *, resume: bool = False, **changed: Any) -> dict[str, torch.Tensor]:
        effects = {"blur": 0.5, "blur_sigma": (0.5, 2.0), "solarise": 0.2, "cutout": 0.5, "tubes": 0.5}
        augment = replace(recipe.pretext.augment, tube_cells=(4, 4), **{**effects, **changed})
        one = replace(recipe, pretext=replace(recipe.pretext, augment=augment))
        train(one, index, tmp_path / out, steps=steps, resume=resume, device="cpu", quiet=True)
        return checkpoint.load_weights(checkpoint.find(tmp_path / out), "encoder")

    whole = run("whole", 5)
    run("parts", 2)
    with pytest.raises(VidsslError, match=r"pretext.augment.blur: 0.5 then, 0.4 now$"):
        run("parts", 5, resume=True, blur=0.4)
    rest = run("parts", 5, resume=True)
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
    without = run("without", 5, blur=0.0, solarise=0.0, cutout=0.0, tubes=0.0)
    assert any(not torch.equal(whole[name], without[name]) for name in whole)


@pytest.mark.gpu
def test_a_gpu_makes_what_a_cpu_makes(clips: torch.Tensor) -> None:
    """Without a wait for the GPU."""
    augment, found, there = shared("frame"), drawn(shared("frame"), 2), clips.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        apply_effects(there, found, augment)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    apply_effects(clips, found, augment)
    apart = (there.cpu() - clips).abs()
    assert (apart > 1e-4).float().mean() < 0.001  # a value beside the threshold may fall on its other side


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blur": 0.5, "blur_sigma": (0.1, 40.0)}, "shorter side of 24"),
        ({"tubes": 0.5, "tube_cells": (25, 2)}, r"a cell for each pixel of crop=\(24, 32\)"),
        ({"tubes": 0.01, "tube_cells": (7, 7)}, "this hides 0 of 49 cells"),
        ({"tubes": 0.999, "tube_cells": (7, 7)}, "this hides 49 of 49 cells"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(VidsslError, match=said):
        replace(PLAIN, **change)


def test_more_draws_than_philox_counts_are_refused(index: VideoIndex) -> None:
    """2^16 frames of 24 x 32 cells need 192 draws each."""
    augment = replace(PLAIN, tubes=0.5, tube_cells=(24, 32), mask_scope="frame")
    spec = PlanSpec(arrangements=np.zeros((1, 1, 2**17)), labels=np.zeros(1), bases=1, augment=augment)
    with pytest.raises(VidsslError, match=r"tube_cells=\(24, 32\): these cells need 25165824 draws"):
        Loader(index, spec, batch_size=1, device="cpu")
