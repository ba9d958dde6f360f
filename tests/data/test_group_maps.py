"""Whose a heatmap is, and what a table says of its subject."""

import json

import pytest

from pyadx.data.group_maps import map_file, maps_below, subject_label
from pyadx.data.participants import parse_contrast, read_people


@pytest.mark.parametrize(
    ("text", "groups"),
    [("AD - NC", ("AD", "NC")), ("AD-NC", ("AD", "NC")), (" AD  -  post-op ", ("AD", "post-op"))],
)
def test_a_contrast_names_two_groups(text, groups):
    assert parse_contrast(text) == groups


@pytest.mark.parametrize("text", ["AD", "AD - ", "AD - NC - MCI", "AD - AD", "post-op-AD"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="must name two groups"):
        parse_contrast(text)


def test_a_map_says_whose_it_is_by_its_name_or_by_that_of_the_scan(tmp_path):
    named = map_file(tmp_path / "sub-01_ses-M00_space-MNI_res-2_desc-cam_heatmap.nii.gz")
    assert (named.subject, named.entities["ses"], named.space) == ("sub-01", "M00", "MNI_res-2")
    assert named.facts is None
    facts = {"method": "cam", "scan": {"file": "sub-02_ses-M12_T1w.nii.gz"}}
    (tmp_path / "heat.json").write_text(json.dumps(facts))
    told = map_file(tmp_path / "heat.nii.gz")
    assert (told.subject, told.entities["ses"], told.space) == ("sub-02", "M12", "")
    assert map_file(tmp_path / "x.nii", "S_03").label == subject_label("sub-S-03") == "sub-S03"
    with pytest.raises(ValueError, match="its subject is unknown"):
        map_file(tmp_path / "x.nii")


def test_json_of_other_programs_is_no_sidecar_and_broken_json_is_told(tmp_path):
    note = tmp_path / "sub-01_heatmap.json"
    note.write_text(json.dumps({"PatientName": "somebody"}))
    assert map_file(tmp_path / "sub-01_heatmap.nii.gz").facts is None
    note.write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        map_file(tmp_path / "sub-01_heatmap.nii.gz")


def test_heatmaps_are_found_before_other_images(tmp_path):
    (tmp_path / "sub-01").mkdir()
    names = [
        "sub-01/sub-01_desc-cam_heatmap.nii.gz",
        "sub-01/sub-01_T1w.nii.gz",
        "sub-01/.partial-x-heatmap.nii",
    ]
    for name in names:
        (tmp_path / name).touch()
    assert maps_below(tmp_path) == [tmp_path / names[0]]
    (tmp_path / names[0]).unlink()
    assert maps_below(tmp_path) == [tmp_path / names[1]]


def test_numbers_are_names_where_the_table_says_so(tmp_path):
    table = tmp_path / "participants.tsv"
    table.write_text(
        "participant_id\tdiagnosis\tsite\tscanner\tage\n01\tAD\t1\t3\tn/a\nsub-02\tn/a\t2\t1\t70\n"
    )
    (tmp_path / "participants.json").write_text(
        json.dumps({"site": {"Levels": {"1": "A"}}, "age": "years"})
    )
    people = read_people(table, None, ["site", "scanner:category", "age"])
    assert people.groups == {"sub-01": "AD", "sub-02": ""}
    assert people.categories == {"site", "scanner"}
    assert people.covariates["age"] == {"sub-01": "", "sub-02": "70"}
    with pytest.raises(ValueError, match="names a column twice"):
        read_people(table, None, ["age", "age"])
    with pytest.raises(ValueError, match="has no column dx2"):
        read_people(table, "dx2")
