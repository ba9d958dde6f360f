"""Numbers and arrays of every library, where users hand them over."""

import numpy as np
import pytest
import torch

from pyadx import ops
from pyadx.ops.arrays import plain_array, plain_tensor
from pyadx.ops.numbers import real_number, values_of, whole_number


class Subclass(torch.Tensor):
    """Stands for MONAI's MetaTensor, fastai's images and others."""


@pytest.mark.parametrize(
    "seven",
    [7, np.int64(7), np.uint8(7), np.array(7), np.array(7, ">i2"), torch.tensor(7), torch.tensor(7).byte()],
    ids=repr,
)
def test_whole_numbers_of_every_library(seven):
    assert (whole_number(seven), type(whole_number(seven))) == (7, int)
    assert (real_number(seven), type(real_number(seven))) == (7.0, float)


@pytest.mark.parametrize(
    "other",
    [
        True, np.True_, np.array(True), torch.tensor(True), 7.0, np.float32(7), torch.tensor(7.0), "7",
        None, [7], np.array([7, 7]), 7 + 0j,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_whole_number(other):
    assert whole_number(other) is None


@pytest.mark.parametrize(
    "half", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5), torch.tensor(0.5)], ids=repr
)
def test_real_numbers_of_every_library(half):
    assert (real_number(half), type(real_number(half))) == (0.5, float)
    assert whole_number(half) is None


@pytest.mark.parametrize(
    "other",
    [True, np.False_, "0.5", None, [0.5], np.array([0.5]), 1j, np.complex64(1), torch.tensor([0.5])],
    ids=repr,
)
def test_what_is_no_real_number(other):
    assert real_number(other) is None


def test_entries_of_sequences_arrays_and_tensors():
    for several in ([1, 2], (1, 2), range(1, 3), np.array([1, 2]), torch.tensor([1, 2])):
        assert values_of(several) == [1, 2]
    for single in (3, "ab", np.array(3), torch.tensor(3), None):
        assert values_of(single) is None


VALUES = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
LAYOUTS = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "fortran": np.asfortranarray,
    "negative strides": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "subclass": lambda a: a.view(type("Own", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
@pytest.mark.filterwarnings("error")
def test_arrays_of_every_layout_and_dtype_become_tensors(layout, dtype):
    array = LAYOUTS[layout](VALUES.astype(dtype))
    tensor = plain_tensor("volume", array)
    assert type(tensor) is torch.Tensor
    assert torch.equal(tensor.double(), torch.from_numpy(VALUES))
    tensor[:] = 0  # a copy: what is written never reaches the user's array
    assert np.array_equal(array.astype(np.float64), VALUES)
    assert np.array_equal(plain_array("volume", array).astype(np.float64), VALUES)
    assert plain_array("volume", array).dtype.isnative


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int16, torch.uint8])
def test_tensor_subclasses_become_plain_tensors_and_arrays(dtype):
    values = torch.from_numpy(VALUES).to(dtype)
    own = values.as_subclass(Subclass)
    for given in (values, own):
        plain = plain_tensor("volume", given)
        assert type(plain) is torch.Tensor
        assert plain.data_ptr() == values.data_ptr()
        assert np.array_equal(plain_array("volume", given).astype(np.float64), VALUES)
    parameter = torch.nn.Parameter(torch.from_numpy(VALUES))
    assert not plain_tensor("volume", parameter).requires_grad
    assert np.array_equal(plain_array("volume", parameter), VALUES)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1.0]], "numpy.asarray"),
        ((1.0,), "numpy.asarray"),
        ("scan.nii", "got str"),
        (None, "NoneType"),
        (np.array([1j]), "complex128"),
        (np.array(["a"]), "real numbers"),
        (np.array([None]), "object"),
        (np.zeros(2, [("a", "f4")]), "real numbers"),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "filled"),
        (torch.ones(2, 2).to_sparse(), "to_dense"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
    ],
    ids=str,
)
def test_what_is_no_volume_is_refused_in_one_line(values, words):
    with pytest.raises(TypeError, match=r"^scan .*" + words.replace(".", r"\.")):
        plain_tensor("scan", values)


@pytest.mark.parametrize(
    "fill",
    [
        np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([0.5], ">f8"), torch.tensor(0.5),
        torch.tensor([0.5]).as_subclass(Subclass), np.full((2, 3, 4), 0.5, ">f4"), [np.float32(0.5)],
        np.full((1, 2, 3, 4), 0.5)[:, ::-1],
    ],
    ids=lambda fill: type(fill).__name__,
)  # fmt: skip
def test_fills_of_every_library(fill):
    volume = torch.rand(1, 2, 3, 4)
    filled = ops.fill_tensor(fill, volume)
    assert type(filled) is torch.Tensor
    assert torch.equal(filled.expand_as(volume), torch.full_like(volume, 0.5))


def test_a_fill_per_channel_keeps_its_digits():
    volume = torch.rand(2, 2, 3, 4, dtype=torch.float64)
    assert ops.fill_tensor([0.1, 0.9], volume).flatten().tolist() == [0.1, 0.9]


@pytest.mark.parametrize("fill", ["bright", None, {"a": 1}])
def test_a_fill_that_is_no_number_is_refused(fill):
    with pytest.raises(TypeError, match="fill must hold real numbers"):
        ops.fill_tensor(fill, torch.rand(1, 2, 3, 4))


def test_boxes_and_labels_may_be_arrays():
    volume = torch.rand(1, 4, 4, 4)
    boxes = np.array([[0, 0, 0, 2, 2, 2]], ">i4")
    expected = ops.occlude_boxes(volume, torch.tensor([[0, 0, 0, 2, 2, 2]]))
    assert torch.equal(ops.occlude_boxes(volume, boxes), expected)
    labels = np.zeros((4, 4, 4), ">i4")
    labels[:2, :2, :2] = 3
    assert torch.equal(ops.occlude_labels(volume, labels, np.array([[3, 4]], np.uint8)), expected)
    with pytest.raises(TypeError, match="boxes must hold integers"):
        ops.occlude_boxes(volume, boxes.astype(np.float32))
