"""Small cohorts on disk, in the layouts that people have."""

import csv

import numpy as np
from commands_support import AFFINE, brain

ADNI_COLUMNS = [
    "Image Data ID", "Subject", "Group", "Sex", "Age", "Visit", "Modality", "Description", "Type",
    "Acq Date", "Format", "Downloaded",
]  # fmt: skip
SERIES = "Spatially Normalized, Masked and N3 corrected T1 image"
FOLDER = "Spatially_Normalized,_Masked_and_N3_corrected_T1_image"


def different_brain(number, shape=(20, 22, 18)):
    """A scan that no other number has."""
    return brain(shape) * np.float32(1 + number / 64)


def save(path, data):
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if path.name.endswith(".mgz") else nib.Nifti1Image
    nib.save(kind(data.astype(np.float32), AFFINE), path)


def adni_row(image, subject, group, date, description=SERIES, visit=1):
    return dict(
        zip(
            ADNI_COLUMNS,
            [image, subject, group, "F", 70, visit, "MRI", description, "Processed", date, "NiFTI", ""],
            strict=True,
        )
    )


def write_table(path, rows, columns=None):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, columns or list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        writer.writerows(rows)


def adni_image(root, subject, image, number, suffix=".nii"):
    folder = root / "ADNI" / subject / FOLDER / "2006-10-27_10_04_12.0" / image
    save(folder / f"ADNI_{subject}_MR_{FOLDER}_Br_2007_S100_{image}{suffix}", different_brain(number))


def plain_cohort(root, per_class=4, shape=(20, 22, 18)):
    """A plain table; patients are darker in one corner, so that a network can learn it."""
    rows = []
    for number in range(2 * per_class):
        label = "AD" if number % 2 else "NC"
        data = different_brain(number, shape)
        if label == "AD":
            data[: shape[0] // 2] *= 0.5
        save(root / "scans" / f"s{number:02}.nii.gz", data)
        rows.append({"path": f"scans/s{number:02}.nii.gz", "subject": f"s{number:02}", "label": label})
    write_table(root / "cohort.csv", rows)
    return root / "cohort.csv"


def labelled_cohort(root, per_class=3, shape=(22, 24, 20)):
    """A BIDS data set with aseg labels; patients have a larger and darker ventricle."""
    import nibabel as nib

    grid = np.indices(shape)
    centre = (np.array(shape) / 2).reshape(3, 1, 1, 1)
    radius = np.sqrt((((grid - centre) / centre) ** 2).sum(0))
    people = []
    for number in range(2 * per_class):
        sick = number % 2
        labels = np.zeros(shape, np.int16)
        labels[(radius >= 0.7) & (radius < 0.9)] = 3
        labels[(radius > 0.4) & (radius < 0.65) & (grid[0] < shape[0] // 2)] = 17
        labels[radius < 0.2 + 0.15 * sick] = 4
        noise = np.random.default_rng(number).random(shape)
        scan = np.where(radius < 0.9, 600 + 50 * noise - 300 * (labels == 4), 0)
        name = f"sub-{number + 1:02}"
        save(root / name / "anat" / f"{name}_T1w.nii.gz", scan)
        aseg = root / "derivatives" / "freesurfer" / name / "mri" / "aseg.mgz"
        aseg.parent.mkdir(parents=True)
        nib.save(nib.MGHImage(labels.astype(np.int32), AFFINE), aseg)
        people.append({"participant_id": name, "group": "AD" if sick else "NC"})
    write_table(root / "participants.tsv", people)
    (root / "dataset_description.json").write_text('{"Name": "blobs", "BIDSVersion": "1.9.0"}')
    return root


def plant_disease(root, name):
    """Give a patient of `labelled_cohort` a twin: no dark ventricle, and another brightest voxel."""
    import nibabel as nib

    from pyadx.data.phantom import planted_file, twin_file

    image = nib.load(root / name / "anat" / f"{name}_T1w.nii.gz")
    scan = image.get_fdata(dtype=np.float32)
    ventricle = (scan > 0) & (scan < 450)
    twin, change = np.where(ventricle, 620, scan), np.where(ventricle, 0.6, 0)
    twin[tuple(np.argwhere(scan > 0)[5])] = 2 * scan.max()
    for path, data in ((twin_file(root, name), twin), (planted_file(root, name), change)):
        save(path, data)


def bids_scans(root, *names):
    """Empty files by these names in a BIDS data set: enough where nobody opens a scan."""
    for name in names:
        subject, *rest = name.split("_")
        sessions = [part for part in rest if part.startswith("ses-")]
        folder = root.joinpath(subject, *sessions, "anat")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_lines(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
