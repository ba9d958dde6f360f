"""What torch itself demands of operators: schemas, fake kernels, tracing."""

import pytest
import torch
from conftest import cuda_skip_reason

from pyadx import ops
from pyadx.ops.patches import conv_work, pack_cuda_weight, pack_weight
from pyadx.ops.toom_cook import transformed_weight

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


def patches_case(device, dtype):
    patches = torch.randn(2, 3, 3, 3, 8, device=device).to(dtype)
    boxes = torch.tensor([[0, 0, 0, 3, 3, 3], [1, 1, 1, 4, 4, 4]], dtype=torch.int32, device=device)
    return patches, boxes, torch.randn(5, 6, 7, 8, device=device).to(dtype)


def gather_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    return source, patches, boxes, boxes, [5, 6, 7], 0.0, torch.zeros_like(patches)


def relu_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    return patches, boxes, source, None, torch.zeros_like(patches)


def max_pool_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    one = [1, 1, 1]
    return patches, boxes, source, one, one, [0, 0, 0], one, True, boxes, torch.zeros_like(patches)


def place_case(device, dtype):
    patches, boxes, _ = patches_case(device, dtype)
    return patches, boxes, boxes, 0, False, torch.zeros_like(patches)


def scatter_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    return patches, boxes, source, source.new_zeros(2, *source.shape)


def sum_case(device, dtype):
    patches, boxes, _ = patches_case(device, dtype)
    return patches, boxes, patches.new_zeros(2, 8)


def dot_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    weight = torch.randn(3, *source.shape, device=device).to(dtype)
    return patches, boxes, weight, patches.new_zeros(2, 3)


def conv_case(device, dtype):
    patches, boxes, source = patches_case(device, dtype)
    weight, one = torch.randn(8, 8, 3, 3, 3, dtype=dtype), [1, 1, 1]
    if str(device) == "cpu":
        packed = pack_weight(weight)
        own = (transformed_weight(weight, 2), torch.ones(2, dtype=torch.uint8), None)
    else:
        packed = pack_cuda_weight(weight).to(device)
        own = (None, None, torch.from_numpy(conv_work(boxes.cpu().numpy())).to(device))
    return patches, boxes, packed, one, one, one, boxes, source, *own, torch.zeros_like(patches)


PATCH_CASES = {
    "patch_gather": gather_case,
    "patch_relu": relu_case,
    "patch_max_pool": max_pool_case,
    "patch_place": place_case,
    "patch_scatter": scatter_case,
    "patch_sum": sum_case,
    "patch_dot": dot_case,
    "patch_conv": conv_case,
}
CUDA_ONLY = {"chi_square"}
WITHOUT_TENSORS = {"patch_instruction_set", "patch_split_arithmetic"}


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """The devices that operators are registered for."""
    if request.param == "cuda" and (reason := cuda_skip_reason()):
        pytest.skip(reason)
    return torch.device(request.param)


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
    assert_passes_opcheck(name, CASES[name](device, dtype))


def assert_passes_opcheck(name, arguments):
    results = torch.library.opcheck(getattr(torch.ops.pyadx, name).default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PATCH_CASES)
def test_opcheck_of_patch_operators(name, dtype, device):
    assert_passes_opcheck(name, PATCH_CASES[name](device, dtype))


def test_opcheck_on_cuda(device):
    if device.type != "cuda":
        pytest.skip("chi_square is an operator on CUDA only")
    bins = torch.zeros(5, 5, 5, dtype=torch.uint8, device=device)
    table = torch.tensor([1, -1], dtype=torch.int32, device=device)
    out = torch.zeros(3, 3, 3, device=device), torch.zeros(3, 3, 3, dtype=torch.uint8, device=device)
    assert_passes_opcheck("chi_square", (bins, table, table, [2], [1, 1, 1], *out))


def test_every_registered_operator_is_checked():
    registered = {
        name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if "pyadx::" in name
    }
    assert registered == {*CASES, *PATCH_CASES, *CUDA_ONLY, *WITHOUT_TENSORS}


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
