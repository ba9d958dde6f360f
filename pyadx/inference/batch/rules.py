"""How each operation moves the axis of the scans in a batch."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from pyadx.inference.batch.axis import SIZE, Call, Entangled, Mixes, Operand, Rows, State, Unknown
from pyadx.inference.batch.products import attention, matmul


def after(
    target: Any, args: Sequence[Any], kwargs: dict[str, Any], shapes: Sequence[tuple[int, ...]], where: Any
) -> list[State]:
    """Return the state of every result of an operation.

    Parameters
    ----------
    target : torch._ops.OpOverload
        The operation.
    args, kwargs
        Its arguments, with an `Operand` in place of each tensor.
    shapes : sequence of tuple
        Shapes of its results.
    where : object
        Recorded as ``where`` of an `Entangled` result.

    Returns
    -------
    list of State
        One per result.
    """
    operands = list(_operands((args, list(kwargs.values()))))
    entangled = [own.state for own in operands if isinstance(own.state, Entangled)]
    if entangled:
        return [min(entangled, key=lambda own: not own.certain)] * len(shapes)
    schema = getattr(target, "_schema", None)
    name = schema.name.removeprefix("aten::") if schema is not None else str(target)
    if not any(own.state for own in operands):
        counts = name.rstrip("_") in _DIFFER_BY_INDEX and any(shapes)
        return [Entangled(False, where) if counts else None] * len(shapes)
    if schema is None or not schema.name.startswith("aten::"):
        return [Entangled(False, where)] * len(shapes)
    call = Call(target, name.removesuffix("_"), args, kwargs, operands, shapes)
    try:
        return list(_rule(call)(call))
    except Mixes:
        return [Entangled(True, where)] * len(shapes)
    except (Unknown, IndexError, KeyError, ValueError, TypeError, AttributeError):
        return [Entangled(False, where)] * len(shapes)


def _operands(values: Any) -> Iterator[Operand]:
    for value in values:
        if isinstance(value, Operand):
            yield value
        elif isinstance(value, list | tuple):
            yield from _operands(value)


def _rule(call: Call) -> "Callable[[Call], Sequence[State]]":
    if torch.Tag.pointwise in call.target.tags or call.name in _POINTWISE:
        return _pointwise
    for names, rule in _RULES:
        if call.name in names:
            return rule
    raise Unknown


def _pointwise(call: Call) -> list[State]:
    if any(value is SIZE for value in call.given.values()):
        raise Unknown
    rank = len(call.shapes[0])
    places = set()
    for own in call.carrying:
        assert isinstance(own.state, Rows)
        places.add((own.state.axis + rank - len(own.shape), own.state.outer, own.state.inner))
    if len(places) != 1:
        raise Unknown
    ((axis, outer, inner),) = places
    return call.everywhere(Rows(axis, outer, inner))


def _keeps_first(call: Call) -> list[State]:
    """Convolutions: each item of axis 0 is processed separately."""
    own, rows = call.source()
    weight = call.get("weight")
    if own is not (call.get("input") or call.get("self")) or len(own.shape) != len(weight.shape):
        raise Mixes
    if rows.axis != 0:
        raise Mixes if rows.axis > 1 or call.get("groups", 1) == 1 else Unknown
    return call.everywhere(rows)


def _batch_norm(call: Call) -> list[State]:
    own, rows = call.source()
    flag = next((n for n in ("training", "train") if call.has(n)), None)
    training = flag is not None and bool(call.get(flag))
    if own is not call.get("input"):
        raise Mixes
    # If the scans are on the channel axis, each is normalised separately, as by an instance norm.
    if training and rows.axis != 1:
        raise Mixes
    return [rows, *[Entangled(True, None) if training else None] * (len(call.shapes) - 1)]


def _spatial(call: Call) -> list[State]:
    """Pooling and resampling work along the last axes only; the name says how many."""
    own, rows = call.source()
    digits = [int(c) for c in call.name if c in "123"]
    if rows.axis >= len(own.shape) - digits[-1]:
        raise Mixes
    return call.everywhere(rows)


def _instance_norm(call: Call) -> list[State]:
    own, rows = call.source()
    if rows.axis > 1 or own is not call.get("input"):
        raise Unknown
    return call.everywhere(rows)


def _group_norm(call: Call) -> list[State]:
    _, rows = call.source()
    if rows.axis != 0:
        raise Mixes
    return call.everywhere(rows)


def _last_axes(call: Call) -> list[State]:
    own, rows = call.source()
    if call.name in ("pad", "constant_pad_nd") or "pad" in call.name:
        count = len(call.get("pad", None) or call.get("padding")) // 2
    else:
        count = len(call.get("normalized_shape"))
    if rows.axis >= len(own.shape) - count:
        raise Mixes
    return call.everywhere(rows)


def _along(call: Call) -> list[State]:
    """Operations along given axes that keep all axes, such as softmax and cumsum."""
    _, rows = call.source()
    dims = call.dims()
    if dims is None or rows.axis in dims:
        raise Mixes
    return call.everywhere(rows)


def _reduce(call: Call) -> list[State]:
    own, rows = call.source()
    dims = call.dims()
    if not dims or rows.axis in dims:
        raise Mixes
    kept = len(call.shapes[0]) == len(own.shape)
    axis = rows.axis if kept else rows.axis - sum(d < rows.axis for d in dims)
    return call.everywhere(Rows(axis, rows.outer, rows.inner))


def _reshape(call: Call) -> list[State]:
    """Find the axis of the scans after the same values have been given another shape."""
    own, rows = call.source()
    (shape,) = call.shapes
    scans = own.shape[rows.axis] // (rows.outer * rows.inner)
    left = math.prod(own.shape[: rows.axis]) * rows.outer
    for axis, size in enumerate(shape):
        before = math.prod(shape[:axis])
        if left % before == 0 and size % (left // before * scans) == 0 and size:
            outer = left // before
            return [Rows(axis, outer, size // (outer * scans))]
    raise Mixes


def _as_strided(call: Call) -> list[State]:
    """Only the form that global average pooling uses is known: strides for one cell per channel."""
    own, rows = call.source()
    stride = call.get("stride")
    same = call.shapes[0] == own.shape and math.prod(own.shape[2:]) == 1
    if not same or list(stride[:2]) != [own.shape[1], 1] or call.get("storage_offset"):
        raise Unknown
    return [rows]


def _permute(call: Call) -> list[State]:
    own, rows = call.source()
    rank = len(own.shape)
    order = list(range(rank))
    if call.name == "permute":
        order = [int(d) % rank for d in call.get("dims")]
    else:
        one, other = (0, 1) if call.name == "t" else (call.get("dim0"), call.get("dim1"))
        if rank > 1:
            one, other = one % rank, other % rank
            order[one], order[other] = order[other], order[one]
    return [Rows(order.index(rows.axis), rows.outer, rows.inner)]


def _pick(call: Call) -> list[State]:
    """Operations that take one item of an axis (select), or split it into single items (unbind)."""
    own, rows = call.source()
    dim = call.get("dim") % len(own.shape)
    if dim == rows.axis:
        raise Mixes
    return call.everywhere(Rows(rows.axis - (dim < rows.axis), rows.outer, rows.inner))


def _slice(call: Call) -> list[State]:
    own, rows = call.source()
    dim = call.get("dim", 0) % len(own.shape)
    start, end, step = call.get("start"), call.get("end"), call.get("step", 1)
    whole = not start and (end is None or end >= own.shape[dim]) and step == 1
    if dim == rows.axis and not whole:
        raise Mixes
    return [rows]


def _cat(call: Call) -> list[State]:
    states = {own.state for own in call.carrying}
    if len(states) != 1:
        raise Unknown
    (rows,) = states
    assert isinstance(rows, Rows)
    rank = len(call.shapes[0])
    dim = call.get("dim", 0) % rank
    if call.name == "stack":
        return [Rows(rows.axis + (dim <= rows.axis), rows.outer, rows.inner)]
    if dim == rows.axis:
        raise Unknown
    return [rows]


def _expand(call: Call) -> list[State]:
    own, rows = call.source()
    axis = rows.axis + len(call.shapes[0]) - len(own.shape)
    if call.shapes[0][axis] != own.shape[rows.axis]:
        raise Unknown
    return [Rows(axis, rows.outer, rows.inner)]


def _index(call: Call) -> list[State]:
    own, rows = call.source()
    indices = list(call.get("indices"))
    if own is not call.get("self") or any(i is not None for i in indices[: rows.axis + 1]):
        raise Mixes
    return [rows]


def _nothing(call: Call) -> list[State]:
    return call.everywhere(None)


# Copies, and composite operations, which lack the pointwise tag.
_POINTWISE = {
    "selu", "relu6", "square", "to", "_to_copy", "clone", "contiguous", "alias", "detach", "dropout",
    "feature_dropout", "lift_fresh", "lift_fresh_copy", "copy", "silu", "prelu", "_prelu_kernel", "rrelu",
    "type_as", "float", "double", "hardsigmoid", "hardswish", "native_dropout", "positive", "where",
}  # fmt: skip
# Their results differ along the batch although they do not depend on the scans.
_DIFFER_BY_INDEX = {
    "arange", "range", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "randperm", "rand",
    "randn", "randint", "rand_like", "randn_like", "normal", "uniform", "bernoulli", "multinomial",
}  # fmt: skip
_RULES: list[tuple[set[str], Callable[[Call], Sequence[State]]]] = [
    ({"conv1d", "conv2d", "conv3d", "convolution", "_convolution", "mkldnn_convolution", "slow_conv3d",
      "cudnn_convolution", "thnn_conv2d", "_slow_conv2d_forward", "slow_conv3d_forward", "conv_transpose3d",
      "_conv_depthwise2d", "conv_depthwise3d"}, _keeps_first),
    ({"batch_norm", "native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm",
      "_native_batch_norm_legit_no_training", "_batch_norm_impl_index", "_batch_norm_no_update",
      "_batch_norm_with_update", "_native_batch_norm_legit_functional",
      "_batch_norm_with_update_functional"}, _batch_norm),
    ({f"{kind}{n}d" for kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool",
                                 "_adaptive_avg_pool") for n in "123"}
     | {f"max_pool{n}d_with_indices" for n in "123"}
     | {"upsample_nearest3d", "upsample_trilinear3d", "upsample_bilinear2d",
        "upsample_nearest2d"}, _spatial),
    ({"instance_norm"}, _instance_norm),
    ({"group_norm", "native_group_norm"}, _group_norm),
    ({"layer_norm", "native_layer_norm", "rms_norm", "pad", "constant_pad_nd", "replication_pad3d",
      "reflection_pad3d", "reflection_pad2d", "replication_pad2d"}, _last_axes),
    ({"softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "argsort", "topk",
      "flip", "roll", "split", "chunk", "split_with_sizes", "tensor_split", "glu", "logcumsumexp"}, _along),
    ({"sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "argmax", "argmin",
      "prod", "any", "all", "logsumexp", "norm", "linalg_vector_norm", "median", "aminmax", "nanmean",
      "nansum", "count_nonzero"}, _reduce),
    ({"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "_reshape_alias",
      "view_copy"}, _reshape),
    ({"as_strided"}, _as_strided),
    ({"permute", "transpose", "t", "swapaxes"}, _permute),
    ({"select", "unbind"}, _pick),
    ({"slice"}, _slice),
    ({"cat", "stack", "concat"}, _cat),
    ({"expand"}, _expand),
    ({"index"}, _index),
    ({"linear", "addmm", "mm", "matmul", "bmm", "baddbmm"}, matmul),
    ({"scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
      "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
      "_scaled_dot_product_attention_math"}, attention),
    ({"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_full",
      "new_empty", "sym_size"}, _nothing),
]  # fmt: skip
