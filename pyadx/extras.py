"""Optional packages: the extra that installs each one, and the message when it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

# Import name: (usual name, extra that installs it). pip reads the extra's packages from the metadata
# of the installed pyadx, so the same command works for a wheel and for a checkout.
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
# Not an extra: onnx2torch depends on torchvision, and pip would replace torch by another build.
_ONNX = "pip install onnx && pip install --no-deps onnx2torch"


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Turn a failed import in the block into one line with the command that installs the package.

    Raises
    ------
    ValueError
        If a package of an extra is missing. Other import errors are raised unchanged.
    """
    try:
        yield
    except ImportError as error:
        words = missing(error)
        if not words:
            raise
        raise ValueError(f"{what} needs {words}") from None


def missing(error: ImportError) -> str:
    """Return the missing package and how to install it; an empty text if it belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    if package in ("onnx", "onnx2torch"):
        return f"onnx and onnx2torch; install them with: {_ONNX}"
    if package not in _PACKAGES:
        return ""
    name, extra = _PACKAGES[package]
    return f"{name}; install it with: pip install 'pyadx[{extra}]'"
