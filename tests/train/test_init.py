"""First weights of an encoder: what is copied, refused and written down; and resuming needs no file."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.train.processes import lines, run
from vidssl.cli import main
from vidssl.evaluate.run import untrained_encoder
from vidssl.index.table import VideoIndex
from vidssl.models import ENCODERS, Encoder
from vidssl.pretext import Vcop
from vidssl.recipes.vcop import vcop_r3d_tiny
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.init import Weights, parts, read_weights, transfer
from vidssl.train.train import train
from vidssl.types import VidsslError

STILL = 1e-30  # a learning rate that moves no weight, unless it is 0


def encoder(name: str = "resnet_tiny", seed: int = 0, **settings: Any) -> Encoder:
    torch.manual_seed(seed)
    return ENCODERS[name](**settings)


def weights(of: Encoder) -> Weights:
    return Weights("a test", None, "", {name: value.clone() for name, value in of.state_dict().items()})


@pytest.fixture(scope="module")
def source(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with other weights than those of the recipe's seed."""
    out = tmp_path_factory.mktemp("source") / "run"
    train(replace(recipe, train=replace(recipe.train, seed=9)), index, out, steps=2, device="cpu", quiet=True)
    return out


def test_a_part_stands_for_its_tensors() -> None:
    known = ["a.x.w", "a.x.b", "a.y.w", "b.w", "bb.w"]
    assert parts(["a.x.w", "a.x.b", "a.y.w"], known) == ["a"]
    assert parts(["a.x.w", "a.y.w", "b.w"], known) == ["a.x.w", "a.y", "b"]
    assert parts(known, known) == []


def test_all_but_the_fresh_parts_are_copied() -> None:
    ours, theirs = encoder(), encoder(seed=1)
    before = weights(ours).tensors
    given = weights(theirs)
    given.tensors["head.weight"] = torch.zeros(2)
    found = transfer(ours, given, fresh=("stages.3", "stem.0"))
    fresh = {name for name in before if name.startswith(("stages.3.", "stem.0."))}
    assert set(found.fresh) == fresh
    assert set(found.transferred) == set(before) - fresh
    assert set(found.ignored) == {*fresh, "head.weight"}
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else given.tensors[name]), name
    assert any(not torch.equal(before[name], given.tensors[name]) for name in fresh)
    said = "\n".join(found.lines())
    assert "first weights of the encoder: a test" in said
    assert "fresh: stem.0, stages.3 (" in said
    assert re.search(r"ignored: .*head.* \(", said)


def test_convolutions_of_a_caffenet_alone() -> None:
    with torch.device("meta"):
        full = ENCODERS["caffenet_opn_full"]()
    found = transfer(full, weights(encoder("caffenet_opn")), fresh=("dense",))
    assert {name.split(".")[0] for name in found.transferred} == {"convs"}
    assert {name.split(".")[0] for name in found.fresh} == {name.split(".")[0] for name in found.ignored} == {"dense"}
    assert found.lines()[1:] == [
        "  transferred: convs (25 tensors)",
        "  fresh: dense (14 tensors)",
        "  ignored: dense (7 tensors)",
    ]


@pytest.mark.parametrize(
    ("there", "here", "channels", "hint"),
    [
        (
            "caffenet_opn",
            "caffenet_opn_full",
            3,
            r"dense.fc7.weight.* shapes differ: dense.fc6.weight is \[1024, 1024\] "
            r"there and \[4096, 9216\] here.*--fresh dense leaves these parts",
        ),
        (
            "alexnet_o3n",
            "alexnet_o3n",
            15,
            r"convs.conv1.weight is \[96, 15, 11, 11\] there and \[96, 3, 11, 11\] here; "
            r"--fresh convs.conv1 leaves these parts",
        ),
        ("resnet_tiny", "resnet18", 3, "these are weights of another encoder; take some of this one, under its names$"),
        ("r3d_tiny", "resnet_tiny", 3, "12 shapes differ: stem.0.weight is .*; these are weights of another encoder"),
    ],
)
def test_what_does_not_fit_is_named_with_the_fix(there: str, here: str, channels: int, hint: str) -> None:
    with torch.device("meta"):
        ours, given = ENCODERS[here](), ENCODERS[there](channels=channels)
    with pytest.raises(VidsslError, match=rf"^train: init='a test': .*{hint}"):
        transfer(ours, weights(given))


def test_an_error_changes_nothing() -> None:
    ours, given = encoder(), weights(encoder(seed=1))
    before = weights(ours).tensors
    given.tensors["layer"] = given.tensors.pop("stages.3.conv2.weight")
    said = (
        r"it lacks 1 of the encoder's tensors: stages.3.conv2.weight, and has layer, which the encoder lacks; --fresh"
    )
    with pytest.raises(VidsslError, match=said):
        transfer(ours, given)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_bad_tensors_are_named() -> None:
    ours, name = encoder(), "stem.0.weight"
    for value, said in (
        (torch.full_like(ours.state_dict()[name], math.nan), "1 tensors, such as stem.0.weight, are not finite"),
        (torch.zeros_like(ours.state_dict()[name], dtype=torch.int8), "stem.0.weight is of torch.int8"),
    ):
        given = weights(encoder(seed=1))
        given.tensors[name] = value
        with pytest.raises(VidsslError, match=said):
            transfer(ours, given)
    with pytest.raises(VidsslError, match=r"fresh=\['stages.9'\]: take some of stem, stem.0"):
        transfer(ours, weights(ours), fresh=("stem", "stages.9"))
    with pytest.raises(VidsslError, match=r"fresh=\['stem', 'stages'\] leaves nothing to transfer"):
        transfer(ours, weights(ours), fresh=("stem", "stages"))


def test_counts_of_batches_may_be_missing_and_halves_are_converted() -> None:
    ours, given = encoder(), weights(encoder(seed=1))
    for name in [name for name in given.tensors if name.endswith("num_batches_tracked")]:
        del given.tensors[name]
    given.tensors["stem.0.weight"] = given.tensors["stem.0.weight"].half()
    found = transfer(ours, given)
    assert found.fresh
    assert all(name.endswith("num_batches_tracked") for name in found.fresh)
    assert torch.equal(ours.state_dict()["stem.0.weight"], given.tensors["stem.0.weight"].float())


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_file({"a": torch.zeros(3)}, good)
    assert read_weights(good).sha256 == checkpoint.digest(good)
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-1])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "weights.pt").write_bytes(b"pickle")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, said in (
        ("cut.safetensors", "it cannot be read"),
        ("empty.safetensors", "it cannot be read"),
        ("pipe.safetensors", "a named pipe, not a regular file"),
        ("none.safetensors", "no such file or folder"),
        ("weights.pt", r"torch cannot read it as a state dict .*torch.save\(encoder.state_dict\(\), FILE\)"),
        ("none", "no such file or folder"),
        (".", "no checkpoint in it"),
    ):
        with pytest.raises(VidsslError, match=rf"^finetune: init=.*{said}"):
            read_weights(tmp_path / name, command="finetune")


def test_a_link_out_of_a_run_is_refused(source: Path, tmp_path: Path) -> None:
    step = checkpoint.find(source)
    copy = tmp_path / "run" / "checkpoints" / step.name
    copy.mkdir(parents=True)
    for path in step.iterdir():
        (copy / path.name).symlink_to(path)
    with pytest.raises(VidsslError, match=r"init=.*lead.* out of"):
        read_weights(tmp_path / "run")


def test_a_run_begins_with_the_weights_of_another(
    source: Path, index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = replace(
        recipe, init=str(source), fresh=("stages.3",), train=replace(recipe.train, lr=STILL, weight_decay=0.0)
    )
    done = train(still, index, tmp_path / "run", steps=1, device="cpu")
    after, given = (checkpoint.load_weights(path, "encoder") for path in (done.checkpoint, checkpoint.find(source)))
    random = untrained_encoder(recipe).state_dict()
    learnt = [name for name, _ in untrained_encoder(recipe).named_parameters()]
    for name in learnt:
        wanted = random[name] if name.startswith("stages.3.") else given[name]
        torch.testing.assert_close(after[name], wanted, rtol=0, atol=1e-20, msg=name)
    assert any(not torch.equal(random[name], given[name]) for name in learnt)
    said = capsys.readouterr().out
    assert f"first weights of the encoder: {checkpoint.find(source)}, step 2" in said
    assert "fresh: stages.3 (" in said
    for about in (json.loads((tmp_path / "run/run.json").read_text()), checkpoint.load_meta(done.checkpoint)):
        assert about["recipe"]["init"] == str(source)
        assert about["init"]["step"] == 2
        assert about["init"]["sha256"] == checkpoint.digest(checkpoint.find(source) / "encoder.safetensors")
        assert {*about["init"]["transferred"], *about["init"]["fresh"]} == set(after)
        assert all(name.startswith("stages.3.") for name in about["init"]["fresh"])


def test_a_resumed_run_reads_no_weights_and_has_the_same_bits(
    source: Path, index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    given = tmp_path / "given.safetensors"
    save_file(checkpoint.load_weights(checkpoint.find(source), "encoder"), given)
    begun = replace(recipe, init=str(given))
    whole = train(begun, index, tmp_path / "whole", steps=6, device="cpu", quiet=True)
    train(begun, index, tmp_path / "parts", steps=3, device="cpu", quiet=True)
    given.unlink()
    resumed = train(begun, index, tmp_path / "parts", steps=6, resume=True, device="cpu", quiet=True)
    one, other = (checkpoint.load_weights(done.checkpoint, "encoder") for done in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert checkpoint.load_meta(resumed.checkpoint)["init"] == checkpoint.load_meta(whole.checkpoint)["init"]
    with pytest.raises(VidsslError, match=r"init: '\S+given.safetensors' then, None now"):
        train(recipe, index, tmp_path / "parts", steps=7, resume=True, device="cpu", quiet=True)
    with pytest.raises(VidsslError, match=r"train: init=.*no such file or folder"):
        train(begun, index, tmp_path / "new", steps=1, device="cpu", quiet=True)


def test_a_run_from_before_there_was_init_is_resumed(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    done = train(recipe, index, tmp_path, steps=1, device="cpu", quiet=True)
    path = done.checkpoint / "meta.json"
    meta = json.loads(path.read_text())
    del meta["init"]
    for part in (meta["fixed"], meta["recipe"]):
        del part["init"], part["fresh"]
    path.write_text(json.dumps(meta))
    assert train(recipe, index, tmp_path, steps=2, resume=True, device="cpu", quiet=True).step == 2


def test_two_processes_begin_with_the_same_weights(source: Path, index: VideoIndex, tmp_path: Path) -> None:
    """Rank 0 alone reads them, and the losses are those of one process; also where it goes on without the file."""
    given = tmp_path / "given.safetensors"
    save_file(checkpoint.load_weights(checkpoint.find(source), "encoder"), given)
    base = vcop_r3d_tiny()  # the recipe of `run`
    augment = replace(base.pretext.augment, resize=(24, 32), crop=(16, 16))
    pretext = Vcop(clip_length=8, interval=2, dropout=0.0, augment=augment)
    small = replace(base.train, amp="off", holdout=0.2, workers=1, seed=5)
    alone = replace(small, lr=1e-3, batch_size=4, accumulate=2, threads=1, log_every=1)
    train(
        Recipe(pretext=pretext, encoder="r3d_tiny", train=alone, init=str(given)),
        index,
        tmp_path / "one",
        steps=4,
        device="cpu",
        quiet=True,
    )
    first = ("--encoder", "r3d_tiny", "--init", str(given), "--dropout", "0", "--lr", "0.001")
    options = (*first, "--log-every", "1", "--save-every", "2")
    assert "first weights" in run(index.root, tmp_path / "two", *options, "--steps", "2", ranks=2)
    given.unlink()
    run(index.root, tmp_path / "two", *options, "--steps", "4", "--resume", ranks=2)
    losses = [
        [line["train/loss"] for line in lines(tmp_path / name) if "train/loss" in line] for name in ("one", "two")
    ]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_commands_name_wrong_weights_before_they_read_videos(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no videos, which would be the next error."""
    none = str(tmp_path / "none")
    begin = ("train", "vcop_r3d_tiny", "--data", none, "--out", str(tmp_path / "run"), "--device", "cpu")
    for command, said in (
        ((*begin, "--init", none), "train: init="),
        ((*begin, "--init", str(source), "--fresh", "dense"), "train: fresh=['dense']: take some of stem"),
        (("evaluate", "finetune", str(source), "--train", none, "--init", none), "finetune: init="),
        (
            ("evaluate", "finetune_opn", str(source), "--train", none),
            "encoder='caffenet_opn_full': vcop shows it clips of 8 x 224 x 224",
        ),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err, command


def test_fresh_without_init_is_refused(recipe: Recipe) -> None:
    with pytest.raises(VidsslError, match=r"fresh=\('stem',\): without init, all parts are fresh"):
        replace(recipe, fresh=("stem",))


def test_a_state_dict_of_torch(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    """As it is, under a key, and with names that begin otherwise; a pickle that would run code is refused."""
    theirs = encoder(seed=1)
    for at, found in enumerate(
        (
            theirs.state_dict(),
            {"model": theirs.state_dict(), "epoch": 3},
            {f"module.encoder.{name}": value for name, value in theirs.state_dict().items()},
        )
    ):
        path = tmp_path / f"weights{at}.pth"
        torch.save(found, path)
        ours = encoder()
        begun = transfer(ours, read_weights(path))
        assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
        assert begun.renamed == ("module.encoder.* there is * here" if at == 2 else "")
        assert not begun.ignored
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(VidsslError, match=r"it holds epoch, and a state dict holds tensors alone"):
        read_weights(tmp_path / "none.pt")
    torch.save(theirs, tmp_path / "whole.pt")
    with pytest.raises(VidsslError, match=r"torch cannot read it as a state dict"):
        read_weights(tmp_path / "whole.pt")


def test_weights_of_a_plain_module_begin_its_encoder() -> None:
    from torch import nn

    from vidssl.encoders import Adapted

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 1))

    theirs, ours = make(), Adapted(make(), (3, 2, 4, 4), name="own")
    begun = transfer(ours, Weights("a test", None, "", theirs.state_dict()))
    assert begun.renamed == "* there is module.* here"
    assert "  names: * there is module.* here" in begun.lines()
    assert all(torch.equal(value, ours.module.state_dict()[name]) for name, value in theirs.state_dict().items())


def test_an_exported_folder(source: Path, tmp_path: Path) -> None:
    assert main(["export", str(source), "--out", str(tmp_path / "export")]) == 0
    given, run_s = (
        read_weights(tmp_path / "export").tensors,
        checkpoint.load_weights(checkpoint.find(source), "encoder"),
    )
    assert given.keys() == run_s.keys()
    assert all(torch.equal(value, run_s[name]) for name, value in given.items())
