"""Packages that only some uses need: which extra brings them, and what to say where they are missing."""

from collections.abc import Iterator
from contextlib import contextmanager

# Import name to what people call it, and what installs it. pip takes the extra's packages from the metadata
# of the pyadx that is installed, a wheel or a checkout, so that one command is right for both.
_PACKAGES = {
    "captum": ("Captum", "gradients"),
    "huggingface_hub": ("huggingface_hub", "hub"),
    "lightning_fabric": ("Lightning Fabric", "train"),
    "matplotlib": ("Matplotlib", "report"),
    "monai": ("MONAI", "bundles"),
    "nilearn": ("nilearn", "report"),
    "nitransforms": ("nitransforms", "transforms"),
    "ray": ("Ray", "ray"),
    "shapiq": ("shapiq", "shapiq"),
    "sklearn": ("scikit-learn", "train"),
    "tensorboard": ("TensorBoard", "train"),
}
# Asked for as an extra, torchvision would come along, and replace torch by another build.
_ONNX = "pip install onnx && pip install --no-deps onnx2torch"


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Turn a failed import in the block into one line with the command that installs what is missing.

    Raises
    ------
    ValueError
        If a package of an extra is missing; other import errors pass as they are.
    """
    try:
        yield
    except ImportError as error:
        words = missing(error)
        if not words:
            raise
        raise ValueError(f"{what} needs {words}") from None


def missing(error: ImportError) -> str:
    """Return what is missing and how to install it; empty if it belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    if package in ("onnx", "onnx2torch"):
        return f"onnx and onnx2torch; install them with: {_ONNX}"
    if package not in _PACKAGES:
        return ""
    name, extra = _PACKAGES[package]
    return f"{name}; install it with: pip install 'pyadx[{extra}]'"
