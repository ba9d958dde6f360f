"""The rules of the house that a machine can check."""

import ast
import graphlib
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pyadx"

# From the top floor down: a module imports only from floors below its own (and from its own folder).
FLOORS = [
    "cli", "commands", "report", "evaluation", "training", "data", "explainers", "inference",
    "segmentation", "models", "ops", "npz", "files", "markdown", "short_reprs", "extras", "cores",
    "processes", "_ucm",
]  # fmt: skip
# They work on anybody's module and must not know ours, nor files.
INDEPENDENT = {"explainers": {"models", "data"}, "inference": {"models", "data"}}
HEAVY = ["nibabel", "nilearn", "matplotlib", "scipy", "sklearn", "skimage", "typer", "rich", "safetensors"]


def floor_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_floors(path):
    """Floors of pyadx that a file imports from, at any depth of the code."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "pyadx":
                names = [f"pyadx.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("pyadx."):
                yield name.split(".")[1]


# The package's own __init__ shows the public names and is on no floor.
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or not p.name.startswith("__"))


def test_imports_go_down_the_floors_only():
    # The explainers are on the package's surface; only the upper floors may take them from there.
    surface = {
        "CAM", "GradCAM", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "Occlusion", "RegionShapley",
        "SupervoxelOcclusion",
        "XGradCAM", "__version__",
    }  # fmt: skip
    for path in SOURCES:
        own, name = floor_of(path), path.relative_to(PACKAGE)
        for floor in set(imported_floors(path)) - surface:
            assert floor in FLOORS, f"{name}: unknown floor {floor}: add it to the plan"
            down = floor == own or FLOORS.index(floor) > FLOORS.index(own)
            assert down, f"{name}: {own} must not import {floor}"
            assert floor not in INDEPENDENT.get(own, ()), f"{name}: {own} must work without {floor}"


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph():
    """Module to the modules of ours that it imports anywhere, also in functions and for types only."""
    modules = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph = {}
    for name, path in modules.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in modules else node.module)
        # The package's own __init__ only shows names; whoever imports its version is in no circle.
        graph[name] = (found & set(modules)) - {"pyadx"}
    return graph


def test_no_modules_import_each_other_in_a_circle():
    graph = import_graph()
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"circle of imports: {' <- '.join(error.args[1])}")


def test_no_public_name_hides_a_module():
    """`import pyadx.evaluation.x as x` must give the module, never a function of the same name."""
    for package in ("", *(f".{p.name}" for p in PACKAGE.iterdir() if (p / "__init__.py").is_file())):
        module = importlib.import_module(f"pyadx{package}")
        for inner in pkgutil.iter_modules(module.__path__):
            value = vars(module).get(inner.name)
            assert value is None or inspect.ismodule(value), f"pyadx{package}.{inner.name} hides its module"


def test_importing_the_package_stays_light(tmp_path):
    code = f"import sys, pyadx; print([m for m in {HEAVY} if m in sys.modules])"
    # Elsewhere than in the tree, so that it is the installed package that is imported.
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def native_sources():
    return sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in (".h", ".cpp", ".cu"))


def test_only_bindings_see_torch_and_python():
    for path in native_sources():
        if path.parent.name == "bindings":
            continue
        found = re.findall(r'#include [<"](torch/|pybind11/|Python\.h|c10/|ATen/)', path.read_text())
        assert not found, f"{path} includes {found}"


def test_files_fit_on_a_few_screens():
    lines = {path: len(path.read_text().splitlines()) for path in (*SOURCES, *native_sources())}
    assert not {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 320}


def test_native_files_open_with_what_they_are():
    for path in native_sources():
        assert path.read_text().startswith("// "), path


def test_public_names_have_docstrings():
    import pyadx

    for module in (pyadx, pyadx.models, pyadx.ops, pyadx.inference, pyadx.explainers, pyadx.segmentation):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__doc__, f"{module.__name__}.{name}"
