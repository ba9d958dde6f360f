"""Networks in ONNX, converted by onnx2torch."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from torch import nn

from pyadx.extras import needed_for


def read_onnx(path: Path) -> nn.Module:
    """Return an ONNX network as a `torch.nn.Module`, in evaluation mode.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file.

    Raises
    ------
    ValueError
        If the file is missing or damaged, onnx or onnx2torch is not installed, onnx2torch does not know an
        operation, or the network does not take exactly one tensor.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with needed_for(f"{path}: reading ONNX"):
        import onnx

        with _torchvision_or_not():
            from onnx2torch import convert
    try:
        proto = onnx.load(str(path))
        weights = {tensor.name for tensor in proto.graph.initializer}
        inputs = [value.name for value in proto.graph.input if value.name not in weights]
        if len(inputs) != 1:
            raise ValueError(f"takes {len(inputs)} tensors ({', '.join(inputs)}), expected only the scan")
        _without_identities(proto.graph)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert(proto).eval()
    except NotImplementedError as error:
        found = re.search(r"operation_type='(\w+)', version=(\d+)", str(error))
        what = f"{found[1]} of version {found[2]}" if found else str(error).splitlines()[0]
        raise ValueError(
            f"{path}: onnx2torch does not support {what}; export the network with torch.onnx.export(..., "
            "dynamo=False, opset_version=13), or use the code that made it: --model net.py:factory"
        ) from None
    except Exception as error:  # protobuf and onnx2torch raise errors of their own
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: cannot be read as ONNX ({words})") from None


@contextmanager
def _torchvision_or_not() -> Iterator[None]:
    """Let onnx2torch be imported without torchvision, which it needs for detectors only.

    Installing torchvision replaces torch by another build, unless both were made for each other.
    """
    if "torchvision" in sys.modules or find_spec("torchvision") is not None:
        yield
        return
    package, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
    package.ops = ops  # type: ignore[attr-defined]
    for name in ("roi_align", "nms", "box_convert"):
        setattr(ops, name, _refuse)
    sys.modules.update({"torchvision": package, "torchvision.ops": ops})
    try:
        yield
    finally:
        del sys.modules["torchvision"], sys.modules["torchvision.ops"]


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise ValueError("this network has operations of detectors, which need torchvision")


def _without_identities(graph: Any) -> None:
    """Bypass and remove Identity nodes, because onnx2torch finds no weights behind an Identity."""
    outputs = {value.name for value in graph.output}
    kept: list[Any] = []
    source: dict[str, str] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = source.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
