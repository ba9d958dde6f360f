import pytest
import torch
from networks import Gap, Plain, randomised

import pyadx
from pyadx import GradCAM, models
from pyadx.explainers import methods
from pyadx.explainers.alignment import Placement


def test_receptive_field_alignment_puts_an_impulse_where_it_was():
    """A single bright voxel must light up its own place, not the stretched one."""
    model = models.build("resnet-shallow-gap", (28, 28, 28), seed=0).double()
    scan = torch.zeros(1, 1, 28, 28, 28, dtype=torch.float64)
    scan[0, 0, 6, 14, 22] = 1.0
    baseline = GradCAM(model, "conv1c", "none", align="receptive_field")(scan * 0, target=1)
    heat = GradCAM(model, "conv1c", "none", align="receptive_field")(scan, target=1) - baseline
    mass = heat.double().abs()[0]
    centre = [
        float((mass.sum([a for a in range(3) if a != axis]) * torch.arange(28)).sum() / mass.sum())
        for axis in range(3)
    ]
    assert centre == pytest.approx([6, 14, 22], abs=0.75)


def test_stretch_covers_the_whole_scan():
    scan = torch.zeros(1, 110, 110, 110)
    scale, offset = Placement("stretch").axes(torch.nn.Identity(), "", (3, 3, 3), scan)
    assert scale == pytest.approx([3 / 110] * 3)
    assert [s * 54.5 + o for s, o in zip(scale, offset, strict=True)] == pytest.approx([1.0] * 3)


def test_vggnet_cells_are_placed_by_their_receptive_fields():
    scan = torch.zeros(1, 110, 110, 110)
    scale, offset = Placement("receptive_field").axes(
        models.build("vggnet").eval(), "conv4c", (3, 3, 3), scan
    )
    for cell, voxel in ((0, 45.5), (1, 53.5), (2, 61.5)):
        assert scale[0] * voxel + offset[0] == pytest.approx(cell)


def test_what_cannot_be_placed_is_told():
    class Mystery(Plain):
        def forward(self, x):
            return super().forward(torch.fft.fftn(x).real.to(x.dtype))

    model = randomised(Mystery())
    with pytest.raises(ValueError, match=r"fft.*align='stretch'"):
        GradCAM(model, "conv2", align="receptive_field")(torch.rand(1, 1, 9, 9, 9), target=0)
    assert GradCAM(model, "conv2")(torch.rand(1, 1, 9, 9, 9), target=0).shape == (1, 9, 9, 9)


@pytest.mark.parametrize("method", [name for name, own in methods().items() if "align" in own.options])
def test_a_batch_is_placed_as_its_scans_one_by_one(method, generator):
    model = randomised(Gap()).double()
    scans = torch.rand(3, 1, 9, 8, 10, generator=generator, dtype=torch.float64)
    explain = pyadx.explainer(f"{method}:align=receptive_field", model)
    alone = torch.cat([explain(scan, target=1) for scan in scans])
    assert torch.allclose(explain(scans, target=1), alone, rtol=1e-5, atol=1e-9)
