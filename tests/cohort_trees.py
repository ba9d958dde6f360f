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
