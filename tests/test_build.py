"""What was built, and the rules of the code: which module may import which, and how long a file may be."""

from __future__ import annotations

import ast
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from vidssl import native
from vidssl.types import VidsslError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vidssl"
FATBIN_MAGIC = struct.pack("<I", 0xBA55ED50)
ROOMS = {
    **dict.fromkeys(("checks", "code", "types", "native", "arrays", "device", "versions", "models", "plots"), 1),
    **dict.fromkeys(
        ("paths", "files", "awake", "deadline", "workers", "pools", "lock", "cpus", "cgroups", "memory"), 1
    ),
    **dict.fromkeys(("remote", "progress", "settings"), 1),
    **dict.fromkeys(("video", "encoders"), 2),
    **dict.fromkeys(("index", "kernels", "ops", "reference"), 3),
    **dict.fromkeys(("store", "pretext", "datasets"), 4),
    **dict.fromkeys(("loader",), 5),
    **dict.fromkeys(("train", "prepare"), 6),
    **dict.fromkeys(("recipes", "evaluate", "report", "trained", "forecast"), 7),
    **dict.fromkeys(("cli", "demo", "__main__"), 8),
}
LONGEST_FILE, LONGEST_BODY = 400, 60  # lines
# Modules without a test file of their own name: what tests them.
TESTED_BY = {
    "arrays": "faces/test_python.py",
    "cgroups": "test_cpus.py",
    "checks": "kernels/test_properties.py",
    "code": "encoders/test_code.py",
    "cli.audit": "evaluate/test_audit.py",
    "cli.bench": "loader/test_profile.py",
    "index.check": "cli/test_check.py",
    "loader.arguments": "loader/test_loader.py",
    "index.lines": "index/test_lists.py",
    "index.look": "video/test_color.py",
    "store.arguments": "store/test_frames.py",
    "cli.commands": "test_cli.py",
    "video.serve": "loader/test_processes.py",
    "cli.datasets": "datasets/test_lists.py",
    "cli.estimate": "forecast/test_run.py",
    "cli.evaluate": "test_cli.py",
    "cli.evaluate_data": "test_cli.py",
    "cli.prepare": "prepare/test_prepare.py",
    "cli.report": "report/test_page.py",
    "cli.runs": "report/test_table.py",
    "cli.train": "test_cli.py",
    "cli.trained": "trained/test_table.py",
    "datasets.base": "datasets/test_ucf101.py",
    "datasets.records": "datasets/test_ssv2.py",
    "demo.canvas": "demo/test_demo.py",
    "demo.render": "demo/test_demo.py",
    "demo.run": "demo/test_demo.py",
    "demo.scenes": "demo/test_demo.py",
    "evaluate.cues": "evaluate/test_audit.py",
    "evaluate.knn": "evaluate/test_retrieval.py",
    "evaluate.logistic": "evaluate/test_probe.py",
    "evaluate.picture": "evaluate/test_retrieval.py",
    "evaluate.result": "evaluate/test_retrieval.py",
    "evaluate.run": "evaluate/test_retrieval.py",
    "index.found": "index/test_sources.py",
    "index.kinds": "index/test_sources.py",
    "index.boxes": "index/test_bounds.py",
    "index.parts": "index/test_sizes.py",
    "train.heldout": "train/test_watch.py",
    "train.hold": "train/test_resume.py",
    "index.transient": "index/test_build.py",
    "index.row": "index/test_bounds.py",
    "index.schema": "index/test_table.py",
    "store.backend": "store/test_frames.py",
    "store.choose": "loader/test_stored.py",
    "store.file": "store/test_frames.py",
    "store.folder": "cli/test_store_rm.py",
    "store.shard": "store/test_frames.py",
    "index.summary": "index/test_table.py",
    "workers": "test_deadline.py",
    "index.scan": "index/test_table.py",
    "kernels.decode_assemble": "loader/test_exact.py",
    "loader.buffers": "loader/test_loader.py",
    "loader.choose_decoder": "loader/test_graph_decoder.py",
    "loader.engines.base": "loader/test_loader.py",
    "loader.engines.eager": "loader/test_loader.py",
    "loader.engines.inline": "loader/test_loader.py",
    "loader.engines.store": "loader/test_stored.py",
    "loader.pipeline": "loader/test_loader.py",
    "loader.quarantine": "loader/test_loader.py",
    "loader.windows": "loader/test_loader.py",
    "models.frame": "models/test_base.py",
    "native": "test_build.py",
    "ops": "faces/test_python.py",
    "plots.axis": "plots/test_curves.py",
    "plots.bars": "evaluate/test_audit.py",
    "plots.confusion": "plots/test_curves.py",
    "plots.nearest": "evaluate/test_retrieval.py",
    "plots.palette": "plots/test_curves.py",
    "plots.pen": "plots/test_curves.py",
    "plots.svg": "plots/test_curves.py",
    "plots.tuples": "demo/test_demo.py",
    "pools.base": "pools/test_local.py",
    "store.fill_index": "store/test_fill.py",
    "pools.choose": "pools/test_local.py",
    "prepare.make": "prepare/test_prepare.py",
    "prepare.run": "prepare/test_prepare.py",
    "pretext.base": "pretext/test_model.py",
    "pretext.heads": "pretext/test_model.py",
    "recipes.arrow": "train/test_methods.py",
    "recipes.jigsaw": "train/test_methods.py",
    "recipes.odd_one_out": "pretext/test_odd_one_out.py",
    "recipes.opn": "pretext/test_opn.py",
    "recipes.out_of_order": "train/test_methods.py",
    "recipes.pace": "train/test_methods.py",
    "recipes.shuffle_learn": "pretext/test_shuffle_learn.py",
    "recipes.skip_rate": "train/test_methods.py",
    "recipes.tiny": "train/test_methods.py",
    "recipes.vcop": "pretext/test_vcop.py",
    "reference": "kernels/test_plan.py",
    **dict.fromkeys(("report.parts", "report.read"), "report/test_page.py"),
    "report.charts": "report/test_overview.py",
    "types": "faces/test_python.py",
    "versions": "test_cli.py",
    "video.packets": "video/test_decode.py",
}


def modules() -> dict[str, Path]:
    """Dotted name to file, of every module of the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, everywhere: bool) -> set[str]:
    """Modules of ours that a file imports: anywhere in it, or only while it is itself being imported."""
    names = modules()
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else str(node.module)
                for alias in node.names
            }
    return {name for name in found if name in names and name != "vidssl"}


def room(module: str) -> str:
    return module.split(".")[1]


IMPORTS = [
    (name, other)
    for name, path in modules().items()
    if name != "vidssl"
    for other in imports(path, everywhere=True)
    if room(name) != room(other)
]


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in modules() if name != "vidssl"} <= set(ROOMS)


def test_imports_go_only_downwards() -> None:
    assert len(IMPORTS) > 10
    assert [pair for pair in IMPORTS if ROOMS[room(pair[1])] > ROOMS[room(pair[0])]] == []


def test_models_import_nothing_of_ours() -> None:
    assert [pair for pair in IMPORTS if room(pair[0]) == "models"] == []


def test_only_training_and_above_know_process_groups() -> None:
    """Nothing below `train` imports torch.distributed: a loader is told its rank."""
    found = [
        name
        for name, path in modules().items()
        if name != "vidssl" and ROOMS[room(name)] < ROOMS["train"] and "torch.distributed" in path.read_text()
    ]
    assert found == []


def test_a_folder_opens_with_a_table_of_its_files() -> None:
    """The docstring of a folder's __init__ names every file in it, and no other."""
    wrong = {}
    for init in PACKAGE.rglob("__init__.py"):
        files = {path.name for path in init.parent.glob("*.py")} - {"__init__.py", "__main__.py"}
        if init.parent != PACKAGE and len(files) > 1:
            named = set(re.findall(r"\b(\w+\.py)\b", ast.get_docstring(ast.parse(init.read_text())) or ""))
            if named != files:
                wrong[str(init.parent.relative_to(ROOT))] = sorted(named ^ files)
    assert wrong == {}


def test_every_module_is_tested() -> None:
    """A module has a test of its name in the folder of its name, or TESTED_BY names what tests it."""
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for name, path in modules().items():
        place = path.relative_to(PACKAGE)
        if path.name.startswith("__") or (place.parent / f"test_{place.name}").as_posix() in tests:
            continue
        by = TESTED_BY.get(name.removeprefix("vidssl."))
        if by not in tests:
            missing.append(name)
    assert missing == []
    assert set(TESTED_BY) <= {name.removeprefix("vidssl.") for name in modules()}


def test_only_commands_import_recipes() -> None:
    assert {room(name) for name, other in IMPORTS if room(other) == "recipes"} <= {"cli", "demo"}


def test_the_slow_truth_is_not_on_the_hot_path() -> None:
    assert [pair for pair in IMPORTS if room(pair[1]) == "reference"] == []


def test_no_import_circle() -> None:
    TopologicalSorter({name: imports(path, everywhere=False) - {name} for name, path in modules().items()}).prepare()


def test_kernels_know_no_face() -> None:
    for path in (ROOT / "csrc/kernels").iterdir():
        for line in re.findall(r"#include\s+(\S+)", path.read_text()):
            assert not re.search(r"python|pybind11|dali|torch|ATen|Python\.h", line), f"{path.name} includes {line}"


def test_faces_do_not_know_each_other() -> None:
    for face, other in (("python", r'dali/|"\.\./dali'), ("dali", r'pybind11|Python\.h|"\.\./python')):
        for path in (ROOT / "csrc" / face).iterdir():
            assert not re.search(rf"#include\s+.*(?:{other})", path.read_text()), path.name


def body_lines(node: ast.FunctionDef) -> int:
    """Lines of a function after its signature and docstring."""
    first = node.body[1] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


def test_long_files_and_functions_say_why() -> None:
    """A longer file, or a function with a longer body, says "long because ..." at its head."""
    silent = []
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cpp", ".cu", ".h")]
    python = [path for folder in ("vidssl", "tests", "build_backend") for path in (ROOT / folder).rglob("*.py")]
    for path in [*python, ROOT / "setup.py", *sources]:
        text = path.read_text()
        lines = text.splitlines()
        if len(lines) > LONGEST_FILE and "long because" not in "\n".join(lines[:15]):
            silent.append(f"{path.relative_to(ROOT)}: {len(lines)} lines")
        for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef) and body_lines(node) > LONGEST_BODY:
                head = "\n".join(lines[max(node.lineno - 4, 0) : node.lineno + 15])
                if "long because" not in head:
                    silent.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert silent == []


def test_lines_fit_without_exceptions() -> None:
    """No formatting is switched off, so that no limit is met by wide lines."""
    mark = "fmt: " + "skip"
    assert [
        str(path)
        for folder in ("vidssl", "tests", "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if mark in path.read_text()
    ] == []


def test_nothing_names_a_machine() -> None:
    """No file that is kept names a folder of the machine it was written on."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    named = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            path.is_file()
            and b"\0" not in (data := path.read_bytes())
            and re.search(rb"(?<![\w.])/(?:work|root|home)/", data)
        ):
            named.append(name)
    assert named == []


def test_module_needs_no_torch() -> None:
    code = (
        "import sys, vidssl._native as n; n.build_info(); "
        "sys.exit(sorted({'torch', 'numpy', 'nvidia.dali'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_build_info() -> None:
    info = native.build_info()
    assert set(info) == set(native.BuildInfo.__annotations__)
    assert info["cuda"] == bool(info["nvcc"]) == bool(info["cuda_archs"])
    assert (native.dali_version() or "").split(".")[:2] == info["dali"].split(".")[:2]


def test_plugin_of_another_dali_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "dali_version", lambda: "1.50.0")
    native.load_plugin.cache_clear()
    with pytest.raises(VidsslError, match=r"nvidia-dali 1\.50\.0 is installed, but libvidssl_dali\.so was built for"):
        native.load_plugin()


@pytest.mark.parametrize(("flavour", "extra"), [("cuda130", "dali-cuda13"), ("cuda120", "dali-cuda12")])
def test_the_extra_for_dali_names_the_cuda_of_the_build(flavour: str, extra: str) -> None:
    code = (
        "import json; from distutils.core import run_setup; found = run_setup('setup.py', stop_after='init'); "
        "print(json.dumps(found.extras_require))"
    )
    environment = {**os.environ, "VIDSSL_DALI": flavour}
    done = subprocess.run(
        [sys.executable, "-c", f"import setuptools; {code}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in found if name.startswith("dali-")] == [extra]
    assert found[extra] == found["dali"]
    assert re.match(rf"nvidia-dali-{flavour}\W", found[extra][0])


def fat_binaries(data: bytes) -> Iterator[list[tuple[str, int]]]:
    """(kind, architecture) of every image in each CUDA fat binary within a shared object."""
    at = data.find(FATBIN_MAGIC)
    while at >= 0:
        header, size = struct.unpack_from("<HQ", data, at + 6)  # magic, version, header bytes, bytes
        image, end, found = at + header, at + header + size, []
        while image < end:
            kind, head, length = struct.unpack_from("<H2xIQ", data, image)
            found.append(({1: "ptx", 2: "sm"}[kind], struct.unpack_from("<I", data, image + 28)[0]))
            image += head + length
        yield found
        at = data.find(FATBIN_MAGIC, end)


def test_cuda_architectures() -> None:
    """Each kernel has machine code for Ampere and Hopper, and PTX for what comes after, in both shared
    objects.
    """
    if not native.build_info()["cuda"]:
        pytest.skip("this build has no CUDA twins")
    kernels = len(list((ROOT / "csrc" / "kernels").glob("*_cuda.cu")))
    operators = len(list((ROOT / "csrc" / "dali").glob("*_op.cpp")))  # the plugin has the kernels of its operators
    for path, count in ((Path(native.kernels.__file__), kernels), (native.PLUGIN, operators)):
        expected = [[("ptx", 90), ("sm", 80), ("sm", 90)]] * count
        assert [sorted(images) for images in fat_binaries(path.read_bytes())] == expected, path.name


def test_twins_left_out_are_named() -> None:
    """A build without CUDA twins says so, and how to get them, instead of failing to load."""
    text = (ROOT / "csrc/kernels/no_cuda.cpp").read_text()
    for header in ("motion", "plan", "assemble"):
        declared = re.findall(r"void (\w+_cuda)\(", (ROOT / f"csrc/kernels/{header}.h").read_text())
        assert declared, header
        for name in declared:
            assert f"void {name}(" in text, f"no_cuda.cpp lacks {name}"


def test_an_old_setuptools_can_read_the_settings() -> None:
    """A cluster node may have setuptools < 77, which refuses a licence's name, and license-files, in pyproject.toml:
    setup.py has them.
    """
    assert re.findall(r"^license.*", (ROOT / "pyproject.toml").read_text(), re.MULTILINE) == []
    assert 'license="Apache-2.0"' in (ROOT / "setup.py").read_text()
