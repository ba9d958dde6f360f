"""A group analysis that is killed goes on where it was, and ends with the same bytes."""

import os
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from group_maps import AFFINE, group_maps, map_name, save_map, sidecar
from group_runs import WORK, parts, results, start_and_kill
from program import Program, run_program

from pyadx.commands.cohorts.workers import Workers
from pyadx.commands.groups.journal import Journal, as_bytes, of_bytes, resumed
from pyadx.evaluation.groups import MapMatrix, permutations

pytest.importorskip("nilearn")

COMMAND = [
    "group", "maps", "--participants", "participants.tsv", "--contrast", "AD - NC", "--permutations", "40",
    "--null", "3", "--regions", "atlas.nii.gz", "-q",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Maps, table and atlas, as the working directory."""
    monkeypatch.chdir(tmp_path)
    group_maps(tmp_path)
    return tmp_path


@pytest.fixture
def to_its_end(run):
    """Run the command to its end, here; return the results."""

    def call(*more, out="out"):
        code, _, err = run(*COMMAND, "-o", out, *more)
        assert (code, err) == (0, "")
        assert not list(Path().glob("*.work"))
        return results(out)

    return call


@pytest.mark.parametrize("part", ["survey-00001", "sums-00001", "voxels-00000", "clusters"])
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one", "two"])
def test_killed_and_called_again_equals_undisturbed(here, to_its_end, part, more):
    options = ["--cluster-threshold", "0.01", *more]
    expected = to_its_end(*options, out="undisturbed")
    start_and_kill([*COMMAND, *options], part)
    assert part in parts()
    assert to_its_end(*options) == expected
    assert not list(here.glob(".partial*"))


def test_what_is_finished_is_not_done_again(here, run, monkeypatch):
    start_and_kill(COMMAND, "sums-00002")
    kept = {"survey-00000", "survey-00001", "survey-00002", "sums-00000", "sums-00001", "sums-00002"}
    assert set(parts()) == {*kept, "sums-first"}
    seen, keep = [], Journal.keep
    monkeypatch.setattr(Journal, "keep", lambda self, name, a: (seen.append(name), keep(self, name, a)))
    assert run(*COMMAND, "-o", "out")[0] == 0
    # Part 2, the first of NC, was kept before the sums of its group were.
    assert [name for name in seen if name.startswith("s")] == [
        "sums-00002", "sums-second", "sums-00003", "sums-second",
    ]  # fmt: skip


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_an_interruption_is_one_line_that_says_how_to_go_on(here, to_its_end, how):
    expected = to_its_end(out="undisturbed")
    done = start_and_kill(COMMAND, "sums-00001", how=how)
    word, code = ("interrupted", 130) if how == signal.SIGINT else ("terminated", 143)
    assert done.stderr == f"pyadx: error: {word}; run the same command again to continue where it stopped\n"
    assert done.returncode == code
    assert to_its_end() == expected


def test_a_changed_request_or_map_starts_anew(here, to_its_end):
    start_and_kill(COMMAND, "voxels-00000")
    (first,) = (path.name for path in WORK.iterdir() if path.is_dir())
    start_and_kill([*COMMAND, "--normalise", "p99"], "sums-00000")
    (second,) = (path.name for path in WORK.iterdir() if path.is_dir())
    assert first != second
    assert not (WORK / second / "voxels-00000.npz").exists()
    generator = np.random.default_rng(7)
    values = generator.normal(size=(12, 11, 10))
    save_map(here / "maps" / map_name(3), values, sidecar())
    assert to_its_end("--normalise", "p99") == to_its_end("--normalise", "p99", out="other")


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    elif how == "flipped":
        data[len(data) * 2 // 3] ^= 0x10
    elif how == "empty":
        data.clear()
    else:
        data = bytearray(b"not ours")
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "other"])
def test_damaged_work_is_done_again(here, to_its_end, how):
    expected = to_its_end("--cluster-threshold", "0.01", out="undisturbed")
    start_and_kill([*COMMAND, "--cluster-threshold", "0.01"], "clusters")
    shutil.copytree(WORK, "kept")
    every = [path.relative_to("kept") for path in Path("kept").glob("*/*")]
    assert len(every) > 9
    names = [{path} for path in every if path.suffix == ".npy" or path.stem.endswith(("first", "0"))]
    for damaged in [*names, set(every)]:
        shutil.rmtree(WORK, ignore_errors=True)
        shutil.copytree("kept", WORK)
        for path in damaged:
            damage(WORK / path, how)
        shutil.rmtree("out", ignore_errors=True)
        assert to_its_end("--cluster-threshold", "0.01") == expected, damaged


def test_pickles_in_work_are_not_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    with (tmp_path / "part.npz").open("wb") as file:
        np.savez(file, mean=np.array([Trap()], object))
    assert Journal(tmp_path).held("part") is None
    assert not (tmp_path / "sprung").exists()


def test_bad_input_leaves_no_work(here, run):
    start_and_kill(COMMAND, "survey-00001")
    save_map(here / "maps" / map_name(23), np.zeros((12, 11, 10)), sidecar())
    code, _, err = run(*COMMAND, "-o", "out")
    assert (code, "zero everywhere" in err) == (2, True)
    assert not WORK.exists()


def test_folders_of_others_and_runs_at_work_are_refused(here, run):
    WORK.mkdir()
    (WORK / "thesis.txt").write_text("mine")
    code, _, err = run(*COMMAND, "-o", "out")
    assert (code, "out.work: is not empty and holds no unfinished work" in err) == (2, True)
    assert [path.name for path in WORK.iterdir()] == ["thesis.txt"]
    shutil.rmtree(WORK)
    program = Program([*COMMAND, "-o", "out"], hold="survey-00001")
    program.wait_for(lambda: "survey-00001" in parts())
    code, _, err = run(*COMMAND, "-o", "out")
    os.kill(program.pid, signal.SIGKILL)
    program.finish()
    assert (code, "another process is working on the same results" in err) == (2, True)
    assert "survey-00001" in parts()
    (WORK / "thesis.txt").write_text("mine")
    assert run(*COMMAND, "-o", "out")[0] == 0
    assert [path.name for path in WORK.iterdir()] == ["thesis.txt"]


def square(number):
    return number**2


def test_parts_that_do_not_fit_are_done_again(tmp_path):
    work = Journal(tmp_path)

    def unpack(task, arrays):
        number = of_bytes(arrays["number"])
        if number % task:
            raise ValueError("of another task")
        return number

    def squares():
        return list(
            resumed(work, "n", square, [3, 5, 7], Workers(), lambda n: {"number": as_bytes(n)}, unpack)
        )

    assert squares() == [9, 25, 49]
    work.keep("n-00001", {"number": as_bytes(26)})
    work.keep("n-00002", {"other": as_bytes(49)})
    work.keep("n-00000", {"number": as_bytes(12)})  # fits: it is taken
    assert squares() == [12, 25, 49]


def test_rows_of_a_matrix_have_check_sums_and_a_file_of_another_size_is_made_anew(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    matrix = MapMatrix.create(tmp_path / "m.npy", 4, 9)
    checks = [matrix.write(row, values) for row, values in enumerate(rows)]
    again = MapMatrix.create(tmp_path / "m.npy", 4, 9, keep=True)
    np.testing.assert_array_equal(again.block(0, 9), rows)
    again.write(2, rows[2] + np.float32(1e-3))
    assert [again.check_of(row) == checks[row] for row in range(4)] == [True, True, False, True]
    assert not MapMatrix.create(tmp_path / "m.npy", 4, 8, keep=True).block(0, 8).any()


def many_maps(folder, count=2000, shape=(12, 13, 14)):
    """Write many small maps, one of them unreadable; several blocks of voxels are permuted."""
    generator = np.random.default_rng(0)
    rows = ["participant_id\tgroup"]
    (folder / "maps").mkdir()
    for number in range(count):
        values = generator.normal(size=shape).astype(np.float32)
        name = f"sub-{number:04d}_space-MNI_heatmap.nii"
        nib.save(nib.Nifti1Image(values, AFFINE), folder / "maps" / name)
        rows.append(f"sub-{number:04d}\t{'AD' if number < count * 0.45 else 'NC'}")
    (folder / "maps/sub-0017_space-MNI_heatmap.nii").write_bytes(b"")
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    assert np.prod(shape) > 2 * permutations.BLOCK // count


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_thousand_maps_killed_in_the_sums_and_in_the_permutations(tmp_path, monkeypatch, engine):
    if engine == "ray":
        pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    many_maps(tmp_path)
    plain = [word for word in COMMAND if word not in ("--regions", "atlas.nii.gz")]
    more = ("--skip-unreadable",)
    done = run_program([*plain, "-o", "undisturbed", *more])
    assert done.returncode == 0, done.stderr
    assert "1 of 2000 maps cannot be read and are left out: sub-0017" in done.stderr
    expected = results("undisturbed")
    more += ("--engine", engine, "--workers", "2")
    start_and_kill([*plain, *more], "sums-00060")
    start_and_kill([*plain, *more], "sums-00180")
    start_and_kill([*plain, *more], "voxels-00001")
    before = parts()
    done = run_program([*plain, "-o", "out", *more])
    assert done.returncode == 0, done.stderr
    assert len([name for name in before if name.startswith("sums-0")]) == 251
    assert results("out") == expected
    assert not WORK.exists()
