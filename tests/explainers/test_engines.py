import pytest
import torch
from networks import Gap, Plain, randomised
from paper_methods import Occlusion, SupervoxelOcclusion
from torch import nn

from pyadx import CAM, GradCAM
from pyadx.explainers.coarse_to_fine import COARSEST

SHAPE = (12, 13, 14)


def scan_of(generator, shape=SHAPE):
    return torch.rand(1, *shape, generator=generator, dtype=torch.float64)


def double(model):
    return randomised(model).double().eval()


class DecidesByValue(nn.Module):
    """Cannot be traced: takes one way or the other by what is in the scan."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 3)

    def forward(self, x):
        if x.sum() > 1e9:
            x = x + 1
        return self.conv(x).mean((2, 3, 4))


def test_incremental_and_full_engines_give_one_map(generator):
    scan = scan_of(generator)
    maps = []
    for engine in ("incremental", "full"):
        explain = Occlusion(double(Plain()), 3, engine=engine)
        found = explain.run(scan, target=1)
        maps.append(found.heatmap)
        assert found.reports[0].engine == engine
    assert torch.allclose(*maps, rtol=1e-5, atol=1e-9)


def test_a_model_that_cannot_be_traced_gets_the_right_map_and_one_warning_that_names_the_operation(
    generator,
):
    model, scan = double(DecidesByValue()), scan_of(generator)
    with pytest.warns(RuntimeWarning) as caught:
        actual = Occlusion(model, 3, 2)(scan, target=1)
    (warning,) = caught
    assert "one full forward per region" in str(warning.message)
    assert "test_engines.py" in str(warning.message)
    assert "if x.sum() > 1e9" in str(warning.message)
    assert torch.equal(actual, Occlusion(model, 3, 2, engine="full")(scan, target=1))


def test_asking_for_the_incremental_engine_where_it_cannot_be_is_an_error(generator):
    with pytest.raises(ValueError, match=r"torch\.export cannot trace"):
        Occlusion(double(DecidesByValue()), 3, 4, engine="incremental")(scan_of(generator), target=1)


def test_auto_takes_full_forwards_where_they_are_predicted_to_be_as_fast_and_says_why(generator):
    """A norm over the whole scan comes first, so that nothing can be saved."""
    model = nn.Sequential(nn.InstanceNorm3d(1), nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    explain = Occlusion(double(model), 3, 4)
    with pytest.warns(RuntimeWarning, match="Every region recomputes whole maps from instance_norm on"):
        found = explain.run(scan_of(generator), target=1)
    assert found.reports[0].engine == "full"


def test_reports_count_windows_and_what_was_scored(generator):
    scan = scan_of(generator)
    scan[:, :6] = 0
    explain = Occlusion(double(Gap()), 3, engine="incremental")
    (report,) = explain.run(scan, target=1).reports
    assert report.windows == 12 * 13 * 14
    assert report.regions == report.scored < 8 * 13 * 14
    assert not report.approximate


def test_a_stored_run_goes_on_where_it_was(generator, tmp_path, monkeypatch):
    from pyadx.inference import scorer
    from pyadx.inference.incremental.scorer import IncrementalScorer

    monkeypatch.setattr(scorer, "CHUNK", 300)
    model, scan, path = double(Plain()), scan_of(generator), tmp_path / "scores"
    expected = Occlusion(model, 3)(scan, target=1)
    scored = []
    original = IncrementalScorer._launch_chunk

    def counted(self, regions, advance):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(len(regions.boxes))
        return original(self, regions, advance)

    monkeypatch.setattr(IncrementalScorer, "_launch_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        Occlusion(model, 3)(scan, target=1, store=path)
    with pytest.raises(ValueError, match="use --resume"):
        Occlusion(model, 3)(scan, target=1, store=path)
    with pytest.raises(ValueError, match="target: 1 in the file, 0 in this run"):
        Occlusion(model, 3)(scan, target=0, store=path, resume=True)
    monkeypatch.setattr(IncrementalScorer, "_launch_chunk", original)
    assert torch.equal(Occlusion(model, 3)(scan, target=1, store=path, resume=True), expected)


def test_a_budget_gives_an_approximate_map_that_says_so(generator):
    model, scan = double(Gap()), scan_of(generator, (20, 19, 21))
    exact = Occlusion(model, 3)(scan, target=1)[0]
    explain = Occlusion(model, 3, budget_s=1e-9)
    found = explain.run(scan, target=1)
    rough, (report,) = found.heatmap[0], found.reports
    assert report.approximate
    assert report.scored == 27  # the coarsest windows only
    grid = rough[::COARSEST, ::COARSEST, ::COARSEST]
    assert torch.allclose(grid, exact[::COARSEST, ::COARSEST, ::COARSEST], rtol=1e-5, atol=1e-9)
    assert (rough - exact).abs().max() < exact.max()


def test_enough_budget_gives_the_exact_map(generator):
    model, scan = double(Gap()), scan_of(generator)
    explain = Occlusion(model, 3, budget_s=1e9)
    found = explain.run(scan, target=1)
    assert torch.allclose(found.heatmap, Occlusion(model, 3)(scan, target=1), rtol=1e-5, atol=1e-9)
    assert not found.reports[0].approximate


def test_more_budget_never_scores_less_and_ends_nearer(generator):
    from pyadx.explainers import coarse_to_fine as module
    from pyadx.explainers.windows import WindowGrid
    from pyadx.inference import IncrementalScorer

    scan = scan_of(generator, (12, 12, 12))
    grid = WindowGrid((12, 12, 12), (3, 3, 3), (1, 1, 1))
    scorer = IncrementalScorer(double(Gap()), scan, 1)
    regions = scorer.regions(grid.boxes())
    exact = regions.spread(scorer.score_regions(regions)).float()
    errors, counts = [], []
    for looks in (3, 60, 10_000):
        ticks = iter(range(10**9))
        scores, scored = module.coarse_to_fine(scorer, grid, regions, looks, lambda t=ticks: next(t))
        errors.append((scores - exact).abs().mean().item())
        counts.append(scored)
    assert counts[0] < counts[1] < counts[2] == len(regions.boxes)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget_s": 0}, "budget_s"),
        ({"budget_s": -1.0}, "budget_s"),
        ({"max_memory": "lots"}, "max_memory"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_wrong_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        Occlusion(Gap(), 3, **options)


def test_a_store_is_for_one_exact_map(generator, tmp_path):
    scans = torch.rand(2, 1, *SHAPE, dtype=torch.float64)
    with pytest.raises(ValueError, match="one scan"):
        Occlusion(double(Gap()), 3)(scans, store=tmp_path / "s")
    with pytest.raises(ValueError, match="one scan"):
        Occlusion(double(Gap()), 3, budget_s=1.0)(scans[:1], store=tmp_path / "s")


@pytest.mark.parametrize("explainer", [Occlusion, SupervoxelOcclusion])
def test_a_kept_trace_is_made_once_and_gives_the_same_bytes(generator, monkeypatch, explainer):
    from pyadx.inference.incremental import trace

    traced = []
    original = trace.trace
    monkeypatch.setattr(trace, "trace", lambda *given: traced.append(1) or original(*given))
    options = {"window": 3, "stride": 4} if explainer is Occlusion else {"max_regions": 9}
    model, scans = double(Plain()), [scan_of(generator) for _ in range(3)]
    fresh = explainer(model, **options)
    expected = [fresh(scan, target=1) for scan in scans]
    assert len(traced) == 3
    kept = explainer(model, keep_trace=True, **options)
    assert all(torch.equal(kept(scan, target=1), heat) for scan, heat in zip(scans, expected, strict=True))
    assert len(traced) == 4
    # A grid of another size is another trace; without keep_trace the scans of one call share theirs.
    larger = torch.rand(1, *(n + 2 for n in scans[0].shape[-3:]), generator=generator, dtype=torch.float64)
    assert kept(larger, target=1).shape[1:] == larger.shape[1:]
    assert len(traced) == 5
    fresh(torch.stack([scan.reshape(1, *scan.shape[-3:]) for scan in scans]), target=1)
    assert len(traced) == 6


@pytest.mark.parametrize("explainer", [CAM, GradCAM, Occlusion, SupervoxelOcclusion])
def test_outputs_are_the_models_class_scores_of_the_scans(generator, explainer):
    model = double(Gap(3))
    scans = torch.rand(3, 1, 9, 8, 10, generator=generator, dtype=torch.float64)
    own = explainer(model, **({"stride": 5} if explainer is Occlusion else {}))
    found = own.run(scans, target=[0, None, 2])
    assert torch.allclose(found.outputs, model(scans))
    assert not found.outputs.requires_grad
    assert found.targets.tolist() == [0, int(model(scans)[1].argmax()), 2]


@pytest.mark.parametrize("explainer", [CAM, GradCAM, Occlusion, SupervoxelOcclusion])
def test_the_number_of_threads_does_not_change_a_bit(generator, explainer):
    """In float64, where convolutions do not depend on it; see the README for float32."""
    model = double(Gap(3))
    scans = torch.rand(2, 1, 19, 18, 20, generator=generator, dtype=torch.float64)
    options = {Occlusion: {"stride": 5}, SupervoxelOcclusion: {"max_regions": 100}}
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3, 1):
            torch.set_num_threads(number)
            own = explainer(model, **options.get(explainer, {}))
            result = own.run(scans, target=1)
            found.append((result.heatmap, result.outputs))
    finally:
        torch.set_num_threads(threads)
    for maps, outputs in found[1:]:
        assert torch.equal(maps, found[0][0])
        assert torch.equal(outputs, found[0][1])
