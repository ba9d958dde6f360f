"""A checkout whose sources are younger than its libraries says so when it is imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyadx
from pyadx.ops.library import newer_source

ROOT = Path(__file__).resolve().parents[2]
BUILT = 1_700_000_000


@pytest.fixture
def checkout(tmp_path):
    """Old sources, a library of a later time."""
    for name in (
        "pyproject.toml",
        "csrc/bindings/schema.cpp",
        "csrc/cam/cam.h",
        "csrc/cam/cam_cuda.cu",
        "pyadx/_C.so",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (BUILT, BUILT if name.endswith(".so") else BUILT - 60))
    return tmp_path


@pytest.mark.parametrize(
    "name", ["csrc/bindings/schema.cpp", "csrc/cam/cam.h", "csrc/cam/cam_cuda.cu", "csrc/new.h"]
)
def test_a_source_that_was_changed_after_the_build_is_found(checkout, name):
    library = checkout / "pyadx/_C.so"
    assert newer_source(library) is None
    path = checkout / name
    path.touch()
    os.utime(path, (BUILT + 60, BUILT + 60))
    assert newer_source(library) == path


def test_files_of_editors_and_folders_of_other_packages_are_no_sources(checkout):
    library = checkout / "pyadx/_C.so"
    (checkout / "csrc/cam/.cam.h.swp").touch()
    assert newer_source(library) is None
    (checkout / "csrc/new.h").touch()
    assert newer_source(library) is not None
    (checkout / "pyproject.toml").unlink()  # `csrc` beside an installed wheel is not ours
    assert newer_source(library) is None


def imported(folder):
    """What standard error holds when a process imports the pyadx of a folder."""
    code = "import pyadx; print(pyadx.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(folder) in found.stdout
    return found.stderr


def test_import_warns_once_with_the_command_and_is_silent_without_sources(tmp_path):
    (tmp_path / "pyadx").symlink_to(Path(pyadx.__file__).parent)
    assert imported(tmp_path) == ""
    (tmp_path / "pyproject.toml").touch()
    sources = tmp_path / "csrc/bindings"
    sources.mkdir(parents=True)
    (sources / "schema.cpp").touch()
    os.utime(sources / "schema.cpp", (2**32, 2**32))
    told = imported(tmp_path)
    assert told.count("Build them again: ") == 1
    command = f"-m pip install --no-build-isolation --no-deps --editable {tmp_path}\n"
    assert command in told
    assert f"{sources / 'schema.cpp'} was changed after" in told


def test_a_build_in_which_nothing_was_compiled_is_a_build(tmp_path, monkeypatch):
    """Else a changed .cu, where CUDA is off, would be told of for ever; copies keep the times of files."""
    setuptools = pytest.importorskip("setuptools")
    pytest.importorskip("pybind11")
    monkeypatch.setattr(setuptools, "setup", lambda **given: None)
    spec = importlib.util.spec_from_file_location("pyadx_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyadx").mkdir()
    (tmp_path / "csrc/bindings").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    changed = tmp_path / "csrc/bindings/schema.cpp"
    changed.touch()

    def cmake(command, **options):
        if "--build" in command:
            library = Path(command[command.index("--build") + 1]) / "libraries/_C.so"
            library.touch()
            os.utime(library, (BUILT, BUILT))

    monkeypatch.setattr(module.subprocess, "run", cmake)
    extension = setuptools.Extension("pyadx._ucm", sources=[])
    build = module.CMakeBuild(
        setuptools.Distribution({"name": "pyadx", "packages": ["pyadx"], "ext_modules": [extension]})
    )
    build.inplace = True
    build.ensure_finalized()
    build.run()
    assert newer_source(tmp_path / "pyadx/_C.so") is None
    os.utime(changed, (2**32, 2**32))
    assert newer_source(tmp_path / "pyadx/_C.so") == changed
