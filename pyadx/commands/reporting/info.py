"""``pyadx info``: versions, built libraries, and this machine."""

import importlib.metadata
import platform

import torch

import pyadx
from pyadx import _ucm

_PACKAGES = ("torch", "numpy", "scipy", "nibabel", "safetensors", "typer", "rich", "matplotlib", "nilearn")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def cuda_state() -> str:
    """Return whether CUDA can be used, or the reason why not."""
    build = _ucm.build_info()
    if build["cuda_off_reason"]:
        return f"off: pyadx was built without CUDA kernels ({build['cuda_off_reason']})"
    if torch.version.cuda is None:
        return f"off: torch {torch.__version__} is a CPU build"
    if not torch.cuda.is_available():
        return f"off: torch {torch.__version__} sees no usable GPU or driver"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"on: {', '.join(names)}"


def info_rows() -> list[tuple[str, str]]:
    """Return the lines of ``pyadx info``, as pairs of a name and a value."""
    build = _ucm.build_info()
    kernels = f"{build['cuda_compiler']}, architectures {build['cuda_architectures']}"
    return [
        ("pyadx", pyadx.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in _PACKAGES),
        (
            "built with",
            f"{build['compiler']}, {build['build_type']}, torch {build['torch_headers']} headers",
        ),
        ("CUDA kernels", kernels if build["cuda_compiler"] else "none"),
        ("CUDA", cuda_state()),
        ("CPU", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"),
    ]
