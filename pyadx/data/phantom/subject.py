"""One synthetic subject: its properties, and its scan made from the template."""

from dataclasses import dataclass

import numpy as np

from pyadx.data.phantom.atrophy import REGIONS, TemplateGrid, atrophy, planted_map
from pyadx.data.phantom.warps import Field, exponential, points, sample, smooth_noise
from pyadx.short_reprs import short_repr

# Logarithm of the volume factor at full severity, and its natural spread in all subjects. The order of
# magnitude is that of volumetric studies of AD. The exact figures were chosen so that the groups overlap.
EFFECT = {"ventricle": 0.65, "hippocampus": -0.43, "cortex": -0.20}
NATURAL_SPREAD = {"ventricle": 0.20, "hippocampus": 0.10, "cortex": 0.05}
SEVERITY = (0.25, 1.0)

_WARP = (7.0, 1.2)  # smoothness and root mean square of the velocity, voxels
_AFFINE = {"rotation": 2.0, "scale": 0.03, "shift": 0.8}  # degrees, relative, voxels; standard deviations
_GAIN = 0.08
_BIAS = (25.0, 0.04)  # smoothness in voxels, root mean square of the logarithm
_NOISE = (0.015, 0.03)  # share of the brightest tissue
_BRIGHTEST = 1000.0


@dataclass(frozen=True)
class Person:
    """A synthetic subject.

    Attributes
    ----------
    name : str
        BIDS participant id, such as ``sub-001``.
    group : {"NC", "AD"}
        Diagnosis.
    sex, age : str, int
        Drawn at random; they have no influence on the scan.
    seed : tuple of int
        Random seed of the scan.
    severity : float
        0 for controls.
    natural : dict
        Logarithm of the natural volume factor by region.
    """

    name: str
    group: str
    sex: str
    age: int
    seed: tuple[int, int]
    severity: float
    natural: dict[str, float]

    @property
    def planted(self) -> dict[str, float]:
        """Logarithm of the volume factor of the disease, by region."""
        return {name: self.severity * EFFECT[name] for name in REGIONS}


@dataclass(frozen=True, eq=False)
class SyntheticScan:
    """A synthetic subject's volumes, all ``[D, H, W]`` on one grid.

    Attributes
    ----------
    t1 : numpy.ndarray
        int16, zero outside the brain.
    labels : numpy.ndarray
        int16, FreeSurfer's numbers.
    twin : numpy.ndarray or None
        Patients: the same scan without the disease, with identical noise.
    planted : numpy.ndarray or None
        Patients: prescribed logarithm of the volume change by the disease, float32.
    measured : dict
        Patients: logarithm of a region's volume in the scan over its volume in the twin, by region.
    """

    t1: np.ndarray
    labels: np.ndarray
    twin: np.ndarray | None
    planted: np.ndarray | None
    measured: dict[str, float]

    __repr__ = short_repr


def draw_people(count: int, seed: int) -> list[Person]:
    """Draw the subjects of a cohort: 47 of 103 with AD, as in the paper, in random order."""
    random = np.random.default_rng([seed, 0])
    patients = round(count * 47 / 103)
    groups = random.permutation(["AD"] * patients + ["NC"] * (count - patients))
    width = max(3, len(str(count)))
    people = []
    for index, group in enumerate(groups, start=1):
        own = np.random.default_rng([seed, index])
        natural = {name: float(own.normal(0, NATURAL_SPREAD[name])) for name in REGIONS}
        severity = float(own.uniform(*SEVERITY))
        people.append(
            Person(
                name=f"sub-{index:0{width}d}",
                group=str(group),
                sex=str(own.choice(["F", "M"])),
                age=int(own.integers(60, 86)),
                seed=(seed, index),
                severity=severity if group == "AD" else 0.0,
                natural=natural,
            )
        )
    return people


def make_scan(person: Person, grid: TemplateGrid) -> SyntheticScan:
    """Make a subject's volumes. The same person gives the same bytes.

    The scan is the template, changed by the subject's natural volumes and its disease, then by a random
    smooth diffeomorphism and affine map, a gain, a bias field and Rician noise. The twin has all of these
    except the disease.
    """
    random = np.random.default_rng([*person.seed, 1])
    at = _random_place(grid, random)
    look = np.random.default_rng([*person.seed, 2])
    healthy = _through(atrophy(grid, person.natural), at)
    if person.severity == 0:
        t1, labels = _t1(grid, healthy, look), _labels(grid, healthy)
        return SyntheticScan(t1, labels, None, None, {})
    total = {name: person.natural[name] + person.planted[name] for name in REGIONS}
    ill = _through(atrophy(grid, total), at)
    again = np.random.default_rng([*person.seed, 2])
    measured = {
        name: float(np.log(_volume(share, ill) / _volume(share, healthy)))
        for name, share in grid.regions.items()
    }
    planted = sample(planted_map(grid, person.planted), ill, outside="constant")
    return SyntheticScan(
        _t1(grid, ill, look), _labels(grid, ill), _t1(grid, healthy, again), planted, measured
    )


def _random_place(grid: TemplateGrid, random: np.random.Generator) -> Field:
    """Return the coordinates of an average healthy subject's voxels in the template grid."""
    warp = exponential(smooth_noise((3, *grid.shape), *_WARP, random))
    angles = np.deg2rad(random.normal(0, _AFFINE["rotation"], 3))
    matrix = np.diag(np.exp(random.normal(0, _AFFINE["scale"], 3)))
    for axis, angle in enumerate(angles):
        a, b = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    centre = ((np.array(grid.shape) - 1) / 2).astype(np.float32).reshape(3, 1, 1, 1)
    shift = random.normal(0, _AFFINE["shift"], 3).astype(np.float32).reshape(3, 1, 1, 1)
    return np.tensordot(matrix.astype(np.float32), points(warp) - centre, axes=1) + centre + shift


def _through(back: Field, at: Field) -> Field:
    """Map points of the changed anatomy back to the template."""
    return at + sample(back, at)


def _volume(share: np.ndarray, at: Field) -> float:
    return float(sample(share, at, outside="constant").sum())


def _t1(grid: TemplateGrid, at: Field, random: np.random.Generator) -> np.ndarray:
    clean = sample(grid.anatomy.t1, grid.to_template(at), outside="constant")
    gain = float(np.exp(random.normal(0, _GAIN)))
    bias = np.exp(smooth_noise(grid.shape, *_BIAS, random))
    level = float(random.uniform(*_NOISE))
    real, imaginary = random.normal(0, level, (2, *grid.shape)).astype(np.float32)
    noisy = np.hypot(clean * bias + real, imaginary) * (gain * _BRIGHTEST)
    return np.where(clean > 0.05, np.rint(noisy), 0).clip(0, 32767).astype(np.int16)


def _labels(grid: TemplateGrid, at: Field) -> np.ndarray:
    return sample(grid.anatomy.labels, grid.to_template(at), order=0, outside="constant")
