"""What torch itself demands of operators: schemas, fake kernels, tracing."""

import pytest
import torch

from pyadx import ops

# opcheck traces with tensors of its own, for which memory must not be poisoned.


def boxes_case(device, dtype):
    volume = torch.randn(2, 5, 6, 7, device=device).to(dtype)
    boxes = torch.tensor([[0, 0, 0, 3, 3, 3], [2, 2, 2, 9, 9, 9]], device=device)
    return volume, boxes, torch.zeros(1, 1, 1, 1, dtype=dtype, device=device)


def labels_case(device, dtype):
    volume, _, fill = boxes_case(device, dtype)
    labels = torch.arange(5 * 6 * 7, dtype=torch.int32, device=device).reshape(5, 6, 7)
    return volume, labels, torch.tensor([[0, 9], [50, 200]], device=device), fill


def cam_case(device, dtype):
    sum_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    features = torch.randn(2, 5, 3, 4, 5, device=device).to(dtype)
    weights = torch.randn(2, 5, dtype=sum_dtype, device=device)
    return features, weights, [6, 8, 10], "abs", [0.5] * 3, [-0.25] * 3


def with_out(case):
    volume, regions = case[0], case[-2]
    return (*case, volume.new_empty(len(regions), *volume.shape))


CASES = {
    "occlude_boxes": boxes_case,
    "occlude_boxes_out": lambda *a: with_out(boxes_case(*a)),
    "occlude_labels": labels_case,
    "occlude_labels_out": lambda *a: with_out(labels_case(*a)),
    "weighted_cam": cam_case,
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_opcheck(name, dtype, device):
    operator = getattr(torch.ops.pyadx, name).default
    results = torch.library.opcheck(operator, CASES[name](device, dtype))
    assert set(results.values()) == {"SUCCESS"}


def test_every_registered_operator_is_checked():
    registered = {
        name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if "pyadx::" in name
    }
    assert registered == set(CASES)


def test_operators_compile_without_graph_breaks(device):
    def step(volume, boxes, features, weights):
        return ops.occlude_boxes(volume, boxes, 0.5), ops.weighted_cam(features, weights, (8, 8, 8), "abs")

    volume, boxes, _ = boxes_case(device, torch.float32)
    features, weights, *_ = cam_case(device, torch.float32)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for one, two in zip(
        step(volume, boxes, features, weights), compiled(volume, boxes, features, weights), strict=True
    ):
        assert torch.equal(one, two)


def test_results_never_require_gradients():
    volume, boxes, _ = boxes_case("cpu", torch.float32)
    assert not ops.occlude_boxes(volume.requires_grad_(True), boxes).requires_grad
    features, weights, *_ = cam_case("cpu", torch.float32)
    assert not ops.weighted_cam(features.requires_grad_(True), weights, (4, 4, 4)).requires_grad
