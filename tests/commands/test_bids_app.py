"""``pyadx bids``: the scans that are asked for, all of their sessions, and derivatives that BIDS knows."""

import json
import os
import re
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from bids_app_support import (
    SCANS,
    SHAPE,
    as_probabilities,
    bids_data_set,
    maps_in,
    save_in_mni,
    sidecars_in,
)
from cohort_trees import different_brain
from commands_support import AFFINE, save_small_network
from program import Program, run_program

from pyadx.cli.bids import spread
from pyadx.commands.cohorts.bids_validation import errors_in, validator
from pyadx.commands.cohorts.workers import Workers
from pyadx.data.cohort.bids_filters import read_filter_file
from pyadx.data.derivatives import derivative_file, entities_on_grid

nib = pytest.importorskip("nibabel")

BIDS = ["bids", "raw", "maps", "participant", "--model", "net.safetensors", "--skip-bids-validation"]
CAM = [*BIDS, "--method", "cam"]
MAPS = [f"{name}_desc-cam_heatmap.nii.gz" for name in SCANS]
needs_validator = pytest.mark.skipif(validator() is None, reason="bids-validator-deno is not installed")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_small_network("net.safetensors")
    return bids_data_set(tmp_path / "raw")


def test_every_session_and_scan_gets_a_map_and_a_second_call_goes_on(raw, run):
    code, out, err = run(*CAM)
    assert code == 0, err
    assert "5 scans explained" in out
    assert maps_in("maps") == sorted(MAPS)
    assert len({Path("maps", name).read_bytes() for name in MAPS}) == len(MAPS)
    times = {name: Path("maps", name).stat().st_mtime_ns for name in MAPS}
    Path("maps", MAPS[1]).unlink()
    code, out, _ = run(*CAM)
    assert code == 0
    assert "1 scans explained" in out
    assert "4 were done before" in out
    assert maps_in("maps") == sorted(MAPS)
    assert [n for n in MAPS if Path("maps", n).stat().st_mtime_ns != times[n]] == [MAPS[1]]


def test_sidecars_and_description_say_where_maps_come_from(raw, run):
    assert run(*CAM)[0] == 0
    facts = json.loads(Path("maps/dataset_description.json").read_text())
    assert facts["DatasetType"] == "derivative"
    assert facts["GeneratedBy"][0]["Name"] == "pyadx"
    assert facts["GeneratedBy"][0]["Version"]
    assert facts["SourceDatasets"] == [{"URL": "file:///raw"}]
    link = Path("maps", facts["DatasetLinks"]["raw"])
    assert link.resolve() == raw
    found = sidecars_in("maps")
    assert len(found) == 5
    for name, sidecar in found.items():
        (source,) = sidecar["Sources"]
        assert sidecar["SpatialReference"] == source
        scan = link / source.removeprefix("bids:raw:")
        assert scan.is_file()
        assert scan.name.removesuffix("_T1w.nii.gz") == name.removesuffix("_desc-cam_heatmap.json")


def test_the_way_to_a_source_elsewhere_names_no_folders(raw, run):
    assert run("bids", "raw", "a/b/maps", *CAM[3:])[0] == 0
    assert json.loads(Path("a/b/maps/dataset_description.json").read_text())["DatasetLinks"] == {
        "raw": "../../../raw"
    }
    shutil.move("raw", "private/Jane_Roe/raw")
    assert run("bids", "private/Jane_Roe/raw", "maps", *CAM[3:])[0] == 0
    for file in Path("maps").rglob("*.json*"):
        assert "Jane" not in file.read_text(), file


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--participant-label", "01", "03"], [0, 1, 4]),
        (["--participant-label", "sub-03", "--participant-label", "01"], [0, 1, 4]),
        (["--participant_label=03"], [4]),
        (["--session-label", "M00"], [0, 2, 3]),
        (["--session-label", "ses-M12", "M00", "--participant-label", "sub-01"], [0, 1]),
    ],
)
def test_labels_with_and_without_prefix_several_after_one_option(raw, run, options, expected):
    code, _, err = run(*CAM, *options)
    assert code == 0, err
    assert maps_in("maps") == sorted(MAPS[place] for place in expected)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"acquisition": "fast"}, [0, 1, 2]),
        ({"acquisition": None}, [3, 4]),
        ({"acquisition": "*", "session": ["M12", "M24"]}, [1]),
        ({"run": 2}, [3]),
        ({"run": [1, None], "suffix": "T1w", "datatype": "anat"}, [0, 1, 2, 4]),
        ({"subject": ["02", "sub-03"], "ses": "ses-M00"}, [2, 3]),
    ],
)
def test_filter_files_mean_what_they_mean_to_other_apps(raw, run, wanted, expected):
    Path("filter.json").write_text(json.dumps({"t1w": wanted, "bold": {"task": "rest"}}))
    code, _, err = run(*CAM, "--bids-filter-file", "filter.json")
    assert code == 0, err
    assert maps_in("maps") == sorted(MAPS[place] for place in expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ('{"bold": {}}', "has no entry for T1w scans"),
        ('{"t1w": {"colour": "red"}}', "unknown entity 'colour'"),
        ('{"t1w": {"run": 1.5}}', "run must be text, a whole number, null, or a list"),
        ('{"t1w": {"run": []}}', "run must be text, a whole number, null, or a list"),
        ('{"t1w": {"suffix": "T2w"}}', "is not that of a T1w scan"),
        (None, "cannot be read"),
    ],
)
def test_filter_files_that_say_something_else_are_refused(tmp_path, text, words):
    if text is not None:
        (tmp_path / "f.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_filter_file(tmp_path / "f.json")


def test_scans_of_a_derivative_keep_their_space_and_say_mni_twice(raw, run):
    for number, label in enumerate(("01", "02")):
        for space, codes in (("_space-MNI152NLin2009cAsym_res-2", (4, 0)), ("", (1, 1))):
            name = f"sub-{label}_ses-M00{space}_desc-preproc_T1w.nii.gz"
            file = raw / f"derivatives/fmriprep/sub-{label}/ses-M00/anat" / name
            save_in_mni(file, different_brain(number + 20, SHAPE), *codes)
    more = ["--derivatives", "fmriprep", "--participant-label", "01", "02"]
    code, _, err = run(*CAM, *more)
    assert code == 2
    assert "several spaces" in err
    code, _, err = run(*CAM, *more, "--space", "MNI152NLin2009cAsym:res-2")
    assert code == 0, err
    name = "sub-{0}/ses-M00/anat/sub-{0}_ses-M00_space-MNI152NLin2009cAsym_res-2_desc-cam_heatmap.nii.gz"
    assert maps_in("maps") == [name.format("01"), name.format("02")]
    header = nib.load(Path("maps", maps_in("maps")[0])).header
    assert (header["sform_code"], header["qform_code"]) == (4, 4)
    assert np.allclose(header.get_qform(), AFFINE)
    (source,) = next(iter(sidecars_in("maps").values()))["Sources"]
    assert source.startswith("bids:raw:derivatives/fmriprep/sub-01/ses-M00/anat/sub-01_ses-M00_space-")
    # The filter file chooses a space, too.
    Path("filter.json").write_text('{"t1w": {"space": null}}')
    code, _, err = run("bids", "raw", "native", *CAM[3:], *more, "--bids-filter-file", "filter.json")
    assert code == 0, err
    header = nib.load(Path("native", maps_in("native")[0])).header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)


@pytest.mark.parametrize(
    ("forms", "codes"),
    [
        ((4, 0, None), (4, 4)),
        ((4, 1, AFFINE), (4, 4)),
        ((0, 4, AFFINE), (4, 4)),
        # Programs that look at the qform place the scan elsewhere, and are to place the map there, too.
        ((4, 1, AFFINE + np.eye(4, k=3) * 9), (4, 1)),
        ((2, 1, AFFINE), (2, 1)),
        ((1, 0, None), (1, 0)),
    ],
)
def test_mni_is_said_twice_only_where_nothing_contradicts(tmp_path, forms, codes):
    from pyadx.data import read_scan
    from pyadx.data.heatmaps import image_on_scan

    sform, qform, other = forms
    image = nib.Nifti1Image(different_brain(0, SHAPE), AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(AFFINE if other is None else other, qform)
    nib.save(image, tmp_path / "scan.nii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the affines disagree
        scan = read_scan(tmp_path / "scan.nii")
    header = image_on_scan(scan.data, scan, "map").header
    assert (header["sform_code"], header["qform_code"]) == codes
    if qform and other is not None:
        assert np.allclose(header.get_qform(), other, atol=1e-4)


@pytest.mark.parametrize("command", ["bids", "explain-cohort"])
def test_maps_on_the_networks_grid(raw, run, command):
    data = np.pad(different_brain(3, SHAPE), 3)[:, ::-1, ::-1]
    affine = AFFINE @ np.diag([1, -1, -1, 1])
    shutil.rmtree(raw / "sub-02")
    save_in_mni(raw / "sub-03/anat/sub-03_T1w.nii.gz", data, 4, 1, affine)
    options = ["--method", "cam", "--model", "net.safetensors", "--space", "network"]
    if command == "bids":
        call = [*CAM, "--space", "network"]
    else:
        call = [command, "raw", "-o", "maps", *options, "--sessions", "all"]
    assert run(*CAM)[0] == 0
    code, out, err = run(*call)
    assert code == 0, err
    assert "3 scans explained" in out
    name = "sub-03_space-network_res-2mm_desc-cam_heatmap.nii.gz"
    on_grid = nib.load(f"maps/sub-03/anat/{name}")
    assert on_grid.shape == (16, 16, 16)
    assert (on_grid.header["sform_code"], on_grid.header["qform_code"]) == (4, 4)
    assert nib.aff2axcodes(on_grid.affine) == ("R", "A", "S")
    # The same voxels hold the same values: where the grid is, the scan's map has them.
    on_scan = nib.load("maps/sub-03/anat/sub-03_desc-cam_heatmap.nii.gz")
    assert on_scan.shape == data.shape
    places = np.indices(on_grid.shape).reshape(3, -1)
    there = nib.affines.apply_affine(np.linalg.inv(on_scan.affine) @ on_grid.affine, places.T)
    assert np.allclose(there, np.rint(there), atol=1e-4)
    x, y, z = np.rint(there).astype(int).T
    assert np.allclose(on_grid.get_fdata().ravel(), on_scan.get_fdata()[x, y, z], atol=1e-6)
    assert "the network's grid" in sidecars_in("maps")[name.replace(".nii.gz", ".json")]["Resolution"]
    # Neither kind is taken for the other.
    assert "3 were done before" in run(*call)[1]
    assert "3 were done before" in run(*CAM)[1]


def test_a_map_on_the_scan_under_the_name_of_one_on_the_grid_is_not_taken_for_it(raw, run):
    shutil.rmtree(raw / "sub-01")
    shutil.rmtree(raw / "sub-02")
    scan = raw / "sub-03/anat/sub-03_T1w.nii.gz"
    save_in_mni(scan.with_name("sub-03_space-network_res-2mm_T1w.nii.gz"), different_brain(5, (20, 22, 18)))
    scan.unlink()
    assert run(*CAM)[0] == 0
    (name,) = maps_in("maps")
    assert nib.load(Path("maps", name)).shape == (20, 22, 18)
    assert run(*CAM, "--space", "network")[0] == 0
    assert nib.load(Path("maps", name)).shape == (16, 16, 16)


def test_entities_stand_in_the_order_of_bids():
    name = derivative_file("r", "01", "cam", "ses-1_res-2_space-X_foo-1_run-2_seg-a_acq-b").name
    expected = "sub-01_ses-1_acq-b_run-2_foo-1_space-X_seg-a_res-2_desc-cam_heatmap.nii.gz"
    assert name == expected
    name = derivative_file("r", "01", "cam", "stat-t_space-X_contrast-a").name
    assert name == "sub-01_space-X_contrast-a_stat-t_desc-cam_heatmap.nii.gz"
    assert entities_on_grid("ses-1_run-2", 1.5) == "ses-1_run-2_space-network_res-1p5mm"
    assert entities_on_grid("space-X_res-1", 2.0) == "space-X_res-2mm"
    assert entities_on_grid("", None) == "space-network"


@needs_validator
def test_the_official_validator_finds_no_error(raw, run, tmp_path):
    code, _, err = run(*[word for word in CAM if word != "--skip-bids-validation"])
    assert code == 0, err  # which validated the raw data set, too
    assert run(*CAM, "--space", "network")[0] == 0
    assert errors_in(validator(), tmp_path / "maps") == []
    count = as_probabilities(tmp_path / "maps", tmp_path / "probabilities")
    assert count == 20
    assert errors_in(validator(), tmp_path / "probabilities") == []
    # It would have told.
    (wrong,) = (tmp_path / "probabilities").rglob("sub-03_desc-cam_probseg.nii.gz")
    wrong.rename(wrong.with_name("sub-03_desc-cam_space-network_probseg.nii.gz"))
    assert {error["code"] for error in errors_in(validator(), tmp_path / "probabilities")}


@needs_validator
def test_a_data_set_that_the_validator_refuses_is_refused_unless_asked(raw, run):
    (raw / "sub-03/anat/sub-03_T1.nii.gz").write_bytes(b"")
    call = [word for word in CAM if word != "--skip-bids-validation"]
    code, _, err = run(*call)
    assert code == 2
    assert err.count("\n") == 1
    assert "is not a valid BIDS data set" in err
    assert not Path("maps").exists()
    assert run(*CAM)[0] == 0


def break_scan(raw):
    (raw / f"{SCANS[1]}_T1w.nii.gz").write_bytes(b"no scan")


def remove_scans(raw):
    for name in SCANS:
        (raw / f"{name}_T1w.nii.gz").unlink()


@pytest.mark.parametrize(
    ("prepare", "arguments", "words"),
    [
        (None, ["bids", "nothing", "maps"], "no such folder"),
        (lambda raw: Path("empty").mkdir(), ["bids", "empty", "maps"], "holds no folder sub-*"),
        (None, ["bids", "raw", "raw"], "is among the scans"),
        (None, ["bids", "raw", "raw/sub-01/maps"], "is among the scans"),
        (None, ["bids", "raw", "raw/sourcedata"], "is among the scans"),
        (None, ["bids", "raw", "maps", "-w", "raw/sub-01/w"], "--work-dir"),
        (None, ["bids", "raw", "maps", "-w", "net.safetensors"], "--work-dir"),
        (None, ["bids", "raw", "maps", "--participant-label", "01", "99"], "no such participant; it has"),
        (None, ["bids", "raw", "maps", "--session-label", "M99"], "it has M00, M12"),
        (None, ["bids", "raw", "maps", "--derivatives", "fmriprep"], "no such folder"),
        (None, ["bids", "raw", "maps", "--n-cpus", "0"], "--n-cpus must be at least 1"),
        (None, ["bids", "raw", "maps", "--mem-mb", "0"], "--mem-mb must be at least 1"),
        (None, ["bids", "raw", "maps", "--space", "a", "--space", "b"], "--space takes one space of scans"),
        (None, ["bids", "raw", "maps", "--target", "MCI"], "MCI"),
        (remove_scans, ["bids", "raw", "maps"], "3 x no requested T1w scan"),
        (break_scan, ["bids", "raw", "maps", "-q"], "1 scans failed, such as sub-01_ses-M12_acq-fast"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line(raw, run, prepare, arguments, words):
    if prepare is not None:
        prepare(raw)
    arguments = [*arguments[:3], "participant", *CAM[4:], *arguments[3:]]
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1, err
    if prepare is not break_scan:
        assert not list(Path().rglob("*_heatmap*"))


def test_a_scan_that_cannot_be_read_does_not_keep_the_others(raw, run):
    break_scan(raw)
    assert run(*CAM, "-q")[0] == 2
    assert maps_in("maps") == sorted(MAPS[:1] + MAPS[2:])


def test_the_group_level_compares_the_maps_of_the_participant_level(tmp_path, monkeypatch, run):
    pytest.importorskip("nilearn")
    monkeypatch.chdir(tmp_path)
    save_small_network("net.safetensors")
    rows = ["participant_id\tdiagnosis"]
    for number in range(6):
        name = f"sub-{number:02d}"
        save_in_mni(Path(f"raw/{name}/anat/{name}_T1w.nii.gz"), different_brain(number, SHAPE))
        rows.append(f"{name}\t{'AD' if number < 3 else 'NC'}")
    Path("raw/participants.tsv").write_text("\n".join(rows) + "\n")
    Path("raw/dataset_description.json").write_text('{"Name": "blobs", "BIDSVersion": "1.9.0"}')
    assert run(*CAM, "-q")[0] == 0
    code, _, err = run("bids", "raw", "maps", "group")
    assert code == 2
    assert "--contrast 'AD - NC'" in err
    contrast = ("bids", "raw", "maps", "group", "--contrast", "AD - NC")
    code, out, err = run(*contrast)
    assert code == 0, err
    assert "3 AD, 3 NC" in out
    assert "AD - NC" in Path("maps/group/group.html").read_text()
    code, _, err = run(*contrast)
    assert code == 2
    assert "use --overwrite" in err
    save_in_mni(Path("atlas.nii.gz"), 1 + (np.indices(SHAPE)[0] > 10).astype(np.int16))
    Path("atlas.tsv").write_text("index\tname\n1\tLeft\n2\tRight\n")
    code, out, err = run(*contrast, "--regions", "atlas.nii.gz", "--overwrite")
    assert code == 0, err
    assert "of 2 regions with q < 0.05" in out
    assert "Right" in Path("maps/group/group.html").read_text()
    facts = json.loads(Path("maps/group/group.json").read_text())
    assert facts["sample"]["n"] == {"AD": 3, "NC": 3}
    assert Path("maps/group/methods.txt").stat().st_size > 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["everybody"], "LEVEL must be one of participant, group"),
        (["participant"], "needs --model and --method"),
        (["group"], "run the participant level first"),
        (["group", "--participant-label", "01"], "belongs to the participant level"),
        (["group", "--session-label", "M00", "M12"], "give one --session-label"),
    ],
)
def test_levels_and_what_they_need(raw, run, options, words):
    code, _, err = run("bids", "raw", "maps", *options)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_a_folder_without_description_is_refused_unless_asked(raw, run):
    (raw / "dataset_description.json").unlink()
    code, _, err = run(*[word for word in CAM if word != "--skip-bids-validation"])
    assert code == 2
    assert re.search(
        r"raw: is not a BIDS data set; its dataset_description.json .*--skip-bids-validation", err
    )
    assert run(*CAM)[0] == 0


def test_several_values_after_one_option():
    words = [
        "raw",
        "out",
        "participant",
        "--participant-label",
        "01",
        "02",
        "-w",
        "w",
        "--session-label",
        "a",
    ]
    assert spread(words) == [
        "raw", "out", "participant", "--participant-label", "01", "--participant-label", "02", "-w", "w",
        "--session-label", "a",
    ]  # fmt: skip
    assert spread(["--participant-label=01", "02", "-q"]) == [
        "--participant-label=01", "--participant-label", "02", "-q",
    ]  # fmt: skip


def test_cores_and_memory_are_shared_out(raw, run, monkeypatch):
    from pyadx.commands.cohorts import bids_app

    asked = []
    monkeypatch.setattr(bids_app, "run_explain_cohort", asked.append)
    for options in (["--n-cpus", "8"], ["--n-cpus", "8", "--mem-mb", "3500"], ["--mem-mb", "10"]):
        with pytest.raises(AttributeError):  # there is no result
            run(*CAM, *options, "--device", "cpu")
    eight, three, one = (request.workers for request in asked)
    assert (eight.count, eight.threads) == (8, 1)
    assert (three.count, three.threads) == (3, 2)
    assert one.count == 1
    # One scan has all cores.
    assert (eight.at_most(1).count, eight.at_most(1).threads) == (1, 8)
    assert Workers("ray", 8).at_most(1).count == 8


def test_a_run_that_was_killed_goes_on_with_the_scores_in_the_work_folder(raw, run):
    occlusion = [*BIDS, "--method", "occlusion:window=3,stride=2", "--participant-label", "03", "-q"]
    assert run_program([*occlusion[:2], "undisturbed", *occlusion[3:]], chunk=8).returncode == 0
    program = Program([*occlusion, "-w", "work"], chunk=8, hold=4)
    until = time.monotonic() + 60
    while not list(Path("work").rglob("sub-*.scores")):
        assert not program.ended
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(program.pid, signal.SIGKILL)
    assert program.finish().returncode == -signal.SIGKILL
    assert list(Path("work").rglob("*.scores"))
    assert not list(Path("maps").rglob("*.scores"))
    assert run_program([*occlusion, "-w", "work"], chunk=8).returncode == 0
    assert not list(Path("work").rglob("*.scores"))
    (name,) = maps_in("maps")
    assert Path("maps", name).read_bytes() == Path("undisturbed", name).read_bytes()


def test_participants_of_several_processes_share_one_folder(raw, run):
    """As on a cluster: a job for every participant, all begun at once."""
    calls = [Program([*CAM, "--participant-label", label, "-q"]) for label in ("01", "02", "03")]
    for call in calls:
        done = call.finish()
        assert done.returncode == 0, done.stderr
    assert maps_in("maps") == sorted(MAPS)
    assert "5 were done before" in run(*CAM)[1]
