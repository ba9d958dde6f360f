"""A run of hours stays until everything about the one that replaces it has been checked."""

import sys
from pathlib import Path

import pytest
from cohort_trees import plain_cohort

pytest.importorskip("nibabel")
pytest.importorskip("lightning_fabric")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

SMALL = [
    "--model", "resnet-shallow-gap", "--shape", "16", "--spacing", "2.4", "--set-aside", "none", "--folds",
    "2", "--epochs", "1", "-q",
]  # fmt: skip


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain_cohort(tmp_path, 3)
    return "cohort.csv"


def contents(folder):
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.mark.parametrize("wrong", ["round", "scan", None])
@pytest.mark.parametrize("cached", [False, True])
def test_training_again_keeps_the_run_until_all_is_read(cohort, run, monkeypatch, wrong, cached):
    from pyadx.commands.training import setup as training

    monkeypatch.setattr(training, "_fits_into_memory", lambda *args: not cached)
    assert run("train", cohort, "-o", "run", *SMALL)[0] == 0
    before = contents("run")
    if wrong == "scan":
        Path("scans/s03.nii.gz").write_bytes(b"no scan")
    more = ["--round", "split7-fold7"] if wrong == "round" else []
    code, _, err = run("train", cohort, "-o", "run", *SMALL, "--seed", "1", *more, "--overwrite")
    if wrong:
        assert code == 2, err
        assert contents("run") == before
    else:
        assert code == 0, err
        after = contents("run")
        assert after.keys() == before.keys()
        assert after["run/run.json"] != before["run/run.json"]
        assert after["run/result.json"] != before["run/result.json"]


def test_crossval_without_ray_keeps_the_run(cohort, run, monkeypatch):
    command = ["crossval", cohort, "-o", "cv", *SMALL, "--splits", "1", "--keep-models"]
    assert run(*command)[0] == 0
    before = contents("cv")
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run(*command, "--parallel", "ray", "--overwrite")
    assert code == 2
    assert "needs Ray" in err
    assert contents("cv") == before


def test_a_table_or_figure_that_cannot_be_written_leaves_all_of_them(cohort, run, monkeypatch):
    from pyadx.commands.training import crossval

    command = ["crossval", cohort, "-o", "cv", *SMALL, "--splits", "1"]
    assert run(*command)[0] == 0
    names = ("rounds.csv", "rounds.md", "predictions.csv", "roc.png")
    for name in names:
        Path("cv", name).write_text("of before")

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(crossval, "save_roc", full)
    assert run(*command, "--resume")[0] == 1
    assert all(Path("cv", name).read_text() == "of before" for name in names)
