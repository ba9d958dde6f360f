"""Which scans of a BIDS data set are taken: sessions, dates, spaces, diagnoses; and what is said of it."""

import warnings

import pytest
from cohort_trees import bids_scans, write_lines

from pyadx.data.cohort import read_cohort

PEOPLE = ["participant_id\tgroup", "sub-1\tNC", "sub-2\tAD"]


@pytest.fixture
def bids(tmp_path):
    """Two subjects; the second has one scan, so that every test is about the first."""
    write_lines(tmp_path / "participants.tsv", *PEOPLE)
    bids_scans(tmp_path, "sub-2_T1w.nii.gz")
    return tmp_path


def taken(cohort, subject="sub-1"):
    (found,) = (scan.path.name for scan in cohort.scans if scan.subject == subject)
    return found


def reasons(cohort):
    return {exclusion.scan_id.rpartition("/")[2]: exclusion.reason for exclusion in cohort.excluded}


def quietly(root, *more, **options):
    """Read a cohort about which nothing is doubtful."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_cohort(root, *more, **options)


def test_quotes_in_participants_swallow_nobody(tmp_path):
    """A comment in inches: without care 8 subjects become 5, and a patient becomes a control."""
    groups = ["NC", "AD"] * 4
    lines = [f"sub-0{i}\t{group}\t" for i, group in enumerate(groups, 1)]
    lines[2] = 'sub-03\tAD\t"big head'
    lines[5] = 'sub-06\tNC\t5" coil'
    write_lines(tmp_path / "participants.tsv", "participant_id\tgroup\tcomment", *lines)
    bids_scans(tmp_path, *(f"sub-0{i}_T1w.nii.gz" for i in range(1, 9)))
    cohort = quietly(tmp_path)
    assert cohort.labels == {
        "sub-01": "NC", "sub-02": "AD", "sub-03": "AD", "sub-04": "AD", "sub-05": "NC", "sub-06": "NC",
        "sub-07": "NC", "sub-08": "AD",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("participants.tsv", [*PEOPLE, "sub-3"], r"participants\.tsv: line 4 has 1 cells, fewer"),
        ("participants.tsv", [*PEOPLE, "\tAD"], r"participants\.tsv: line 4 has no participant_id"),
        ("participants.tsv", [*PEOPLE, "", "2\tAD"], r"line 5: sub-2 is listed twice, first in line 3"),
        (
            "sub-1/sub-1_sessions.tsv",
            ["session_id\tacq_time", "ses-1\t2010-01-01\tx"],
            r"sub-1_sessions\.tsv: line 2 has 3 cells",
        ),
        (
            "sub-1/sub-1_sessions.tsv",
            ["session_id\tacq_time", "ses-1\t2010-01-01", "1\t2011-01-01"],
            r"sub-1_sessions\.tsv: line 3: ses-1 is listed twice and differently, first in line 2",
        ),
        (
            "sub-1/ses-2/sub-1_ses-2_scans.tsv",
            ["filename\tacq_time", "anat/sub-1_ses-2_T1w.nii.gz"],
            r"sub-1_ses-2_scans\.tsv: line 2 has 1 cells",
        ),
    ],
)  # fmt: skip
def test_defects_of_every_table_are_told_by_file_and_line(bids, name, lines, words):
    bids_scans(bids, "sub-1_ses-1_T1w.nii.gz", "sub-1_ses-2_T1w.nii.gz")
    write_lines(bids / name, *lines)
    with pytest.raises(ValueError, match=words):
        read_cohort(bids)


@pytest.mark.parametrize("names", [("ses-2", "ses-10"), ("ses-M96", "ses-M108"), ("ses-9", "ses-010")])
def test_sessions_without_dates_are_in_natural_order(bids, names):
    first, second = (f"sub-1_{name}_T1w.nii.gz" for name in names)
    bids_scans(bids, first, second)
    cohort = quietly(bids)
    assert taken(cohort) == first
    assert reasons(cohort)[second] == "not the earliest scan of its subject"


def test_names_that_do_not_say_which_came_first_are_told(bids):
    bids_scans(bids, "sub-1_ses-screening_T1w.nii", "sub-1_ses-m12_T1w.nii")
    with pytest.warns(
        UserWarning, match=r"1 of 2 subjects have sessions without dates whose names do not say"
    ):
        assert taken(read_cohort(bids)) == "sub-1_ses-m12_T1w.nii"


def sessions(bids, *dates, name="sub-1/sub-1_sessions.tsv"):
    write_lines(
        bids / name,
        "session_id\tacq_time",
        *(f"ses-{i}\t{date}" for i, date in enumerate(dates, 1)),
    )


def test_dates_that_are_not_iso_are_refused_by_line(bids):
    """As text 01/03/2011 sorts before 15/12/2010."""
    bids_scans(bids, "sub-1_ses-1_T1w.nii", "sub-1_ses-2_T1w.nii")
    sessions(bids, "15/12/2010", "01/03/2011")
    with pytest.raises(
        ValueError, match=r"sub-1_sessions\.tsv: line 2: acq_time '15/12/2010' is not a date"
    ):
        read_cohort(bids)


def test_a_date_that_decides_nothing_is_told_and_passed_over(bids):
    bids_scans(bids, "sub-1_ses-1_T1w.nii")
    sessions(bids, "15/12/2010")
    with pytest.warns(UserWarning, match=r"1 unreadable dates are ignored.*line 2: acq_time '15/12/2010'"):
        assert taken(read_cohort(bids)) == "sub-1_ses-1_T1w.nii"


def test_dates_decide_before_names_and_times_within_a_day(bids):
    bids_scans(bids, "sub-1_ses-1_T1w.nii", "sub-1_ses-2_T1w.nii")
    sessions(bids, "2010-12-15T10:00:00", "2010-12-15T09:59:59.5")
    assert taken(quietly(bids)) == "sub-1_ses-2_T1w.nii"
    sessions(bids, "2010-12-15T10:00:00Z", "2010-12-15T11:30:00+02:00")
    assert taken(quietly(bids)) == "sub-1_ses-2_T1w.nii"


def test_sessions_of_which_some_have_dates_are_told(bids):
    bids_scans(bids, *(f"sub-1_ses-{i}_T1w.nii" for i in (1, 2, 3)))
    sessions(bids, "n/a", "2010-01-01", "2011-01-01")
    with pytest.warns(
        UserWarning, match=r"1 of 2 subjects have sessions with and without a date; their names"
    ):
        assert taken(read_cohort(bids)) == "sub-1_ses-1_T1w.nii"
    # Where names and dates contradict each other, names tell nothing about those without a date.
    sessions(bids, "n/a", "2011-01-01", "2010-01-01")
    with pytest.warns(UserWarning, match=r"one with a date counts as the earliest \(sub-1: ses-3\)"):
        assert taken(read_cohort(bids)) == "sub-1_ses-3_T1w.nii"


def test_sessions_that_the_table_does_not_list_are_told(bids):
    bids_scans(bids, "sub-1_ses-1_T1w.nii", "sub-1_ses-2_T1w.nii")
    sessions(bids, "2010-01-01")
    with pytest.warns(
        UserWarning, match=r"1 T1w scans belong to sessions that are not in sessions.tsv \(sub-1: ses-2"
    ):
        assert taken(read_cohort(bids)) == "sub-1_ses-1_T1w.nii"


def test_session_ids_without_their_prefix_are_understood(bids):
    bids_scans(bids, "sub-1_ses-1_T1w.nii", "sub-1_ses-2_T1w.nii")
    write_lines(bids / "sub-1/sub-1_sessions.tsv", "session_id\tacq_time", "1\t2011-01-01", "2\t2010-01-01")
    assert taken(quietly(bids)) == "sub-1_ses-2_T1w.nii"


@pytest.mark.parametrize(
    "prefix",
    ["anat/", "ses-{n}/anat/", "sub-1/ses-{n}/anat/", "./anat/", "", "anat\\", "/d/sub-1/ses-{n}/anat/"],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_rows_of_scans_tsv_are_found_under_any_prefix(bids, prefix, suffix):
    for n, date in ((1, "2011-01-01T00:00:00"), (2, "2010-01-01T00:00:00")):
        name = f"sub-1_ses-{n}"
        bids_scans(bids, f"{name}_T1w.nii.gz")
        write_lines(
            bids / f"sub-1/ses-{n}/{name}_scans.tsv",
            "filename\tacq_time",
            f"func/{name}_task-rest_bold.nii.gz\tnever",
            f"{prefix.format(n=n)}{name}_T1w{suffix}\t{date}",
        )
    assert taken(quietly(bids)) == "sub-1_ses-2_T1w.nii.gz"


def test_rows_of_scans_tsv_without_a_file_are_told(bids):
    bids_scans(bids, "sub-1_T1w.nii")
    write_lines(
        bids / "sub-1/sub-1_scans.tsv", "filename\tacq_time", "anat/sub-1_run-1_T1w.nii\t2010-01-01"
    )
    with pytest.warns(
        UserWarning, match=r"1 T1w scans in scans.tsv have no file.*line 2: anat/sub-1_run-1"
    ):
        cohort = read_cohort(bids)
    assert reasons(cohort)["sub-1_run-1_T1w.nii"] == "listed in scans.tsv, but there is no such file"


def test_times_that_contradict_each_other_are_refused(bids):
    bids_scans(bids, "sub-1_T1w.nii")
    row = "anat/sub-1_T1w.nii\t20{}-01-01"
    write_lines(bids / "sub-1/sub-1_scans.tsv", "filename\tacq_time", row.format(10), row.format(11))
    with pytest.raises(ValueError, match=r"scans\.tsv: line 3: .* and another one at .*line 2"):
        read_cohort(bids)


def test_scans_of_one_session_are_told_apart_in_the_reasons(bids):
    bids_scans(bids, "sub-1_run-1_T1w.nii", "sub-1_run-2_T1w.nii", "sub-1_run-1_T1w.NII.GZ")
    assert reasons(quietly(bids)) == {
        "sub-1_run-2_T1w.nii": "another scan of its session was taken",
        "sub-1_run-1_T1w.nii": "the same scan in another file format",
    }


@pytest.mark.parametrize("suffix", [".NII.GZ", ".Nii", ".MGZ", ".mgh", ".hdr"])
def test_capitals_and_all_kinds_of_scan_files_count(bids, suffix):
    bids_scans(bids, f"sub-1_T1w{suffix}", "sub-1_T1w.json", "sub-1_T2w.nii", "sub-1_T1w.img")
    assert taken(quietly(bids)) == f"sub-1_T1w{suffix}"


@pytest.fixture
def prep(bids):
    """What fMRIPrep leaves: no tables; scans in native and in standard space."""
    bids_scans(bids, "sub-1_ses-1_T1w.nii.gz", "sub-1_ses-2_T1w.nii.gz")
    root = bids / "derivatives/prep"
    bids_scans(root, "sub-2_desc-preproc_T1w.nii.gz")
    bids_scans(root, *(f"sub-1_ses-{i}_desc-preproc_T1w.nii.gz" for i in (1, 2)))
    return bids


def test_derivatives_take_their_dates_from_the_raw_data(prep):
    sessions(prep, "2011-01-01", "2010-01-01")
    assert taken(quietly(prep)) == "sub-1_ses-2_T1w.nii.gz"
    assert taken(quietly(prep, derivative="prep")) == "sub-1_ses-2_desc-preproc_T1w.nii.gz"
    (prep / "sub-1/sub-1_sessions.tsv").unlink()
    for n, date in ((1, "2011-01-01"), (2, "2010-01-01")):
        table = prep / f"sub-1/ses-{n}/sub-1_ses-{n}_scans.tsv"
        write_lines(table, "filename\tacq_time", f"anat/sub-1_ses-{n}_T1w.nii.gz\t{date}")
    assert taken(quietly(prep, derivative="prep")) == "sub-1_ses-2_desc-preproc_T1w.nii.gz"


MNI = "space-MNI152NLin2009cAsym"


def test_several_spaces_are_refused_until_one_is_chosen(prep):
    root = prep / "derivatives/prep"
    bids_scans(
        root, f"sub-2_{MNI}_res-2_desc-preproc_T1w.nii.gz", f"sub-2_{MNI}_res-1_desc-preproc_T1w.nii.gz"
    )
    words = r"several spaces \(2 x MNI152NLin2009cAsym, 3 x native\); choose one with --space native"
    with pytest.raises(ValueError, match=words):
        read_cohort(prep, derivative="prep")
    native = quietly(prep, derivative="prep", space="native")
    assert taken(native, "sub-2") == "sub-2_desc-preproc_T1w.nii.gz"
    assert reasons(native)[f"sub-2_{MNI}_res-2_desc-preproc_T1w.nii.gz"] == (
        f"another space: {MNI}_res-2_desc-preproc"
    )
    bids_scans(root, f"sub-1_ses-1_{MNI}_res-2_desc-preproc_T1w.nii.gz")
    with pytest.raises(
        ValueError, match=r"sub-2 has 2 versions of one T1w scan .*--space MNI152NLin2009cAsym:res-2"
    ):
        read_cohort(prep, derivative="prep", space="MNI152NLin2009cAsym")
    chosen = quietly(prep, derivative="prep", space="MNI152NLin2009cAsym:res-2")
    assert taken(chosen, "sub-2") == f"sub-2_{MNI}_res-2_desc-preproc_T1w.nii.gz"
    with pytest.raises(
        ValueError, match=r"no T1w scan is in space T1w; there are 1 x MNI152NLin2009cAsym:res-1"
    ):
        read_cohort(prep, derivative="prep", space="T1w")


def test_several_descriptions_are_refused_until_one_is_chosen(prep):
    bids_scans(prep / "derivatives/prep", "sub-2_desc-brain_T1w.nii.gz")
    with pytest.raises(ValueError, match=r"sub-2 has 2 versions .*native:desc-brain, native:desc-preproc"):
        read_cohort(prep, derivative="prep")
    cohort = quietly(prep, derivative="prep", space="native:desc-preproc")
    assert reasons(cohort)["sub-2_desc-brain_T1w.nii.gz"] == "another space: native_desc-brain"


@pytest.mark.parametrize("space", ["", ":res-2", "MNI:res", "MNI:-2"])
def test_a_space_that_is_none_is_refused(prep, space):
    with pytest.raises(ValueError, match="--space must be"):
        read_cohort(prep, derivative="prep", space=space)


@pytest.fixture
def clinica(tmp_path):
    """Diagnoses per session, as Clinica's converters write them."""
    write_lines(tmp_path / "participants.tsv", "participant_id\tsex", "sub-1\tF", "sub-2\tM", "sub-3\tF")
    for subject, first, second in (("sub-1", "CN", "MCI"), ("sub-2", "AD", "AD"), ("sub-3", "n/a", "AD")):
        bids_scans(tmp_path, f"{subject}_ses-M000_T1w.nii.gz", f"{subject}_ses-M012_T1w.nii.gz")
        write_lines(
            tmp_path / subject / f"{subject}_sessions.tsv",
            "session_id\tage\tdiagnosis",
            f"ses-M000\t70\t{first}",
            f"ses-M006\t70.5\t{first}",
            f"ses-M012\t71\t{second}",
        )
    return tmp_path


@pytest.mark.parametrize("column", [None, "diagnosis", "Diagnosis"])
def test_a_diagnosis_per_session_is_that_of_the_scan(clinica, column):
    cohort = quietly(clinica, group_column=column)
    assert cohort.labels == {"sub-1": "NC", "sub-2": "AD"}
    assert ("sub-3", "group n/a") in {(e.subject, e.reason) for e in cohort.excluded}
    bids_scans(clinica / "derivatives/prep", *(f"sub-{i}_ses-M012_desc-x_T1w.nii" for i in (1, 2, 3)))
    cohort = quietly(clinica, ("MCI", "AD"), derivative="prep", group_column=column)
    assert cohort.labels == {"sub-1": "MCI", "sub-2": "AD", "sub-3": "AD"}


def test_a_session_without_a_row_has_no_diagnosis_and_that_is_said(clinica):
    bids_scans(clinica, "sub-4_ses-M000_T1w.nii")
    write_lines(clinica / "participants.tsv", "participant_id", "sub-1", "sub-2", "sub-3", "sub-4")
    assert "no diagnosis: no sessions.tsv with a diagnosis" in {e.reason for e in quietly(clinica).excluded}


def test_a_column_that_no_table_has_is_refused(clinica):
    words = r"participants\.tsv: has no column dx2; its columns are participant_id, sex; no sub-"
    with pytest.raises(ValueError, match=words):
        read_cohort(clinica, group_column="dx2")


def test_every_scan_can_be_taken_without_any_diagnosis(clinica):
    write_lines(clinica / "participants.tsv", "participant_id", "sub-1", "sub-2", "sub-3")
    for table in clinica.glob("sub-*/*_sessions.tsv"):
        table.unlink()
    with pytest.raises(ValueError, match="has no column group"):
        read_cohort(clinica)
    cohort = quietly(clinica, None)
    assert [scan.session for scan in cohort.scans] == ["ses-M000"] * 3
    cohort = quietly(clinica, None, sessions="all")
    assert [(scan.subject, scan.entities) for scan in cohort.scans] == [
        (f"sub-{i}", f"ses-{name}") for i in (1, 2, 3) for name in ("M000", "M012")
    ]
    assert {scan.label for scan in cohort.scans} == {""}
    # Without participants.tsv, who has a folder takes part.
    (clinica / "participants.tsv").unlink()
    assert len(quietly(clinica, None, sessions="all").scans) == 6


def test_labels_are_kept_where_they_are_known(clinica):
    cohort = quietly(clinica, None, sessions="all")
    assert [scan.label for scan in cohort.scans] == ["CN", "MCI", "AD", "AD", "n/a", "AD"]


def test_entities_tell_scans_of_a_subject_apart(bids):
    bids_scans(bids, "sub-1_ses-1_acq-fast_run-01_T1w.nii", "sub-1_ses-1_acq-fast_run-02_T1w.nii")
    names = [s.entities for s in quietly(bids, None, sessions="all").scans]
    assert names == ["ses-1_acq-fast_run-01", "ses-1_acq-fast_run-02", ""]


def test_options_that_would_have_no_effect_are_refused(bids, tmp_path):
    with pytest.raises(ValueError, match="is a BIDS data set, to which --images does not apply"):
        read_cohort(bids, images=tmp_path)
    write_lines(tmp_path / "t.csv", "path,subject,label", "a.nii,s1,NC")
    with pytest.raises(
        ValueError, match="is a plain table, to which --derivative and --space does not apply"
    ):
        read_cohort(tmp_path / "t.csv", derivative="prep", space="native")
    with pytest.raises(ValueError, match="--sessions must be one of earliest, all"):
        read_cohort(bids, sessions="first")
