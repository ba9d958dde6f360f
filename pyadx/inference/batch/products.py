"""How matrix products and attention move the axis of the scans."""

from pyadx.inference.batch.axis import Call, Entangled, Mixes, Operand, Rows, State, Unknown


def matmul(call: Call) -> list[State]:
    """Matrix products: scans stay apart along a batch axis, or along an axis that is not summed over."""
    factors = [own for own in call.operands if len(own.shape) > 1][-2:]
    if call.name in ("linear", "addmm", "baddbmm"):
        bias = call.get("bias") if call.name == "linear" else call.get("self")
        if isinstance(bias, Operand) and bias.state is not None:
            raise Unknown
        names = ("input", "weight") if call.name == "linear" else ("mat1", "mat2")
        factors = [call.get(n) or call.get(n.replace("mat", "batch")) for n in names]
    left, right = factors
    rank = len(call.shapes[0])
    places = set()
    for own, free in ((left, -2), (right, -1)):
        if not isinstance(own.state, Rows):
            continue
        place = own.state.axis - len(own.shape)
        if place >= -2 and (place != free or len(call.carrying) > 1 or own is call.get("weight")):
            raise Mixes
        places.add((rank + place, own.state.outer, own.state.inner))
    if len(places) != 1:
        raise Unknown
    ((axis, outer, inner),) = places
    return [Rows(axis, outer, inner)]


def attention(call: Call) -> list[State]:
    """Attention: scans stay apart along any axis before those of the tokens and their features."""
    places = {own.state for own in call.carrying}
    if len(places) != 1:
        raise Unknown
    (rows,) = places
    assert isinstance(rows, Rows)
    if rows.axis >= len(call.shapes[0]) - 2:
        raise Mixes
    return [rows, *[Entangled(False, None)] * (len(call.shapes) - 1)]
