import json
import subprocess
import sys

import numpy as np
import pytest
from report_support import keep_figures

import pyadx
from pyadx import GradCAM, Occlusion, models
from pyadx.commands.explaining.explain import prepared_volume
from pyadx.data import fit_to_grid, map_to_scan, read_scan

nib = pytest.importorskip("nibabel")

METHODS = {
    "gradcam": ("resnet", {"layer": "bn4", "rectify": "relu"}),
    "cam": ("resnet-gap", {"align": "receptive_field"}),
    "occlusion": ("resnet-gap", {"window": "15", "stride": "20", "signed": "true"}),
}


@pytest.mark.parametrize("method", METHODS)
def test_scan_in_heatmap_and_sidecar_out(method, here, run):
    name, options = METHODS[method]
    spelling = f"{method}:" + ",".join(f"{key}={value}" for key, value in options.items())
    code, out, err = run(
        "explain", "scan.nii.gz", "--model", f"{name}.safetensors", "--method", spelling, "--target", "AD",
        "-o", "heat.nii.gz",
    )  # fmt: skip
    assert code == 0
    assert "prediction: NC 0." in out
    assert "untrained" in err
    scan, heat = nib.load("scan.nii.gz"), nib.load("heat.nii.gz")
    assert heat.shape == scan.shape
    assert np.allclose(heat.affine, scan.affine)
    assert heat.get_data_dtype() == np.float32
    values = heat.get_fdata()
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 0
    facts = json.loads((here / "heat.json").read_text())
    assert facts["method"] == method
    assert facts["target"] == {"index": 1, "name": "AD"}
    assert facts["model"]["weights_sha256"] == models.fingerprint(models.load(f"{name}.safetensors"))
    assert facts["model"]["trained"] is False
    assert facts["software"]["pyadx"] == pyadx.__version__
    assert facts["seconds"]["explain"] > 0
    assert sum(facts["prediction"].values()) == pytest.approx(1, rel=1e-5)
    for option, value in options.items():
        assert str(facts["parameters"][option]).lower() == value
    assert set(facts["parameters"]) == set(pyadx.explainers.find_method(method).options)
    assert pyadx.explainers.parse_method(facts["spelling"]).canonical == facts["spelling"]
    assert facts["spelling"] in out


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_file_equals_the_map_from_python(method, here, run):
    spelling = {"gradcam": "gradcam:layer=bn4", "occlusion": "occlusion:window=15,stride=20"}[method]
    command = ["explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "--method", spelling]
    assert run(*command, "-o", "heat.nii", "--target", "0", "-q")[0] == 0
    model = models.load("resnet-gap.safetensors")
    fitted = fit_to_grid(read_scan("scan.nii.gz"), (41, 45, 37), 2.0)
    explain = GradCAM(model, "bn4") if method == "gradcam" else Occlusion(model, 15, 20)
    expected = map_to_scan(explain(prepared_volume(fitted, model.card), target=0)[0].numpy(), fitted)
    assert np.array_equal(nib.load("heat.nii").get_fdata(dtype=np.float32), expected)


def test_without_target_the_predicted_class_is_explained(here, run):
    assert run("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "heat.nii.gz")[0] == 0
    facts = json.loads((here / "heat.json").read_text())
    assert facts["prediction"][facts["target"]["name"]] == max(facts["prediction"].values())
    assert facts["parameters"]["layer"] == "voxres9_out"


def test_figure_is_drawn(here, run):
    pytest.importorskip("matplotlib")
    code, _, _ = run("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "heat.nii.gz",
                     "--figure", "heat.png", "-q")  # fmt: skip
    assert code == 0
    from matplotlib.image import imread

    picture = imread("heat.png")
    assert min(picture.shape[:2]) > 300
    assert picture.std() > 0.05


def test_a_figure_may_be_a_pdf(here, run, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = keep_figures(monkeypatch)
    code, _, err = run("explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "--method", "cam",
                       "-o", "heat.nii.gz", "--figure", "heat.pdf", "-q")  # fmt: skip
    assert code == 0, err
    assert [kind for _, kind in figures] == ["pdf"]


def test_existing_results_are_kept_unless_overwriting_is_asked_for(here, run):
    arguments = ("explain", "scan.nii.gz", "--model", "resnet.safetensors", "-o", "heat.nii.gz", "-q")
    (here / "heat.json").write_text("mine")
    code, _, err = run(*arguments)
    assert code == 2
    assert "heat.json: exists already" in err
    assert (here / "heat.json").read_text() == "mine"
    assert not (here / "heat.nii.gz").exists()
    assert run(*arguments, "--overwrite")[0] == 0
    assert json.loads((here / "heat.json").read_text())["method"] == "gradcam"


def test_quiet_prints_nothing_and_progress_goes_to_standard_error(here, run):
    arguments = ["explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "-o", "heat.nii.gz"]
    arguments += ["--method", "occlusion:window=25,stride=25", "--overwrite"]
    assert run(*arguments, "-q") == (0, "", "")
    code, out, err = run(*arguments)
    assert code == 0
    assert "8/8" in err
    assert "8/8" not in out


def test_scan_larger_than_the_grid_is_warned_about(here, run):
    data = np.random.default_rng(0).random((90, 90, 90), dtype=np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), "large.nii")
    code, _, err = run("explain", "large.nii", "--model", "resnet.safetensors", "-o", "heat.nii.gz")
    assert code == 0
    assert "only 17% of the scan's intensity" in err


def test_the_installed_command_exits_with_the_code(here):
    command = [
        sys.executable,
        "-m",
        "pyadx",
        "explain",
        "missing.nii",
        "--model",
        "resnet.safetensors",
        "-o",
        "h.nii",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "pyadx: error: missing.nii: no such file\n"
    assert result.stdout == ""


def test_a_network_is_read_again_only_if_its_file_has_changed(here):
    from pyadx.commands.explaining.networks import explainer, network

    path = here / "own.safetensors"
    models.save(models.build("resnet-gap", (18, 17, 16), seed=0), path)
    first = network(path)
    assert network(path) is first
    cam = explainer(path, "cpu", "cam:rectify=relu")
    assert explainer(path, "cpu", "cam:rectify=relu") is cam
    assert cam.model is first.model
    models.save(models.build("resnet-gap", (18, 17, 16), seed=1), path)
    assert network(path).sha256 != first.sha256
    assert explainer(path, "cpu", "cam:rectify=relu") is not cam
    path.unlink()
    with pytest.raises(ValueError, match="no such checkpoint"):
        network(path)


def test_a_mask_restricts_the_work_and_the_map(here, run):
    scan = nib.load("scan.nii.gz")
    inside = np.zeros(scan.shape, np.uint8)
    inside[15:25, 18:28, 14:22] = 1
    nib.save(nib.Nifti1Image(inside, scan.affine), "roi.nii.gz")
    command = ["explain", "scan.nii.gz", "--model", "resnet-gap.safetensors", "--target", "AD"]
    command += ["--method", "occlusion:window=9,stride=12", "-q"]
    assert run(*command, "-o", "whole.nii.gz")[0] == 0
    code, _, err = run(*command, "-o", "heat.nii.gz", "--mask", "roi.nii.gz")
    assert code == 0, err
    heat, whole = nib.load("heat.nii.gz").get_fdata(), nib.load("whole.nii.gz").get_fdata()
    assert (heat[inside == 0] == 0).all()
    assert np.array_equal(heat[inside == 1], whole[inside == 1])
    facts, other = (json.loads((here / f"{name}.json").read_text()) for name in ("heat", "whole"))
    assert facts["mask"] == {"file": "roi.nii.gz", "voxels_of_grid": int(inside.sum())}
    assert facts["report"]["evaluated"] < other["report"]["evaluated"]
    assert "mask" not in other


@pytest.mark.parametrize(
    ("method", "make", "words"),
    [
        ("gradcam", lambda shape: np.ones(shape), "--mask has no meaning for gradcam"),
        ("occlusion", lambda shape: np.zeros(shape), "nothing is inside"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(method, make, words, here, run):
    scan = nib.load("scan.nii.gz")
    nib.save(nib.Nifti1Image(make(scan.shape).astype(np.uint8), scan.affine), "roi.nii.gz")
    code, _, err = run(
        "explain", "scan.nii.gz", "--model", "resnet.safetensors", "--method", method, "-o", "heat.nii.gz",
        "--mask", "roi.nii.gz",
    )  # fmt: skip
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not (here / "heat.nii.gz").exists()
