"""Check that a ``.pt2`` file holds a graph and tensors, and nothing that torch would run as Python.

`torch.export.load` unpickles what an archive declares as pickled, compiles its guards as Python, passes its
sizes to SymPy's ``eval``, and loads compiled libraries. Here an archive is taken apart, all its content is
compared with what a plain graph needs, and only content that passes is put into a new archive for torch.
"""

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_PARTS = re.compile(
    r"data/weights/(weight_\d+|\w+_weights_config\.json)|data/constants/(tensor_\d+|\w+_constants_config\.json)"
    r"|models/model\.json|data/sample_inputs/model\.pt|extra/[\w.\-]+|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)|\.format_version|\.storage_alignment|version"
)
_OPERATIONS = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|torch\.sym_\w+|_operator\.\w+|math\.(trunc|ceil|floor|sqrt|pow)"
)
# Values of these keys become names in generated code.
_NAME_KEYS = ("name", "as_name", "parameter_name", "buffer_name", "tensor_constant_name", "fqn")
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*|")
_TREES = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_FORBIDDEN = ("as_custom_obj", "as_operator")
_SIZES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Name, ast.Load, ast.Constant,
          ast.Call, ast.keyword, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)  # fmt: skip
_FUNCTIONS = (
    "Symbol", "Integer", "Add", "Mul", "Equality", "Unequality", "StrictLessThan", "LessThan",
    "StrictGreaterThan", "GreaterThan", "And", "Or", "Not", "FloorDiv", "Mod", "PythonMod", "CleanDiv",
    "CeilDiv", "Max", "Min", "Eq", "Ne", "Ge", "Gt", "Le", "Lt", "Abs", "Piecewise", "floor", "ceiling",
    "IntTrueDiv", "FloatTrueDiv", "TruncToInt", "CeilToInt", "FloorToInt", "ToFloat", "Where", "Identity",
)  # fmt: skip
_SYMBOL = re.compile(r"[su]\d+|zuf\d+|u_\d+|int_oo|oo|True|False")
_HINT = "--trust loads it without these checks"


def checked_archive(path: Path) -> tuple[io.BytesIO, dict[str, str]]:
    """Return an archive in memory with only the content that was checked, and its extra files by name.

    Parameters
    ----------
    path : Path
        A file of `torch.export.save`.

    Raises
    ------
    ValueError
        If it is damaged, or holds anything that could run code. The message is one line that begins with
        the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _rebuilt(archive)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged, or not a file of torch.export.save ({error})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _rebuilt(archive: zipfile.ZipFile) -> tuple[io.BytesIO, dict[str, str]]:
    entries = archive.infolist()
    root = entries[0].filename.split("/")[0] if entries else ""
    names = [entry.filename for entry in entries]
    # torch's reader ignores case: names that differ only in case are the same file to it.
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("holds two files of the same name; save it again with torch.export.save")
    size, room = sum(entry.file_size for entry in entries), Path(archive.filename or "").stat().st_size
    if size > 2 * room + 1_000_000:
        raise ValueError(
            f"would unpack to {size:,} bytes from {room:,}, which no file of torch.export.save does"
        )
    parts: dict[str, bytes] = {}
    for entry in entries:
        inner = entry.filename.removeprefix(f"{root}/")
        if inner == entry.filename or not _PARTS.fullmatch(inner):
            raise ValueError(f"holds {inner!r}, which is not part of a plain graph; {_HINT}")
        parts[inner] = archive.read(entry)
    if "models/model.json" not in parts:
        raise ValueError("holds no graph in the current format; save it again with torch.export.save")
    for inner, content in parts.items():
        if inner.endswith("_config.json"):
            _check_payloads(_json(inner, content))
    _check_program(_json("models/model.json", parts["models/model.json"]))
    _check_inputs(parts.get("data/sample_inputs/model.pt", b""))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as new:
        for inner, content in parts.items():
            new.writestr(f"model/{inner}", content)
    made.seek(0)
    extra = {inner[6:]: text.decode() for inner, text in parts.items() if inner.startswith("extra/")}
    return made, extra


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"its {name} is damaged ({error})") from None


def _check_payloads(config: Any) -> None:
    for name, payload in dict(config.get("config", {})).items():
        if payload.get("use_pickle") is not False or not str(payload.get("path_name")).startswith(
            ("weight_", "tensor_")
        ):
            raise ValueError(f"holds {name!r} as a pickle, which could run code; {_HINT}")


def _check_inputs(content: bytes) -> None:
    if content:
        try:
            torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except Exception:
            raise ValueError(f"its example inputs are not plain tensors; {_HINT}") from None


def _check_program(program: Any) -> None:
    for guard in program.get("guards_code") or ():
        _check_guard(guard)
    for key, value in _pairs(program):
        if key == "target" and not (isinstance(value, str) and _OPERATIONS.fullmatch(value)):
            raise ValueError(f"its graph calls {value!r}, which is not an operation of torch; {_HINT}")
        if key == "target":
            _check_writes_no_file(value)
        elif key == "expr_str" or (key == "as_expr" and isinstance(value, str)):
            _check_size(value)
        elif key in _FORBIDDEN:
            raise ValueError(f"its graph holds an object of a custom class; {_HINT}")
        elif key in ("in_spec", "out_spec"):
            _check_tree(value)
        elif (key in _NAME_KEYS and not isinstance(value, dict | list)) and not (
            value is None or (isinstance(value, str) and _NAME.fullmatch(value))
        ):
            raise ValueError(f"its graph holds the name {value!r}, which could run code; {_HINT}")
    _check_keys(program)


def _check_keys(program: Any) -> None:
    graph = program["graph_module"]["graph"]
    names = [name for kind, values in graph.items() if kind.endswith("_values") for name in values]
    names += program.get("range_constraints", {})
    for entry in program["graph_module"]["module_call_graph"]:
        names += (entry.get("signature") or {}).get("forward_arg_names") or ()
    for name in names:
        if not _NAME.fullmatch(str(name)):
            _check_size(name)  # ranges of sums of sizes, such as s0 + 1


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            yield from one.items()
            stack += one.values()
        elif isinstance(one, list):
            stack += one


def _check_writes_no_file(target: str) -> None:
    if not target.startswith("torch.ops."):
        return
    found: Any = torch.ops
    try:
        for part in target.split(".")[2:]:
            found = getattr(found, part)
        arguments = getattr(getattr(found, "_schema", None), "arguments", ())
    except (AttributeError, RuntimeError):
        raise ValueError(f"its graph calls {target}, which this version of torch does not have") from None
    if any(argument.name == "filename" for argument in arguments):
        raise ValueError(f"its graph calls {target}, which reads or writes files; {_HINT}")


def _check_tree(text: Any) -> None:
    for key, value in _pairs(json.loads(text) if isinstance(text, str) else text):
        if key == "type" and value is not None and value not in _TREES:
            raise ValueError(f"takes or returns a {value}; {_HINT}")


def _parsed(text: Any) -> ast.AST:
    if not isinstance(text, str) or len(text) > 10_000:
        raise ValueError(
            "its graph holds a size or guard that is not text, or longer than 10,000 characters"
        )
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError):
        raise ValueError(f"its graph holds {text[:80]!r}, which is not an expression; {_HINT}") from None


def _check_size(text: Any) -> None:
    """Refuse an expression that is not arithmetic on sizes."""
    for node in ast.walk(_parsed(text)):
        plain = isinstance(node, _SIZES)
        if isinstance(node, ast.Name):
            plain = bool(_SYMBOL.fullmatch(node.id)) or node.id in _FUNCTIONS
        elif isinstance(node, ast.Constant):
            plain = isinstance(node.value, int | float) or bool(_SYMBOL.fullmatch(str(node.value)))
        elif isinstance(node, ast.Call):
            plain = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
            # As in Symbol('s0', positive=True, integer=True).
            plain &= all(isinstance(key.value, ast.Constant) for key in node.keywords)
        elif isinstance(node, ast.Pow):
            plain = False  # computing 9**9**9 would never end
        if not plain:
            raise ValueError(
                f"its graph holds the expression {str(text)[:80]!r}, which is more than arithmetic on "
                f"sizes; {_HINT}"
            )


def _check_guard(text: Any) -> None:
    """Refuse a guard that does more than compare sizes of inputs, such as ``L['x'].size()[0] == 2``."""
    for node in ast.walk(_parsed(text)):
        plain = isinstance(node, (*_SIZES, ast.Subscript)) and not isinstance(node, ast.Pow)
        if isinstance(node, ast.Name):
            plain = node.id in ("L", "True", "False", "isinstance", "len")
        elif isinstance(node, ast.Attribute):
            plain = node.attr in ("size", "stride", "storage_offset", "dim", "ndim", "shape")
        elif isinstance(node, ast.Call):
            plain = isinstance(node.func, ast.Attribute) and not node.keywords
        if not plain:
            raise ValueError(f"holds the guard {str(text)[:80]!r}, which could run code; {_HINT}")
