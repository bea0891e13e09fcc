"""Exports are read again, and compute what the encoder computes."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vidssl
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.trained import export
from vidssl.types import VidsslError


def test_safetensors(run: Path, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), "--out", str(out)]) == 0
    assert "read again: the same features" in capsys.readouterr().out
    trained = vidssl.load(run)
    for path in (out, out / "encoder.safetensors"):
        again = vidssl.load(path)
        assert again.recipe == trained.recipe
        assert again.step == 2
        source = index.video(0).path
        assert torch.equal(again.features(source, device="cpu"), trained.features(source, device="cpu"))
    card = json.loads((out / "encoder.json").read_text())
    assert card["input"]["clips"] == ["N", 3, 8, 16, 16]
    assert card["output"]["features"] == ["N", trained.encoder.features]
    assert main(["export", str(out), "--out", str(out)]) == 0  # once more, from itself
    assert torch.equal(
        load_file(out / "encoder.safetensors")["stem.0.weight"], trained.encoder.state_dict()["stem.0.weight"]
    )


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_programs(kind: str, run: Path, tmp_path: Path) -> None:
    trained = vidssl.load(run)
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        (made,) = export(trained, tmp_path / "out", [kind])  # type: ignore[list-item]
    assert [one for one in warned if one.category is FutureWarning] == []
    assert made.difference < 1e-4
    clips = torch.rand(5, 3, 8, 16, 16)
    if kind == "torch":
        feature = torch.export.load(made.path).module()(clips)
    else:
        feature = torch.from_numpy(onnxruntime.InferenceSession(str(made.path)).run(None, {"clips": clips.numpy()})[0])
    with torch.no_grad():
        expected = trained.encoder(clips)
    torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)


def test_a_file_that_computes_something_else_is_deleted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, module = vidssl.load(run), sys.modules["vidssl.trained.export"]
    monkeypatch.setitem(module._READ, "torch", lambda _: lambda clips: trained.encoder(clips).detach() * 1.01)
    with pytest.raises(VidsslError, match=r"to=torch: the features of encoder\.pt2 differ"):
        export(trained, tmp_path / "out", ["torch"])
    assert not (tmp_path / "out" / "encoder.pt2").exists()


def test_bad_input(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = vidssl.load(run)
    with pytest.raises(VidsslError, match="take some of safetensors, onnx, torch"):
        export(trained, tmp_path / "a", ["tflite"])  # type: ignore[list-item]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "encoder.safetensors").write_text("mine")
    assert main(["export", str(run), "--out", str(tmp_path / "mine")]) == 2
    assert "it exists and is no folder of an export" in capsys.readouterr().err
    assert (tmp_path / "mine" / "encoder.safetensors").read_text() == "mine"
    (tmp_path / "file").touch()
    assert main(["export", str(run), "--out", str(tmp_path / "file" / "below")]) == 2
    assert "name a folder that can be written" in capsys.readouterr().err
    module = sys.modules["vidssl.trained.export"]
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else "there")
    assert main(["export", str(run), "--out", str(tmp_path / "b"), "--to", "onnx"]) == 2
    assert "onnxscript: not installed; run: pip install 'vidssl[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_weights_of_another_encoder_are_refused(run: Path, tmp_path: Path) -> None:
    export(vidssl.load(run), tmp_path / "out")
    path = tmp_path / "out" / "encoder.safetensors"
    tensors = load_file(path)
    card = json.loads((tmp_path / "out" / "encoder.json").read_text())
    about = json.dumps({"recipe": card["recipe"], "step": 2})
    save_file({name: one for name, one in tensors.items() if name != "stem.0.weight"}, path, metadata={"vidssl": about})
    with pytest.raises(VidsslError, match="not the weights of r3d_tiny"):
        vidssl.load(tmp_path / "out")
    card["recipe"]["encoder"] = "os:system"
    save_file(tensors, path, metadata={"vidssl": json.dumps({"recipe": card["recipe"], "step": 2})})
    with pytest.raises(VidsslError, match="os:system"):
        vidssl.load(path)
