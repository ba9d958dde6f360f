"""Small synthetic heatmaps of two groups, with or without a planted difference."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

AFFINE = np.array([[-2.0, 0, 0, 12], [0, 2, 0, -12], [0, 0, 2, -10], [0, 0, 0, 1]])
SHAPE = (12, 11, 10)
KEY = "index\tname\n1\tHippocampus_L\n2\tHippocampus_R\n3\tVermis\n"


def sidecar(target="AD", predicted="AD", weights="ab" * 32, spelling="occlusion"):
    """What of a sidecar a group needs."""
    classes = {"NC": 0.2, "AD": 0.8} if predicted == "AD" else {"NC": 0.8, "AD": 0.2}
    return {
        "method": "occlusion",
        "spelling": spelling,
        "target": {"index": 1, "name": target},
        "prediction": classes,
        "model": {"file": "net.safetensors", "architecture": "vggnet", "weights_sha256": weights},
    }


def labels():
    """An atlas of three regions."""
    found = np.zeros(SHAPE, np.int16)
    found[1:4, 3:8, 3:7], found[8:11, 3:8, 3:7], found[5:7, 2:5, 3:7] = 1, 2, 3
    return found


def save_map(path, values, facts=None, affine=AFFINE):
    """Write a heatmap and its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(values, np.float32), affine), path)
    if facts is not None:
        path.with_name(path.name.removesuffix(".nii.gz") + ".json").write_text(json.dumps(facts))


def map_name(number, space="space-MNI_"):
    return f"sub-{number:02d}_{space}desc-occlusion_heatmap.nii.gz"


def group_maps(folder, subjects=24, effect=1.5, seed=0, shape=SHAPE):
    """Write maps, table and atlas; return the maps ``[N, I, J, K]`` and who is in group AD.

    The effect is added to the left hippocampus of group AD.
    """
    folder = Path(folder)
    generator = np.random.default_rng(seed)
    values, first, rows = [], [], ["participant_id\tgroup\tage\tsex\tsite"]
    for number in range(subjects):
        patient = number % 2 == 1
        heat = gaussian_filter(generator.standard_normal(shape), 1.0)
        heat = heat / heat.std() + effect * patient * (labels() == 1)
        heat[0] = 0  # no map reaches there
        age, sex, site = generator.integers(55, 85), generator.choice(["F", "M"]), generator.integers(1, 3)
        predicted = "AD" if patient != (number % 5 == 0) else "NC"
        save_map(folder / "maps" / map_name(number), heat, sidecar(predicted=predicted))
        rows.append(f"sub-{number:02d}\t{'AD' if patient else 'NC'}\t{age}\t{sex}\t{site}")
        values.append(heat.astype(np.float32))
        first.append(patient)
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    nib.save(nib.Nifti1Image(labels(), AFFINE), folder / "atlas.nii.gz")
    (folder / "atlas.tsv").write_text(KEY)
    return np.stack(values), np.array(first)


def command(*more, maps="maps", out="out"):
    fixed = ["--participants", "participants.tsv", "--contrast", "AD - NC", "-o", out]
    return ["group", maps, *fixed, "--permutations", "99", "--null", "3", *more]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def image(folder, desc, stat):
    return nib.load(folder / f"group_space-MNI_desc-{desc}_stat-{stat}_statmap.nii.gz")
