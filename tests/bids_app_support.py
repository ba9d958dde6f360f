"""A BIDS data set of small scans, and its maps as the official validator sees them."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from cohort_trees import different_brain, save
from commands_support import AFFINE

SHAPE = (16, 17, 15)
SCANS = (
    "sub-01/ses-M00/anat/sub-01_ses-M00_acq-fast_run-01",
    "sub-01/ses-M12/anat/sub-01_ses-M12_acq-fast_run-01",
    "sub-02/ses-M00/anat/sub-02_ses-M00_acq-fast_run-01",
    "sub-02/ses-M00/anat/sub-02_ses-M00_run-02",
    "sub-03/anat/sub-03",
)


def bids_data_set(root):
    """Sessions, several scans of a session, and a subject without sessions: valid BIDS."""
    for number, name in enumerate(SCANS):
        save(root / f"{name}_T1w.nii.gz", different_brain(number, SHAPE))
    facts = {"Name": "blobs", "BIDSVersion": "1.9.0", "Authors": ["A", "B"]}
    (root / "dataset_description.json").write_text(json.dumps(facts))
    (root / "README.md").write_text("Blobs for tests of programs; no person was scanned. " * 4)
    return root


def save_in_mni(path, data, sform=4, qform=0, affine=AFFINE):
    """A scan whose header says where it is; codes as NIfTI numbers them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def as_probabilities(maps, target):
    """Copy a data set of maps, called by a suffix that BIDS knows: then the validator checks all of a name.

    BIDS has no name for heatmaps, so that it passes over them. Probability maps take the same entities.
    """
    shutil.copytree(maps, target)
    (target / ".bidsignore").write_text("manifest.jsonl\nexcluded.csv\n")
    found = list(target.rglob("*_heatmap.*"))
    for file in found:
        file.rename(file.with_name(file.name.replace("_heatmap.", "_probseg.")))
    return len(found)


def maps_in(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.nii.gz"))


def sidecars_in(folder):
    return {
        path.name: json.loads(path.read_text()) for path in sorted(Path(folder).rglob("*_heatmap.json"))
    }
