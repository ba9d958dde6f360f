"""Nothing of the user's is deleted or replaced before all was checked; outputs appear together or not."""

import json
from pathlib import Path

import pytest
from commands_support import save_small_network

from pyadx.commands.explaining import explain as explain_module
from pyadx.commands.explaining import segment as segment_module

pytest.importorskip("nibabel")
pytest.importorskip("matplotlib")

EXPLAIN = [
    "explain", "scan.nii.gz", "--model", "net.safetensors", "-o", "heat.nii.gz", "--figure", "heat.png",
    "-q", "--method",
]  # fmt: skip
METHOD = "occlusion:window=9,stride=9"


@pytest.fixture
def folder(here):
    save_small_network("net.safetensors")
    return here


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}


def with_results_of_before(folder):
    for name in ("heat.nii.gz", "heat.json", "heat.png", "heat.nii.gz.scores"):
        (folder / name).write_bytes(b"of before: " + name.encode())
    return contents(folder)


@pytest.mark.parametrize(
    "mistake",
    [
        [METHOD, "--model", "nett.safetensors"],
        [METHOD, "--model", "scan.nii.gz"],
        [METHOD, "--device", "cuda:99"],
        ["occlusion:window=0"],
        ["occlusion:layer=bn4"],
        ["occlusion:score=likelihood"],
        ["occlusion:window=9,stride=9,max_memory=1000"],
        ["occlusion:fill=nan"],
        [METHOD, "--target", "MCI"],
        [METHOD, "--batch-size", "some"],
        [METHOD, "--figure", "heat.jpg"],
    ],
    ids=" ".join,
)
def test_a_mistyped_option_leaves_scores_heatmap_and_figure_as_they_were(folder, run, mistake):
    before = with_results_of_before(folder)
    code, _, err = run(*EXPLAIN, *mistake, "--overwrite")
    assert code == 2
    assert err.count("\n") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("scan", ["missing.nii.gz", "broken.nii.gz"])
def test_a_scan_that_cannot_be_read_leaves_them_as_they_were(folder, run, scan):
    (folder / "broken.nii.gz").write_bytes(b"no scan")
    before = with_results_of_before(folder)
    assert run(*EXPLAIN[:1], scan, *EXPLAIN[2:], METHOD, "--overwrite")[0] == 2
    assert contents(folder) == before


def test_a_run_that_ends_before_its_first_scores_leaves_the_old_ones(folder, run, monkeypatch):
    from pyadx.inference.incremental.scorer import IncrementalScorer

    def interrupted(*args):
        raise KeyboardInterrupt

    before = with_results_of_before(folder)
    monkeypatch.setattr(IncrementalScorer, "_launch_chunk", interrupted)
    assert run(*EXPLAIN, f"{METHOD},engine=incremental", "--overwrite")[0] == 130
    assert contents(folder) == before


def test_overwriting_replaces_all_of_them(folder, run):
    with_results_of_before(folder)
    code, _, err = run(*EXPLAIN, METHOD, "--overwrite")
    assert code == 0, err
    assert (folder / "heat.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "heat.json").read_text())["method"] == "occlusion"
    assert not (folder / "heat.nii.gz.scores").exists()


@pytest.mark.parametrize("writer", ["save_scan_panels", "write_heatmap"])
@pytest.mark.parametrize("after", [False, True])
def test_an_output_that_cannot_be_written_leaves_all_of_explain_as_it_was(
    folder, run, monkeypatch, writer, after
):
    before = with_results_of_before(folder)
    del before["heat.nii.gz.scores"]
    (folder / "heat.nii.gz.scores").unlink()
    fails(monkeypatch, explain_module, writer, after)
    code, _, err = run(*EXPLAIN, METHOD, "--overwrite")
    assert code == 1
    assert "No space left" in err
    scores = folder / "heat.nii.gz.scores"  # the work of hours: --resume goes on from here
    assert scores.read_bytes().startswith(b'{"')
    scores.unlink()
    assert contents(folder) == before


def fails(monkeypatch, module, name, after):
    """Let a writer fail, before or after it has written."""
    original = getattr(module, name)

    def full(*args, **kwargs):
        if after:
            original(*args, **kwargs)
        raise OSError("No space left on device")

    monkeypatch.setattr(module, name, full)


@pytest.mark.parametrize("writer", ["_draw", "sidecar_path"])
@pytest.mark.parametrize("after", [False, True])
def test_an_output_that_cannot_be_written_leaves_all_of_segment_as_it_was(
    folder, run, monkeypatch, writer, after
):
    for name in ("labels.nii.gz", "labels.json", "tree.npz", "tree.png"):
        (folder / name).write_bytes(b"of before")
    before = contents(folder)
    fails(monkeypatch, segment_module, writer, after)
    code, _, err = run(
        "segment", "scan.nii.gz", "-o", "labels.nii.gz", "--hierarchy", "tree.npz", "--figure", "tree.png",
        "--max-regions", "20", "--overwrite", "-q",
    )  # fmt: skip
    assert code == 1
    assert "No space left" in err
    assert contents(folder) == before


def test_demo_does_not_replace_a_scan_that_is_not_its_own(folder, run):
    before = contents(folder)
    code, _, err = run("demo", "-o", ".", "-q")
    assert code == 2
    assert "scan.nii.gz" in err
    assert "another folder" in err
    assert contents(folder) == before
