"""Hands the native libraries to CMake; everything else about the package is in pyproject.toml."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
# Of sources without git or setuptools-scm. Without tags, the number of commits replaces the last 0.
BASE_VERSION = "0.2.0.dev0"


def version():
    """The version from the newest git tag if setuptools-scm and git are available, else BASE_VERSION."""
    try:
        from setuptools_scm import get_version
    except ImportError:
        return BASE_VERSION
    return get_version(root=str(ROOT), fallback_version=BASE_VERSION, fallback_root=str(ROOT))


def cmake_command():
    """The cmake of the `cmake` package if it is installed, else the one on the PATH."""
    try:
        import cmake
    except ImportError:
        return "cmake"
    return str(Path(cmake.CMAKE_BIN_DIR) / "cmake")


def ninja_generator():
    """The arguments that choose Ninja if it is installed; none for CMake's default generator."""
    try:
        import ninja
    except ImportError:
        return []
    return ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR) / 'ninja'}"]


def check_compiler():
    """End with one line where CMake would end with pages."""
    asked = shlex.split(os.environ.get("CXX", ""))[:1]
    if any(map(shutil.which, asked or ("c++", "g++", "clang++"))):
        return
    found = f"CXX={asked[0]} was not found" if asked else "none was found"
    raise SystemExit(
        f"Building pyadx needs a C++17 compiler, and {found}. Install one (Debian: apt-get install g++; "
        "Fedora: dnf install gcc-c++; macOS: xcode-select --install), or set CXX to yours."
    )


class CMakeBuild(build_ext):
    """Builds pyadx._C and pyadx._ucm together, with one run of CMake."""

    def run(self):
        check_compiler()
        # Imported here so that an sdist can be made where torch is not installed.
        try:
            import pybind11
            import torch
        except ImportError as error:
            raise SystemExit(
                f"Building pyadx needs {error.name}, which is not installed here. Install torch>=2.10 "
                "and pybind11, then: pip install --no-build-isolation ."
            ) from None
        # CMake caches flags, and does not rebuild a library that is newer than its sources. So builds with
        # other flags (of sanitizers, say) need folders of their own.
        extra = os.environ.get("PYADX_CMAKE_ARGS", "")
        flags = hashlib.sha256(extra.encode()).hexdigest()[:8] if extra else "plain"
        build = Path(self.build_temp).resolve() / flags
        libraries = build / "libraries"
        libraries.mkdir(parents=True, exist_ok=True)
        started = time.time()
        arguments = [
            f"-DPYADX_OUTPUT_DIR={libraries}",
            f"-DPYADX_VERSION={self.distribution.get_version()}",
            f"-DPYADX_TORCH_DIR={Path(torch.__file__).resolve().parent}",
            f"-DPYADX_TORCH_VERSION={torch.__version__}",
            f"-DPYADX_CUDA={os.environ.get('PYADX_CUDA', 'AUTO')}",
            f"-DPYADX_WERROR={os.environ.get('PYADX_WERROR', 'OFF')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *shlex.split(extra),
        ]
        cmake = cmake_command()
        subprocess.run([cmake, *ninja_generator(), str(ROOT), *arguments], cwd=build, check=True)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        subprocess.run([cmake, "--build", str(build), "--parallel", jobs], check=True)
        output = Path(self.get_ext_fullpath("pyadx._ucm")).resolve().parent
        output.mkdir(parents=True, exist_ok=True)
        for library in libraries.iterdir():
            # Write a new file, then rename it: a process that has loaded the old library keeps it.
            new = output / f"{library.name}.new"
            shutil.copy(library, new)
            # `import pyadx` warns of sources newer than this time: the start of the build, even if CMake
            # had nothing to rebuild.
            os.utime(new, (started, started))
            os.replace(new, output / library.name)

    def get_outputs(self):
        return [str(Path(self.build_lib) / "pyadx" / "_C.so"), self.get_ext_fullpath("pyadx._ucm")]


setup(
    version=version(),
    ext_modules=[Extension("pyadx._ucm", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
