"""``explain-cohort`` killed, out of disk or memory: the next call ends as if nothing had happened."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import plain_cohort
from commands_support import save_small_network
from program import Program, run_program, wait_for

from pyadx import models

pytest.importorskip("nibabel")

SCANS = 24
MANIFEST = Path("maps/manifest.jsonl")
COMMAND = [
    "explain-cohort",
    "cohort.csv",
    "--model",
    "net.safetensors",
    "--method",
    "cam",
    "-q",
    "--cpus",
    "1",
    "-o",
]


def make_cohort(folder):
    plain_cohort(folder, SCANS // 2, (16, 17, 15))
    save_small_network(folder / "net.safetensors")


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cohort(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The heatmaps of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_cohort(folder)
    assert explain("maps", cwd=folder).returncode == 0
    found = files(folder / "maps")
    assert len(found) == SCANS
    return found


def explain(out, *options, cwd=None):
    return run_program([*COMMAND, out, *options], cwd)


def files(folder):
    """Heatmaps by name, with their bytes."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder).rglob("*.nii.gz"))}


def assert_whole(folder, expected):
    assert files(folder) == expected
    assert not list(Path(folder).rglob(".partial*"))


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=str)
def test_killed_and_called_again(cohort, undisturbed, how, workers):
    program = Program([*COMMAND, "maps", "--workers", workers])
    program.wait_for(lambda: lines_of(MANIFEST) >= 3)
    os.killpg(program.pid, how)  # as a terminal or a batch system does it: workers, too
    ended = program.finish()
    err = ended.stderr
    assert ended.returncode != 0, "the run was over before it could be killed"
    if how != signal.SIGKILL:
        assert err.strip().splitlines()[-1].startswith("pyadx: error: ")
        assert "Traceback" not in err
    done = [json.loads(line) for line in MANIFEST.read_text().splitlines()]
    assert 0 < len(done) < SCANS
    before = {path: path.stat().st_mtime_ns for path in (cohort / "maps" / e["file"] for e in done)}
    assert explain("maps").returncode == 0
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())  # none twice
    assert_whole("maps", undisturbed)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_stopped_run_on_ray_is_one_line_and_goes_on(cohort, undisturbed, how):
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "pyadx", *COMMAND, "maps", "--engine", "ray", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: lines_of(MANIFEST) >= 3 or process.poll() is not None, 240)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    word = "interrupted" if how == signal.SIGINT else "terminated"
    words = f"{word}; run the same command again to continue where it stopped"
    assert err == f"pyadx: error: {words}\n"
    assert process.returncode == 128 + how
    assert explain("maps").returncode == 0
    assert_whole("maps", undisturbed)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_phantom_says_how_to_continue(tmp_path, monkeypatch, jobs):
    pytest.importorskip("nilearn")
    monkeypatch.chdir(tmp_path)
    program = Program(["phantom", "-o", "made", "--subjects", 50, "--jobs", jobs, "-q"])
    program.wait_for(lambda: list(Path().glob("made/sub-*")))
    os.killpg(program.pid, signal.SIGINT)
    ended = program.finish()
    words = "interrupted; run the same command again to continue where it stopped"
    assert ended.stderr == f"pyadx: error: {words}\n"
    assert ended.returncode == 130
    assert not list(Path().rglob(".partial*"))


@pytest.fixture
def small_disk(cohort):
    """A file system on which a few heatmaps have room; grows and turns read-only on demand."""
    folder = cohort / "disk"
    folder.mkdir()

    def mount(options, remount=True):
        kind = f"remount,{options}" if remount else options
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", kind, "tmpfs", str(folder)], capture_output=True, check=False
        )

    try:
        made = mount("size=160k", remount=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("a small file system cannot be mounted here")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_and_the_next_call_goes_on(small_disk, undisturbed, workers):
    folder, mount = small_disk
    ended = explain(folder / "maps", "--workers", workers)
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert 0 < len(files(folder)) < SCANS
    assert mount("size=4m").returncode == 0
    assert explain(folder / "maps").returncode == 0
    assert_whole(folder / "maps", undisturbed)


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(small_disk, run):
    folder, mount = small_disk
    assert mount("ro").returncode == 0
    code, _, err = run(*COMMAND, folder / "maps")
    assert code in (1, 2)
    assert str(folder) in err
    assert err.count("\n") == 1
    assert not list(folder.iterdir())


def test_scores_that_are_nan_fail_every_scan_and_say_why(cohort, run):
    import torch

    model = models.load("net.safetensors")
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    models.save(model, "net.safetensors")
    code, _, err = run(*COMMAND, "maps")
    assert code == 1
    assert f"{SCANS} scans failed" in err
    assert "NaN or infinity" in err
    assert not files("maps")


def test_a_scan_for_which_memory_runs_out_is_noted_and_the_others_go_on(cohort):
    import nibabel as nib

    # On its way to 16^3 voxels this one needs gigabytes; it takes little room on the disk.
    huge = np.zeros((560, 560, 560), np.uint8)
    huge[280, 280, 280] = 1
    nib.save(nib.Nifti1Image(huge, np.diag([2.0, 2, 2, 1])), "scans/s03.nii.gz")
    memory = 1_700_000_000

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    ended = subprocess.run(
        [sys.executable, "-m", "pyadx", *COMMAND, "maps"], capture_output=True, text=True, preexec_fn=limit
    )
    entries = [json.loads(line) for line in Path("maps/manifest.jsonl").read_text().splitlines()]
    assert [e["subject"] for e in entries if e["status"] == "failed"] == ["s03"], ended.stderr
    assert ended.returncode == 1
    assert len(files("maps")) == SCANS - 1
    # With enough memory the next call explains it.
    assert explain("maps").returncode == 0
    assert len(files("maps")) == SCANS


def test_ids_that_would_share_a_file_are_told_before_any_work(cohort, run):
    table = Path("cohort.csv")
    text = table.read_text()
    table.write_text(text.replace(",s03,", ",s-02,"))
    code, _, err = run(*COMMAND, "maps")
    assert code == 2
    assert "same BIDS label" in err
    table.write_text(text.replace(",s03,", f",s{'0' * 300},"))
    code, _, err = run(*COMMAND, "maps")
    assert code == 2
    assert "too long" in err
    assert not Path("maps").exists()


def test_whatever_a_scan_raises_is_noted_and_the_others_go_on(cohort, monkeypatch, run):
    from pyadx.commands.cohorts import explain_cohort

    heatmap_of = explain_cohort.heatmap_of
    errors = {
        "s03": KeyError("no such\nkey"),
        "s04": PermissionError(13, "Permission denied"),
        "s05": IndexError(),
    }

    def sometimes(job, root, *what, **options):
        subject = getattr(what[0], "subject", what[0])
        if subject in errors:
            raise errors[subject]
        return heatmap_of(job, root, *what, **options)

    monkeypatch.setattr(explain_cohort, "heatmap_of", sometimes)
    code, _, err = run(*COMMAND, "maps")
    assert code == 1
    assert "3 scans failed" in err
    entries = [json.loads(line) for line in Path("maps/manifest.jsonl").read_text().splitlines()]
    reasons = {e["subject"]: e["reason"] for e in entries if e["status"] == "failed"}
    assert set(reasons) == set(errors)
    assert reasons["s03"] == "KeyError: 'no such\\nkey'"
    assert "Permission denied" in reasons["s04"]
    assert reasons["s05"] == "IndexError"
    assert len(files("maps")) == SCANS - 3


def test_a_manifest_of_an_older_version_is_read(tmp_path):
    from pyadx.commands.cohorts.manifest import Manifest, file_sha256

    (tmp_path / "heat.nii.gz").write_bytes(b"heat")
    digest = file_sha256(tmp_path / "heat.nii.gz")
    line = {
        "subject": "s1",
        "scan": "a",
        "request": "r",
        "status": "done",
        "file": "heat.nii.gz",
        "sha256": digest,
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    (entry,) = Manifest(tmp_path / "manifest.jsonl").entries.values()
    assert entry.file_sha256 == digest
