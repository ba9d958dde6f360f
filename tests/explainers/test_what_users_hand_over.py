"""Scans, targets and options as NumPy, PyTorch and MONAI give them: the same map as with plain ones."""

import json

import numpy as np
import pytest
import torch
from networks import Gap, Plain, randomised
from paper_methods import Occlusion, SupervoxelOcclusion

import pyadx
from pyadx import CAM, GradCAM, models
from pyadx.evaluation.faithfulness import deletion_insertion
from pyadx.evaluation.sanity import rank_correlation, stability
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.segmentation import ucm
from pyadx.segmentation.nested_labels import from_labels
from pyadx.training.protocols import Protocol

SHAPE = (9, 8, 10)
EXPLAINERS = {
    "occlusion": lambda model, **options: Occlusion(model, 3, 4, engine="full", **options),
    "incremental": lambda model, **options: Occlusion(model, 3, 4, engine="incremental", **options),
    "supervoxels": lambda model, **options: SupervoxelOcclusion(
        model, engine="full", max_regions=6, **options
    ),
    "cam": CAM,
    "gradcam": GradCAM,
}


class Subclass(torch.Tensor):
    """A tensor that carries something, as MONAI's MetaTensor does."""


def model_of(dtype=torch.float32):
    model = randomised(Gap(3)).to(dtype).eval()
    with torch.no_grad():
        model.fc.weight.mul_(1e-4)  # so that a scan of large numbers leaves probabilities room
    return model


def whole_scan(dtype=np.int16):
    """Whole numbers, which every dtype holds exactly."""
    return np.random.default_rng(0).integers(0, 100, (1, *SHAPE)).astype(dtype)


SCANS = {
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "int16": lambda a: a.astype(np.int16),
    "uint8": lambda a: a.astype(np.uint8),
    "uint16": lambda a: a.astype(np.uint16),
    "int64": lambda a: a.astype(np.int64),
    "big-endian": lambda a: a.astype(">f4"),
    "big-endian integers": lambda a: a.astype(">i2"),
    "Fortran order": lambda a: np.asfortranarray(a.astype(np.float32)),
    "negative strides": lambda a: np.ascontiguousarray(a[:, ::-1].astype(np.float32))[:, ::-1],
    "read-only": lambda a: np.frombuffer(a.astype(np.float32).tobytes(), np.float32).reshape(a.shape),
    "integer tensor": lambda a: torch.from_numpy(a.astype(np.int32)),
    "byte tensor": lambda a: torch.from_numpy(a.astype(np.uint8)),
    "subclass": lambda a: torch.from_numpy(a.astype(np.float32)).as_subclass(Subclass),
    "subclass of whole numbers": lambda a: torch.from_numpy(a.astype(np.int16)).as_subclass(Subclass),
    "parameter": lambda a: torch.nn.Parameter(torch.from_numpy(a.astype(np.float32))),
}


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.filterwarnings("error")
def test_a_scan_of_any_kind_gives_the_map_of_its_float_tensor(explainer):
    scan = whole_scan()
    explain = EXPLAINERS[explainer](model_of())
    expected = explain(torch.from_numpy(scan.astype(np.float32)), target=1)
    for name, convert in SCANS.items():
        found = explain.run(convert(scan), target=1)
        assert type(found.heatmap) is torch.Tensor, name
        assert type(found.outputs) is torch.Tensor, name
        assert torch.equal(found.heatmap, expected), name


@pytest.mark.parametrize("scorer", [FullScorer, IncrementalScorer])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scorers_take_scans_and_boxes_of_any_kind(scorer, dtype):
    scan, boxes = whole_scan(), np.array([[0, 0, 0, 3, 3, 3], [2, 2, 2, 9, 8, 9]], ">i4")
    model = model_of(dtype)
    expected = scorer(model, torch.from_numpy(scan).to(dtype), 1).score(torch.from_numpy(boxes.astype(int)))
    for name, convert in SCANS.items():
        given = convert(scan)
        if isinstance(given, torch.Tensor) and given.is_floating_point():
            given = given.to(dtype)
        found = scorer(model, given, np.int64(1))
        assert torch.equal(found.score(boxes), expected), name


def test_monai_tensors_are_scans():
    monai = pytest.importorskip("monai.data")
    scan = whole_scan().astype(np.float32)
    meta = monai.MetaTensor(torch.from_numpy(scan), affine=torch.eye(4))
    for explainer in EXPLAINERS.values():
        explain = explainer(model_of())
        expected = explain(torch.from_numpy(scan), target=1)
        assert type(explain(meta, target=1)) is torch.Tensor
        assert torch.equal(explain(meta, target=1), expected)
    assert np.array_equal(ucm(meta, max_regions=5).leaves, ucm(scan, max_regions=5).leaves)


def test_a_model_that_returns_a_tensor_subclass_is_a_model():
    class Meta(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gap = model_of()

        def forward(self, x):
            return self.gap(x).as_subclass(Subclass)

    scan = torch.from_numpy(whole_scan().astype(np.float32))
    expected = Occlusion(model_of(), 3, 4, engine="full")(scan, target=1)
    found = Occlusion(Meta(), 3, 4, engine="full").run(scan, target=1)
    assert torch.equal(found.heatmap, expected)
    assert type(found.outputs) is torch.Tensor


def test_whole_numbers_keep_their_digits_in_a_float64_model():
    scan = whole_scan(np.int64)
    scan[0, 0, 0, 0] = 2**40 + 1
    scorer = FullScorer(model_of(torch.float64), scan)
    assert scorer.volume[0, 0, 0, 0].item() == 2**40 + 1


@pytest.mark.parametrize(
    ("volume", "error", "words"),
    [
        (whole_scan().tolist(), TypeError, "numpy.asarray"),
        (whole_scan() > 50, TypeError, "mask of booleans"),
        (torch.from_numpy(whole_scan() > 50), TypeError, "mask of booleans"),
        (whole_scan().astype(np.complex64), TypeError, "complex64"),
        (whole_scan().astype(object), TypeError, "object"),
        (np.ma.masked_array(whole_scan()), TypeError, "masked array"),
        (np.full((1, *SHAPE), 1e300), ValueError, "1e+300, too large for the model's torch.float32"),
        (np.full((1, *SHAPE), np.nan), ValueError, "NaN or infinity"),
        (np.zeros(SHAPE), ValueError, "[B,C,D,H,W]"),
        (torch.zeros(1, *SHAPE, dtype=torch.float64), TypeError, "float64"),
        (torch.zeros(1, *SHAPE).to_sparse(), TypeError, "to_dense"),
        ("scan.nii.gz", TypeError, "got str"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_what_is_no_scan_is_refused_with_how_to_mend_it(explainer, volume, error, words):
    with pytest.raises(error) as raised:
        EXPLAINERS[explainer](model_of())(volume)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


TARGETS = [
    np.int64(2), np.uint8(2), np.array(2), np.array([2]), torch.tensor(2), torch.tensor([2, 2]),
    [np.int64(2), torch.tensor(2)], np.array([2, 2]), (2, np.int32(2)), np.float64(2.0), [2.0, 2],
    torch.tensor([2], dtype=torch.uint8),
]  # fmt: skip


@pytest.mark.parametrize("explainer", ["occlusion", "cam", "gradcam", "supervoxels"])
def test_targets_of_every_library(explainer):
    scans = np.stack([whole_scan(), whole_scan()])
    explain = EXPLAINERS[explainer](model_of())
    expected = explain(scans, target=2)
    for target in TARGETS:
        assert torch.equal(explain(scans, target=target), expected), repr(target)
    found = explain.run(scans)
    predicted = found.outputs.argmax(1)
    assert torch.equal(explain(scans, target=predicted), found.heatmap)
    assert torch.equal(explain(scans, target=predicted.numpy()), found.heatmap)
    model = model_of()
    model.class_names = ("NC", "MCI", "AD")
    named = EXPLAINERS[explainer](model)
    assert torch.equal(named(scans, target=np.array(["AD", "AD"])), expected)
    assert torch.equal(named(scans, target=np.str_("AD")), expected)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (0.7, TypeError, "class index or name, or one per scan, got 0.7"),
        ([0.7], TypeError, "got 0.7"),
        (torch.tensor([0.7]), TypeError, "class index or name"),
        (np.int64(3), ValueError, "0 to 2"),
        (np.int64(-1), ValueError, "0 to 2"),
        (np.array([0, 1, 2]), ValueError, "3 targets for 1 scans"),
        ([None, 1], ValueError, "2 targets"),
        ([[1]], TypeError, "class index or name"),
        ({1}, TypeError, "class index or name"),
    ],
    ids=repr,
)
def test_what_is_no_target_is_refused(target, error, words):
    with pytest.raises(error, match=words):
        CAM(model_of())(whole_scan(), target=target)


def test_options_of_every_library_are_kept_as_plain_numbers():
    explain = Occlusion(
        model_of(), np.int64(3), np.array([4, 2, 3]), np.float32(0.5), batch_size=np.int16(2),
        max_memory=np.int64(1 << 30), budget_s=np.float32(100),
    )  # fmt: skip
    plain = Occlusion(model_of(), 3, (4, 2, 3), 0.5, batch_size=2, max_memory=1 << 30, budget_s=100.0)
    for name in ("window", "stride", "max_memory", "budget_s"):
        assert repr(getattr(explain, name)) == repr(getattr(plain, name))
    assert repr(explain._run) == repr(plain._run)
    assert explain.spec.canonical == plain.spec.canonical
    assert json.dumps(explain.spec.plain_options()) == json.dumps(plain.spec.plain_options())
    assert torch.equal(explain(whole_scan(), target=1), plain(whole_scan(), target=1))


def test_options_of_a_segmentation_are_kept_as_plain_numbers():
    numbers = {"max_levels": torch.tensor(3), "max_regions": np.uint8(6), "min_size": np.int64(2)}
    explain = SupervoxelOcclusion(model_of(), engine="full", smoothing=np.float32(0.5), **numbers)
    plain = SupervoxelOcclusion(
        model_of(), engine="full", smoothing=0.5, max_levels=3, max_regions=6, min_size=2
    )
    assert explain.spec.canonical == plain.spec.canonical
    assert json.dumps(explain.spec.plain_options()) == json.dumps(plain.spec.plain_options())
    assert torch.equal(explain(whole_scan(), target=1), plain(whole_scan(), target=1))


def test_the_spelling_of_a_fill_is_that_of_its_values():
    fill = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    spelled = Occlusion(model_of(), fill=torch.from_numpy(fill)).spec.canonical
    for same in (
        fill,
        fill.astype(">f4"),
        torch.from_numpy(fill).as_subclass(Subclass),
        np.asfortranarray(fill),
    ):
        assert Occlusion(model_of(), fill=same).spec.canonical == spelled
    assert (
        Occlusion(model_of(), fill=np.float32(0.5)).spec.canonical
        == "occlusion:fill=0.5,signed=false,score=probability"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"window": np.True_}, {"window": np.float32(3)}, {"window": np.array([3, 3])}, {"window": "333"},
        {"stride": torch.tensor([1.0, 1.0, 1.0])}, {"stride": np.int64(0)}, {"batch_size": np.float64(2)},
        {"batch_size": np.True_}, {"batch_size": np.int64(0)}, {"batch_size": np.array([1, 2])},
        {"max_memory": np.float64(1e9)}, {"max_memory": True}, {"budget_s": "soon"}, {"budget_s": np.nan},
        {"budget_s": np.float32(-1)}, {"budget_s": [1.0]},
    ],
    ids=repr,
)  # fmt: skip
def test_options_that_are_no_such_number_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        Occlusion(model_of(), **options)


def test_segmentations_take_any_volume_mask_and_number():
    scan = whole_scan()[0]
    expected = ucm(torch.from_numpy(scan.astype(np.float32)), max_regions=6, max_levels=3, min_size=2)
    numbers = {"max_regions": np.int64(6), "max_levels": torch.tensor(3), "min_size": np.uint8(2)}
    for name, convert in SCANS.items():
        found = ucm(convert(scan[None]), threads=np.int64(1), **numbers)
        assert np.array_equal(found.leaves, expected.leaves), name
        assert np.array_equal(found.levels, expected.levels), name
    half = torch.from_numpy(scan).bfloat16()
    assert np.array_equal(ucm(half, **numbers).leaves, expected.leaves)
    mask = np.zeros(SHAPE, ">i2")
    mask[2:] = 1
    inside = ucm(scan, mask=torch.from_numpy(mask.astype(np.uint8)).as_subclass(Subclass))
    assert np.array_equal(ucm(scan, mask=mask).leaves, inside.leaves)


def test_hierarchies_are_cut_by_numbers_of_any_library():
    tree = ucm(whole_scan()[0], max_regions=6)
    for three in (np.int64(3), np.uint8(3), torch.tensor(3), np.array(3), 3.0):
        assert np.array_equal(tree.cut(n_regions=three), tree.cut(n_regions=3))
        assert np.array_equal(tree.cut(min_area=three), tree.cut(min_area=3))
        assert np.array_equal(tree.cut(altitude=three), tree.cut(altitude=3))
    assert np.array_equal(tree.labels(torch.tensor(1)), tree.labels(1))
    for wrong in (0.5, "1", True, None):
        with pytest.raises(ValueError, match="level must be from 0"):
            tree.labels(wrong)
    for wrong in ("many", 2.5, 0, np.inf, np.nan):
        for name in ("n_regions", "min_area"):
            with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got "):
                tree.cut(**{name: wrong})
        with pytest.raises(ValueError, match="n_regions must be an integer of at least 1, got "):
            tree.merge_order(wrong)
    for wrong in ("many", -1, np.nan):
        with pytest.raises(ValueError, match="altitude must be a number of at least 0, got "):
            tree.cut(altitude=wrong)


@pytest.mark.parametrize(
    "method",
    ["occlusion:stride=4", "sa3ducm:max_regions=6", "shapley:max_regions=4,pairs=2", "integratedgradients"],
)
def test_the_voxel_size_is_a_number_or_three_of_any_library(method):
    scan = whole_scan().astype(np.float32)
    make = pyadx.explainer(method, randomised(Gap(3)), spacing=1.5)
    expected = make(scan, target=1)
    for spacing in (np.float32(1.5), torch.tensor(1.5), [1.5] * 3, np.full(3, 1.5), torch.full((3,), 1.5)):
        found = pyadx.explainer(method, randomised(Gap(3)), spacing=spacing)(scan, target=1)
        assert torch.equal(found, expected), spacing
    for wrong in (0, -2.0, "2", (1.0, 2.0), (1, 1, np.inf), np.ones((3, 3)), True):
        with pytest.raises(ValueError, match="spacing must be one or three positive numbers in mm, got "):
            pyadx.explainer(method, randomised(Gap(3)), spacing=wrong)


def test_checkpoints_are_written_with_numbers_of_numpy(tmp_path):
    shape, spacing = np.array([16, 16, 16]), models.Preprocessing("max", np.float32(2))
    models.save(
        models.build("resnet-shallow-gap", shape, preprocessing=spacing), tmp_path / "m.safetensors"
    )
    card = models.load(tmp_path / "m.safetensors").card
    assert (card.in_shape, card.preprocessing.spacing) == ((16, 16, 16), 2.0)


def test_groups_labels_and_hierarchies_may_be_arrays_or_tensors():
    scan, labels = whole_scan(), np.ones(SHAPE, ">i4")
    labels[4:] = 2
    tree = from_labels([labels])
    assert np.array_equal(tree.leaves, from_labels([torch.from_numpy(labels.astype(np.int16))]).leaves)
    mask = labels == 2
    tensor = torch.from_numpy(mask)
    groups = {
        "array": mask,
        "big-endian": mask.astype(">f4"),
        "tensor": tensor,
        "bfloat16": tensor.bfloat16(),
        "subclass": tensor.as_subclass(Subclass),
        "with a graph": tensor.float().requires_grad_(),
        "leaves": np.array([[2, 3]], np.uint8),
        "tensor of leaves": torch.tensor([[2, 3]]),
    }
    explain = SupervoxelOcclusion(model_of(), engine="full")
    (report,) = explain.run(scan, target=1, hierarchy=tree, groups=groups).reports
    assert len(report.groups) == len(groups)
    assert set(report.groups.values()) == {report.groups["array"]}
    assert report.groups["array"] > 0


def test_faithfulness_takes_any_scan_heatmap_and_fill():
    model, scan = model_of(), whole_scan()
    scan[:, :3] = 0
    heat = np.random.default_rng(1).random(SHAPE)
    expected = deletion_insertion(model, torch.from_numpy(scan).float(), heat, 1, steps=5)
    given = (
        (scan, heat.astype(">f8"), np.int64(1), {"steps": np.int64(5), "fill": np.float32(0)}),
        (torch.from_numpy(scan), torch.from_numpy(heat).requires_grad_(), np.array(1), {"steps": 5}),
        (
            torch.from_numpy(scan).float().as_subclass(Subclass),
            heat,
            1,
            {"steps": 5, "fill": np.array(0.0)},
        ),
    )
    for volume, map_, target, options in given:
        found = deletion_insertion(model, volume, map_, target, **options)
        assert np.array_equal(found.deletion.score, expected.deletion.score)
        assert np.array_equal(found.insertion.score, expected.insertion.score)
    assert rank_correlation(torch.from_numpy(heat).requires_grad_(), heat.astype(">f8")) == pytest.approx(1)


def test_faithfulness_of_a_model_that_returns_probabilities():
    bare = randomised(Plain(classes=1)).double().eval()
    whole = torch.nn.Sequential(bare, torch.nn.Sigmoid())
    scan, heat = whole_scan() / 1e4, np.random.default_rng(1).random(SHAPE)
    expected = deletion_insertion(bare, scan, heat, 1, steps=4)
    found = deletion_insertion(whole, scan, heat, 1, steps=4, outputs="probabilities")
    assert found.deletion.score == pytest.approx(expected.deletion.score, rel=1e-9)
    with pytest.warns(UserWarning, match="probabilities already"):
        deletion_insertion(whole, scan, heat, 1, steps=4)


def test_noise_on_a_scan_of_whole_numbers_is_noise():
    model = model_of()

    def explain(volume):
        return CAM(model)(volume, target=1)[0]

    (found,) = stability(explain, whole_scan(), level=0.3, draws=1)
    assert found < 0.999


def test_protocols_take_numbers_of_numpy_and_write_plain_ones():
    protocol = Protocol("adam", np.float32(0.5), np.int64(4), np.int64(2))
    assert (protocol.batch_size, type(protocol.batch_size)) == (4, int)
    assert type(protocol.learning_rate) is float
    for wrong in (np.True_, np.float64(4), "4"):
        with pytest.raises(ValueError, match="batch_size"):
            Protocol("adam", 0.5, wrong, 2)


def test_receptive_fields_of_layers_made_with_numpy_numbers():
    layers = (torch.nn.Conv3d(1, 2, 3), torch.nn.MaxPool3d(np.int64(2)), torch.nn.Conv3d(2, 2, 1))
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(54, 2))
    heat = GradCAM(model, "2", align="receptive_field")(torch.rand(1, 8, 8, 8), target=1)
    assert heat.shape == (1, 8, 8, 8)
