"""``pyadx explain-cohort``: every scan once, whatever dies in between, and equal to the serial run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cohort_trees import plain_cohort, save
from commands_support import save_small_network

nib = pytest.importorskip("nibabel")

COMMAND = ["explain-cohort", "cohort.csv", "--model", "net.safetensors", "--method", "cam"]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain_cohort(tmp_path, 4, (16, 17, 15))
    save_small_network("net.safetensors")
    return tmp_path


def manifest(folder):
    lines = (Path(folder) / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def heatmaps(folder):
    return {
        path.name: np.asarray(nib.load(path).dataobj) for path in sorted(Path(folder).rglob("*.nii.gz"))
    }


def assert_equal(one, other):
    assert list(one) == list(other)
    for name, heat in one.items():
        assert np.allclose(heat, other[name], rtol=1e-4, atol=1e-6 * heat.max())


def test_every_scan_gets_a_heatmap_and_a_second_call_verifies_them(cohort, run):
    code, out, err = run(*COMMAND, "-o", "maps")
    assert code == 0, err
    assert "8 scans explained" in out
    entries = manifest("maps")
    assert [entry["status"] for entry in entries] == ["done"] * 8
    assert all(entry["seconds"] > 0 for entry in entries)
    files = sorted(Path("maps").rglob("*.nii.gz"))
    assert len(files) == 8
    times = [path.stat().st_mtime_ns for path in files]
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert code == 0
    assert "8 were done before" in out
    assert [path.stat().st_mtime_ns for path in files] == times
    # A file that is no longer the one that was written is made again, and so is a missing one.
    good = files[0].read_bytes()
    files[0].write_bytes(good[:-7])
    files[1].unlink()
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert code == 0
    assert "2 scans explained" in out
    assert len(heatmaps("maps")) == 8
    # Another request is other work.
    code, out, _ = run(*COMMAND, "-o", "maps", "--target", "NC")
    assert "8 scans explained" in out


def test_a_second_method_in_the_same_folder_leaves_the_first_as_done(cohort, run):
    run(*COMMAND, "-o", "maps")
    code, out, _ = run(*COMMAND[:-1], "gradcam:layer=bn4", "-o", "maps")
    assert code == 0
    assert "8 scans explained" in out
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert "8 were done before" in out
    assert len(heatmaps("maps")) == 16


def test_a_network_that_is_replaced_in_mid_run_ends_it(cohort, run, monkeypatch):
    """Heatmaps of another network must not be noted as those of the one that was asked for."""
    from pyadx.commands.cohorts import explain_cohort

    left = iter(range(3))

    def add_and_replace(self, entry):
        add(self, entry)
        if next(left) == 2:
            save_small_network("net.safetensors", seed=1)

    add = explain_cohort.Manifest.add
    with monkeypatch.context() as patch:
        patch.setattr(explain_cohort.Manifest, "add", add_and_replace)
        code, _, err = run(*COMMAND, "-o", "maps", "-q")
    assert code == 2
    assert err.count("\n") == 1
    assert "net.safetensors: has changed since this run began; start it again" in err
    assert len(manifest("maps")) == 3
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert code == 0
    assert "8 scans explained" in out


def test_a_scan_that_cannot_be_read_is_noted_and_the_others_go_on(cohort, run):
    Path("scans/s03.nii.gz").write_bytes(b"no scan")
    code, out, err = run(*COMMAND, "-o", "maps")
    assert code == 1
    assert "7 scans explained" in out
    assert "1 scans failed, such as s03" in err
    (failed,) = (entry for entry in manifest("maps") if entry["status"] == "failed")
    assert failed["subject"] == "s03"
    assert failed["reason"]
    # Once it can be read, the next call explains it.
    shutil.copy("scans/s02.nii.gz", "scans/s03.nii.gz")
    save(Path("scans/s03.nii.gz"), nib.load("scans/s02.nii.gz").get_fdata() * 1.5)
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert code == 0
    assert "1 scans explained" in out


def test_a_last_line_that_was_cut_off_does_no_harm(cohort, run):
    assert run(*COMMAND, "-o", "maps", "-q")[0] == 0
    path = Path("maps/manifest.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    code, out, _ = run(*COMMAND, "-o", "maps")
    assert code == 0
    assert "1 scans explained" in out
    assert Counter(e["status"] for e in map(json.loads, path.read_text().splitlines()[-1:])) == {"done": 1}
    assert "8 were done before" in run(*COMMAND, "-o", "maps")[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--engine", "spark"], "--engine must be one of local, ray"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--cpus", "0"], "--cpus must be at least 1"),
        (["--gpus", "-1"], "--gpus must not be negative"),
        (["--ray-address", "auto"], "--ray-address belongs to --engine ray"),
        (["--method", "lime"], "no method 'lime'"),
        (["--method", "gradcam:layer=nothing"], "nothing"),
        (["--target", "MCI"], "MCI"),
    ],
)
def test_bad_options_are_told_before_any_work(cohort, run, more, words):
    code, _, err = run(*COMMAND, "-o", "maps", *more)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not list(Path().rglob("*heatmap*"))


def children_named(word):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if word in words:
            found.append((int(folder.name), parent))
    return found


def many(folder, count):
    """So many scans, in a cohort table."""
    rows = ["path,subject,label"]
    random = np.random.default_rng(0)
    base = nib.load("scans/s00.nii.gz").get_fdata()
    for number in range(count):
        noise = 1 + 0.1 * random.random(base.shape)
        save(folder / "many" / f"m{number:03}.nii.gz", base * noise)
        rows.append(f"many/m{number:03}.nii.gz,m{number:03},{'AD' if number % 2 else 'NC'}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(("engine", "scans"), [("local", 200), ("ray", 70)])
def test_many_scans_with_a_worker_killed_in_mid_run(cohort, engine, scans, run):
    if engine == "ray":
        pytest.importorskip("ray")
    many(cohort, scans)
    command = [sys.executable, "-m", "pyadx", *COMMAND, "-o", "maps", "--engine", engine, "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    path, until, killed = Path("maps/manifest.jsonl"), time.monotonic() + 240, None
    while killed is None and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read().decode()
        if path.is_file() and len(path.read_text().splitlines()) > 20:
            if engine == "ray":
                workers = [pid for pid, _ in children_named(b"ray::remote")]
            else:
                workers = [pid for pid, parent in children_named(b"spawn_main") if parent == process.pid]
            if workers:
                killed = workers[0]
                os.kill(killed, signal.SIGKILL)
        time.sleep(0.005)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert killed is not None
    done = Counter(entry["subject"] for entry in manifest("maps") if entry["status"] == "done")
    assert len(done) == scans  # none lost
    assert set(done.values()) == {1}  # none noted twice
    assert run(*COMMAND, "-o", "serial", "-q")[0] == 0
    assert_equal(heatmaps("maps"), heatmaps("serial"))
