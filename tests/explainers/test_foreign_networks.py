"""Networks wrapped, compiled, scripted, exported, or written with one layout or one scan in mind."""

import warnings

import pytest
import torch
import torch.distributed
from networks import Gap, Plain, randomised
from paper_methods import Occlusion, SupervoxelOcclusion
from torch import nn

from pyadx import CAM, GradCAM
from pyadx.inference import FullScorer, IncrementalScorer

SHAPE = (9, 8, 10)
BOXES = torch.tensor([[0, 0, 0, 3, 3, 3], [2, 3, 4, 6, 5, 9], [0, 0, 0, 9, 8, 10]])
EXPLAINERS = {
    "occlusion-auto": lambda model: Occlusion(model, 3, 5),
    "occlusion-incremental": lambda model: Occlusion(model, 3, 5, engine="incremental"),
    "occlusion-full": lambda model: Occlusion(model, 3, 5, engine="full"),
    "sa3ducm": lambda model: SupervoxelOcclusion(model, max_regions=6),
    "gradcam": lambda model: GradCAM(model),
    "cam": lambda model: CAM(model),
}


@pytest.fixture
def scan(generator):
    return torch.rand(1, 1, *SHAPE, generator=generator, dtype=torch.float64)


def gap():
    return randomised(Gap()).double().eval()


def plain_change(model, scan):
    scores = []
    with torch.no_grad():
        before = model(scan)[0, 1]
        for z0, y0, x0, z1, y1, x1 in BOXES.tolist():
            filled = scan.clone()
            filled[:, :, z0:z1, y0:y1, x0:x1] = 0
            scores.append((before - model(filled)[0, 1]).abs())
    return torch.stack(scores)


@pytest.fixture
def one_process(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def compiled_in_place(model):
    model.compile()
    return model


WRAPPERS = {
    "data-parallel": nn.DataParallel,
    "distributed": nn.parallel.DistributedDataParallel,
    "compiled": torch.compile,
    "compiled-and-parallel": lambda model: nn.DataParallel(torch.compile(model)),
    "compiled-in-place": compiled_in_place,
}


@pytest.mark.parametrize("method", EXPLAINERS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_models_are_explained_as_what_is_inside(wrapper, method, scan, request):
    if wrapper == "distributed":
        request.getfixturevalue("one_process")
    expected = EXPLAINERS[method](gap())(scan, target=1)
    outer = WRAPPERS[wrapper](gap())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(EXPLAINERS[method](outer)(scan, target=1), expected)


def test_what_the_outer_module_declares_counts(scan):
    outer = nn.DataParallel(gap())
    outer.class_names = ["NC", "AD"]
    outer.gradcam_layer = "conv1"
    for method in EXPLAINERS.values():
        assert torch.equal(method(outer)(scan, target="AD"), method(outer)(scan, target=1))
    assert GradCAM(outer).layer == "conv1"
    inner = gap()
    inner.class_names = ["NC", "AD"]
    GradCAM(nn.DataParallel(inner), "module.act")(scan, target="AD")
    outer.register_forward_hook(lambda module, args, output: output * 2)
    with pytest.warns(UserWarning, match="hooks on the DataParallel around the model are not run"):
        GradCAM(outer, "act")


def test_a_layer_is_given_by_name_as_a_module_or_as_a_list_of_one(scan):
    model = gap()
    expected = GradCAM(model, "act")(scan, target=1)
    for layer in (model.act, ["act"], (model.act,)):
        explain = GradCAM(model, layer)
        assert explain.layer == "act"
        assert torch.equal(explain(scan, target=1), expected)
    outer = nn.DataParallel(model)
    assert torch.equal(GradCAM(outer, outer.module.act)(scan, target=1), expected)
    model.again = model.act
    assert GradCAM(model, "again").layer == GradCAM(model, model.again).layer == "act"


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (nn.Conv3d(1, 1, 1), ValueError, r"\(Conv3d\) is not a submodule of the model"),
        (["conv1", "conv1"], ValueError, "a layer is named twice: conv1, conv1"),
        ([], ValueError, "layer is empty; name at least one"),
        (3, TypeError, "name of a layer or a module, got int"),
        ("act9", ValueError, "did you mean act"),
    ],
)
def test_layers_that_cannot_be_are_told(layer, error, words):
    with pytest.raises(error, match=words):
        GradCAM(gap(), layer)


def jit_traced(model):
    return torch.jit.trace(model, torch.rand(1, 1, *SHAPE, dtype=torch.float64))


@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda m: torch.jit.freeze(torch.jit.script(m)), jit_traced]
)
def test_torchscript_is_occluded_and_its_cam_refused_for_the_true_reason(make, scan):
    model = make(gap())
    expected = Occlusion(gap(), 3, 5, engine="full")(scan, target=1)
    assert torch.allclose(Occlusion(model, 3, 5, engine="full")(scan, target=1), expected, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heat = Occlusion(model, 3, 5, engine="incremental")(scan, target=1)
    assert torch.allclose(heat, expected, rtol=1e-6)
    for refused in (lambda: GradCAM(model), lambda: CAM(model)(scan)):
        with pytest.raises(ValueError, match=r"runs without the hooks .* explain the Python model"):
            refused()


def test_a_layer_in_a_scripted_part_is_refused_for_the_true_reason():
    model = nn.Sequential(
        torch.jit.script(nn.Sequential(nn.Conv3d(1, 2, 3))), nn.Flatten(), nn.Linear(2, 2)
    )
    with pytest.raises(ValueError, match=r"layer '0.0' cannot be watched: TorchScript code"):
        GradCAM(model, "0.0")


@pytest.mark.parametrize("scans", [1, 2])
def test_a_program_of_torch_export_is_occluded(scans, scan):
    shapes = ({0: torch.export.Dim("batch")},) if scans == 2 else None
    example = torch.rand(scans, 1, *SHAPE, dtype=torch.float64)
    model = torch.export.export(gap(), (example,), dynamic_shapes=shapes).module()
    expected = plain_change(gap(), scan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        actual = FullScorer(model, scan[0], 1, score="logit").score(BOXES)
        heat = Occlusion(model, 3, 5)(scan, target=1)
    assert (actual - expected).abs().max() < 1e-10 * expected.max()
    assert torch.allclose(heat, Occlusion(gap(), 3, 5)(scan, target=1), rtol=1e-6)
    for refused in (lambda: GradCAM(model), lambda: CAM(model)(scan)):
        with pytest.raises(ValueError, match="explain the model that was exported"):
            refused()


class Views(Plain):
    """As C3D and its kin: ``view`` in front of the linear layer."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.fc = nn.Linear(6 * 3 * 3 * 4, 2)

    def forward(self, x):
        x = self.pool(self.relu1(self.bn1(self.conv1(x))))
        return self.fc(self.relu2(self.conv2(x)).view(-1, self.fc.in_features))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [FullScorer, IncrementalScorer])
def test_maps_may_be_viewed_as_vectors(classes, dtype, scan):
    model = randomised(Views()).to(dtype).eval()
    own = scan.to(dtype)
    expected = plain_change(model, own)
    for size in ("auto", 3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            actual = classes(model, own[0], 1, score="logit", batch_size=size).score(BOXES)
        assert (actual - expected).abs().max() < (
            1e-10 if dtype == torch.float64 else 1e-4
        ) * expected.max()


def test_gradcam_and_cam_of_models_that_view_their_maps(generator):
    scans = torch.rand(3, 1, *SHAPE, generator=generator)
    model = randomised(Views()).eval()
    together = GradCAM(model, "conv2")(scans, target=1)
    assert torch.allclose(
        together, torch.cat([GradCAM(model, "conv2")(s, target=1) for s in scans]), rtol=1e-4
    )

    class ViewedGap(Gap):
        def forward(self, x):
            x = self.act(self.conv2(torch.relu(self.conv1(x))))
            return self.fc(x.view(*x.shape[:2], -1).mean(2))

    model = randomised(ViewedGap()).eval()
    for scan_ in scans:
        assert CAM(model)(scan_, target=1).max() > 0
    assert CAM(model)(scans, target=1).shape == (3, *SHAPE)


class WorksInPlaceThenViews(Views):
    def forward(self, x):
        x += 1
        return super().forward(x)


def test_a_forward_pass_that_is_done_again_starts_from_the_scan(scan):
    model = randomised(WorksInPlaceThenViews()).float().eval()
    own = scan.float()
    with torch.no_grad():
        expected = model(own.clone())
    scorer = FullScorer(model, own[0], 1, score="logit", batch_size=3)
    assert torch.allclose(scorer.outputs, expected, rtol=1e-5)
    changes = scorer.score(BOXES)
    assert torch.allclose(
        changes, FullScorer(model, own[0], 1, score="logit", batch_size=1).score(BOXES), rtol=1e-4
    )


@pytest.mark.parametrize(("enabled", "words"), [(True, "autocast"), (False, "autocast")])
def test_regions_of_autocast_run_as_full_forwards_and_the_line_is_named(enabled, words, scan):
    class Regions(Gap):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                x = self.act(self.conv1(x))
            return self.fc(x.to(self.fc.weight.dtype).mean((2, 3, 4)))

    model = randomised(Regions()).eval()
    own = scan.float()
    with pytest.warns(
        RuntimeWarning, match=r"cannot be traced through \(autocast\), near test_foreign_networks.py:\d+: "
    ):
        heat = Occlusion(model, 3, 5)(own, target=1)
    assert torch.equal(heat, Occlusion(model, 3, 5, engine="full")(own, target=1))
    with pytest.raises(ValueError, match=words):
        Occlusion(model, 3, 5, engine="incremental")(own, target=1)
    assert GradCAM(model, "act")(own, target=1).max() > 0


def test_memory_that_is_read_by_strides_is_not_rearranged(scan):
    class Strided(Gap):
        def forward(self, x):
            x = self.act(self.conv1(x))
            x = x.as_strided(x.shape, (x[0].numel(), x[0, 0].numel(), *x.stride()[2:])) * 1.0
            return self.fc(x.mean((2, 3, 4)))

    with pytest.raises(ValueError, match="as_strided"):
        IncrementalScorer(randomised(Strided()).double().eval(), scan[0], 1)


class Holding(nn.Module):
    """What a LightningModule looks like: the network is an attribute."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def with_compiled_layer(model):
    model.conv2 = torch.compile(model.conv2)
    return model


def with_compiled_forward(model):
    model.forward = torch.compile(model.forward)
    return model


INSIDES = {
    "compiled network": lambda: Holding(torch.compile(gap())),
    "compiled outside and inside": lambda: torch.compile(Holding(torch.compile(gap()))),
    "compiled layer": lambda: with_compiled_layer(gap()),
    "compiled forward": lambda: with_compiled_forward(gap()),
    "scripted network": lambda: Holding(torch.jit.script(gap())),
    "data parallel network": lambda: Holding(nn.DataParallel(gap())),
}


@pytest.mark.parametrize("inside", INSIDES)
def test_what_is_compiled_or_scripted_inside_is_scored_incrementally_and_left_as_it_was(inside, scan):
    model, expected = INSIDES[inside](), plain_change(gap(), scan)
    before = [(name, id(module)) for name, module in model.named_modules()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer = IncrementalScorer(model, scan[0], 1, score="logit")
        torch.testing.assert_close(scorer.score(BOXES), expected, rtol=1e-9, atol=1e-12)
        assert scorer.gain(BOXES[:2].numpy().astype("int32")) > 1.5
    assert [(name, id(module)) for name, module in model.named_modules()] == before
