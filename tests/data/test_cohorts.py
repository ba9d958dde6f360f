"""What is selected from the layouts that people have, and why the rest is not."""

import numpy as np
import pytest
from cohort_trees import adni_image, adni_row, different_brain, plain_cohort, save, write_table

from pyadx.data.cohort import read_cohort
from pyadx.data.inputs import prepare_scans
from pyadx.models import ModelCard, Preprocessing

nib = pytest.importorskip("nibabel")


def chosen(cohort):
    return {scan.subject: (scan.label, scan.scan_id) for scan in cohort.scans}


def reasons(cohort):
    return sorted((e.subject, e.scan_id, e.reason) for e in cohort.excluded)


@pytest.fixture
def adni(tmp_path):
    rows = [
        adni_row("I300", "001_S_0001", "AD", "3/05/2007", visit=2),
        adni_row("I100", "001_S_0001", "AD", "10/27/2006"),
        adni_row("I101", "001_S_0001", "AD", "10/27/2005", description="MPR; GradWarp; B1 Correction"),
        adni_row("I200", "002_S_0002", "CN", "01/15/2006"),
        adni_row("I201", "002_S_0002", "CN", "01/15/2006"),
        adni_row("I400", "003_S_0003", "MCI", "01/15/2006"),
        adni_row("I500", "004_S_0004", "CN", "01/15/2006"),
        adni_row("I501", "004_S_0004", "CN", "01/15/2008"),
    ]
    write_table(tmp_path / "collection.csv", rows)
    for number, (image, subject) in enumerate(
        [("I300", "001_S_0001"), ("I100", "001_S_0001"), ("I200", "002_S_0002"), ("I201", "002_S_0002"),
         ("I400", "003_S_0003"), ("I501", "004_S_0004")]
    ):  # fmt: skip
        adni_image(tmp_path, subject, image, number)
    return tmp_path


def test_adni_takes_the_earliest_scan_of_the_right_series(adni):
    cohort = read_cohort(adni)
    assert chosen(cohort) == {
        "001_S_0001": ("AD", "I100"),
        "002_S_0002": ("NC", "I200"),
        "004_S_0004": ("NC", "I501"),  # the earlier one has no file, and that is said
    }
    assert reasons(cohort) == [
        ("001_S_0001", "I101", "another series"),
        ("001_S_0001", "I300", "not the earliest scan of its subject"),
        ("002_S_0002", "I201", "not the earliest scan of its subject"),
        ("003_S_0003", "I400", "group MCI"),
        ("004_S_0004", "I500", "no image file"),
    ]
    assert cohort.counts() == {"NC": 2, "AD": 1}
    assert chosen(read_cohort(adni / "collection.csv")) == chosen(cohort)


def test_adni_images_may_lie_elsewhere_and_ids_may_be_bare_numbers(adni, tmp_path_factory):
    other = tmp_path_factory.mktemp("tables")
    text = (adni / "collection.csv").read_text().replace("I100,", "100,")
    (other / "c.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert chosen(read_cohort(other / "c.csv", images=adni))["001_S_0001"] == ("AD", "I100")


def test_three_classes_can_be_asked_for(adni):
    cohort = read_cohort(adni, ("NC", "MCI", "AD"))
    assert cohort.counts() == {"NC": 2, "MCI": 1, "AD": 1}


@pytest.fixture
def bids(tmp_path):
    rows = [
        {"participant_id": "sub-01", "diagnosis": "control"},
        {"participant_id": "sub-02", "diagnosis": "Dementia"},
        {"participant_id": "sub-03", "diagnosis": "AD"},
        {"participant_id": "sub-04", "diagnosis": "unknown"},
        {"participant_id": "sub-05", "diagnosis": "AD"},
    ]
    write_table(tmp_path / "participants.tsv", rows)
    save(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz", different_brain(0))
    save(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz", different_brain(1))
    save(tmp_path / "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz", different_brain(2))
    save(tmp_path / "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii", different_brain(3))
    save(tmp_path / "sub-03/ses-m00/anat/sub-03_ses-m00_T1w.mgz", different_brain(4))
    save(tmp_path / "sub-03/ses-m12/anat/sub-03_ses-m12_T1w.nii.gz", different_brain(5))
    write_table(
        tmp_path / "sub-03/sub-03_sessions.tsv",
        [
            {"session_id": "ses-m00", "acq_time": "2010-05-01T10:00:00"},
            {"session_id": "ses-m12", "acq_time": "2009-05-01T10:00:00"},
        ],
    )
    save(tmp_path / "sub-04/anat/sub-04_T1w.nii.gz", different_brain(6))
    save(tmp_path / "sub-99/anat/sub-99_T1w.nii.gz", different_brain(7))
    save(tmp_path / "derivatives/prep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", different_brain(8))
    save(tmp_path / "derivatives/prep/sub-03/anat/sub-03_desc-preproc_T1w.nii.gz", different_brain(9))
    return tmp_path


def test_bids_takes_the_earliest_session(bids):
    cohort = read_cohort(bids)
    assert chosen(cohort) == {
        "sub-01": ("NC", "sub-01/anat/sub-01_T1w.nii.gz"),
        "sub-02": ("AD", "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii"),
        "sub-03": ("AD", "sub-03/ses-m12/anat/sub-03_ses-m12_T1w.nii.gz"),  # by its date, not its name
    }
    assert reasons(cohort) == [
        ("sub-02", "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz", "not the earliest scan of its subject"),
        ("sub-03", "sub-03/ses-m00/anat/sub-03_ses-m00_T1w.mgz", "not the earliest scan of its subject"),
        ("sub-04", "sub-04/anat/sub-04_T1w.nii.gz", "group unknown"),
        ("sub-05", "", "no T1w scan"),
        ("sub-99", "", "not in participants.tsv"),
    ]


def test_bids_derivatives(bids):
    cohort = read_cohort(bids, derivative="prep")
    assert set(chosen(cohort)) == {"sub-01", "sub-03"}
    assert all("desc-preproc" in scan.path.name for scan in cohort.scans)


def test_a_plain_table(tmp_path):
    cohort = read_cohort(plain_cohort(tmp_path, 3))
    assert cohort.counts() == {"NC": 3, "AD": 3}


def card(**changes):
    return ModelCard("resnet-gap", (20, 22, 18), preprocessing=Preprocessing("max", 2.0), **changes)


def test_the_same_image_under_two_subjects_is_refused(tmp_path):
    table = plain_cohort(tmp_path, 2)
    image = nib.load(tmp_path / "scans/s00.nii.gz")
    nib.save(image, tmp_path / "scans/s02.nii.gz")  # another name, other compressed bytes perhaps
    with pytest.raises(ValueError, match="hold the same image, as subjects s00 and s02"):
        prepare_scans(read_cohort(table), card())


def test_unreadable_scans_are_all_named_or_left_out_and_listed(tmp_path):
    table = plain_cohort(tmp_path, 3)
    for number in (1, 4):
        (tmp_path / f"scans/s{number:02}.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ValueError, match=r"2 of 6 scans cannot be read: .*s01.*s04.*--skip-unreadable"):
        prepare_scans(read_cohort(table), card())
    scans = prepare_scans(read_cohort(table), card(), skip_unreadable=True)
    assert [scan.subject for scan in scans.scans] == ["s00", "s02", "s03", "s05"]
    assert [e.subject for e in scans.unreadable] == ["s01", "s04"]
    assert scans.volumes.shape == (4, 20, 22, 18)


def test_differing_voxel_sizes_need_a_spacing(tmp_path):
    table = plain_cohort(tmp_path, 2)
    image = nib.load(tmp_path / "scans/s00.nii.gz")
    affine = image.affine.copy()
    affine[:3, :3] *= 1.5
    nib.save(nib.Nifti1Image(image.get_fdata(), affine), tmp_path / "scans/s00.nii.gz")
    bare = ModelCard("resnet-gap", (20, 22, 18), preprocessing=Preprocessing("max", None))
    with pytest.raises(ValueError, match="voxel sizes differ"):
        prepare_scans(read_cohort(table), bare)


def test_a_memory_mapped_cache_gives_the_same_and_notices_changes(tmp_path):
    cohort = read_cohort(plain_cohort(tmp_path, 2))
    memory = prepare_scans(cohort, card())
    first = prepare_scans(cohort, card(), cache=tmp_path / "cache")
    assert (first.volumes == memory.volumes).all()
    assert first.hashes == memory.hashes
    read = []
    again = prepare_scans(cohort, card(), cache=tmp_path / "cache", advance=read.append)
    assert read == [4]  # all at once: nothing was read again
    assert (again.volumes == memory.volumes).all()
    save(tmp_path / "scans/s00.nii.gz", different_brain(40))
    changed = prepare_scans(cohort, card(), cache=tmp_path / "cache")
    assert changed.hashes[0] != memory.hashes[0]
    assert (changed.volumes[0] != memory.volumes[0]).any()


def test_a_strict_run_after_a_lenient_one_refuses_as_it_would_without_a_cache(tmp_path):
    table = plain_cohort(tmp_path, 3)
    for number in (1, 4):
        (tmp_path / f"scans/s{number:02}.nii.gz").write_bytes(b"no scan")
    cohort, cache = read_cohort(table), tmp_path / "cache"
    with pytest.raises(ValueError) as without:
        prepare_scans(cohort, card())
    with pytest.raises(ValueError, match="2 of 6 scans cannot be read"):
        prepare_scans(cohort, card(), cache=cache)
    assert not cache.exists()  # nothing that was not asked for
    lenient = prepare_scans(cohort, card(), cache=cache, skip_unreadable=True)
    assert len(lenient.scans) == 4
    with pytest.raises(ValueError) as strict:
        prepare_scans(cohort, card(), cache=cache)
    assert str(strict.value) == str(without.value)
    again = prepare_scans(cohort, card(), cache=cache, skip_unreadable=True)
    assert again.unreadable == lenient.unreadable
    save(tmp_path / "scans/s01.nii.gz", different_brain(41))
    save(tmp_path / "scans/s04.nii.gz", different_brain(42))
    assert len(prepare_scans(cohort, card(), cache=cache).scans) == 6  # mended


def test_a_cache_notices_that_one_file_of_a_pair_changed(tmp_path):
    table = plain_cohort(tmp_path, 2)
    image = nib.load(tmp_path / "scans/s00.nii.gz")
    pair = tmp_path / "scans/s00.hdr"
    nib.save(nib.Nifti1Pair(image.get_fdata(dtype="f4"), image.affine), pair)
    table.write_text(table.read_text().replace("s00.nii.gz", "s00.hdr"))
    cohort = read_cohort(table)
    first = prepare_scans(cohort, card(), cache=tmp_path / "cache")
    voxels = pair.with_suffix(".img")
    voxels.write_bytes((np.frombuffer(voxels.read_bytes(), "<f4") * 2).tobytes())  # the header stays
    again = prepare_scans(cohort, card(), cache=tmp_path / "cache")
    assert again.hashes[0] != first.hashes[0]


def bad(change):
    def make(root):
        table = plain_cohort(root, 2)
        table.write_text(change(table.read_text()))
        return table

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", "no such cohort"),
        (lambda root: root, "neither participants.tsv nor an ADNI table"),
        (bad(lambda t: t.replace("label", "kind")), "no column label; its columns are path, subject, kind"),
        (bad(lambda t: t.replace("AD", "MCI")), "no usable scan of AD; groups found: MCI, NC"),
        (bad(lambda t: t.replace("s00,NC", "s00,")), "line 2 has no label"),
        (bad(lambda t: t.replace("scans/s00", "../s00")), "leads out of the table's folder"),
        (bad(lambda t: t.splitlines()[0]), "the table has no rows"),
        (bad(lambda t: t.replace("scans/", "nowhere/")), "left out: 4 x no image file"),
        (bad(lambda t: t.replace("label", "label,date").replace("NC", "NC,May")), "'May' is not a date"),
    ],
)  # fmt: skip
def test_bad_tables_are_told(make, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_cohort(make(tmp_path))


def test_bad_adni_tables_are_told(adni):
    table = adni / "collection.csv"
    text = table.read_text()
    table.write_text(text.replace("Acq Date", "When"))
    with pytest.raises(ValueError, match="has no column Acq Date"):
        read_cohort(adni)
    table.write_text(text.replace("10/27/2006", "last May"))
    with pytest.raises(ValueError, match="line 3: Acq Date 'last May' is not a date"):
        read_cohort(adni)


def test_bad_bids_tables_are_told(bids):
    with pytest.raises(ValueError, match="has no column stage; its columns are participant_id, diagnosis"):
        read_cohort(bids, group_column="stage")
    with pytest.raises(ValueError, match="no such folder"):
        read_cohort(bids, derivative="nothing")
    table = bids / "participants.tsv"
    table.write_text(table.read_text() + "sub-01\tAD\n")
    with pytest.raises(ValueError, match="sub-01 is listed twice"):
        read_cohort(bids)


def test_files_that_macos_leaves_beside_images_are_passed_over(adni):
    for image in list(adni.rglob("*.nii")):
        image.with_name(f"._{image.name}").write_bytes(b"no image")
    assert all(not scan.path.name.startswith(".") for scan in read_cohort(adni).scans)


def test_an_image_named_after_its_id_goes_before_others_and_several_are_told(adni):
    (image,) = adni.rglob("*_I100.nii")
    image.with_name("A_mask.nii").write_bytes(b"")
    assert {scan.path for scan in read_cohort(adni).scans} >= {image}
    image.with_name("ADNI_other_I100.nii").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 image ids have several files; the first is used"):
        assert {scan.path for scan in read_cohort(adni).scans} >= {image}


def test_adni_columns_in_capitals_and_other_tables_in_the_folder_do_no_harm(adni):
    table = adni / "collection.csv"
    before = chosen(read_cohort(adni))
    table.write_text(table.read_text().replace("Image Data ID", "IMAGE DATA ID"))
    table.rename(adni / "collection.CSV")
    (adni / "notes.csv").write_bytes(b"M\xfcller\n")
    assert chosen(read_cohort(adni)) == before


def test_adni_and_plain_tables_take_another_column_and_every_scan(adni, tmp_path_factory):
    cohort = read_cohort(adni, None, sessions="all")
    assert [scan.scan_id for scan in cohort.scans] == ["I100", "I300", "I200", "I201", "I400", "I501"]
    assert cohort.scans[0].entities == "acq-I100"
    with pytest.raises(ValueError, match="no usable scan of NC and AD; groups found: F"):
        read_cohort(adni, group_column="Sex")
    table = plain_cohort(tmp_path_factory.mktemp("plain"), 2)
    text = table.read_text().replace("label", "dx")
    table.write_text(text)
    assert read_cohort(table, group_column="dx").counts() == {"NC": 2, "AD": 2}
    assert {scan.label for scan in read_cohort(table, None).scans} == {""}


def plain_dates(root, *dates):
    table = plain_cohort(root, 2)
    rows = ["path,subject,label,date", *(f"scans/s0{i}.nii.gz,s,NC,{d}" for i, d in enumerate(dates))]
    table.write_text("\n".join([*rows, "scans/s03.nii.gz,t,AD,"]) + "\n")
    return table


def test_times_of_plain_tables_count_within_a_day(tmp_path):
    table = plain_dates(tmp_path, "2010-01-01T10:00:00", "2010-01-01T09:00:00")
    assert chosen(read_cohort(table))["s"] == ("NC", "scans/s01.nii.gz")
    table = plain_dates(tmp_path, "2010-01-01 at noon")
    with pytest.raises(ValueError, match=r"cohort\.csv: line 2: date '2010-01-01 at noon' is not a date"):
        read_cohort(table)


def test_scans_of_plain_tables_without_dates_are_told(tmp_path):
    with pytest.warns(
        UserWarning, match="1 of 2 subjects have several scans without dates; the first by name"
    ):
        cohort = read_cohort(plain_dates(tmp_path, "", "n/a"))
    assert reasons(cohort) == [
        ("s", "scans/s01.nii.gz", "without dates another scan of its subject was taken")
    ]
    with pytest.warns(UserWarning, match="1 of 2 subjects have scans with and without a date"):
        cohort = read_cohort(plain_dates(tmp_path, "", "2010-01-01"))
    assert reasons(cohort) == [
        ("s", "scans/s00.nii.gz", "without a date, unlike another scan of its subject")
    ]
