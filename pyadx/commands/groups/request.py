"""The request of ``pyadx group``."""

from dataclasses import dataclass, field
from pathlib import Path

from pyadx.commands.cohorts.workers import Workers, check_workers
from pyadx.data.participants import parse_contrast
from pyadx.evaluation.groups import NORMALISATIONS
from pyadx.files import check_writable_folder, holds_results

NOTE = "group.json"
VALUES = ("mean", "shapley")


@dataclass(frozen=True)
class GroupRequest:
    """All inputs and options of a group analysis, named like the options of ``pyadx group``."""

    maps: tuple[Path, ...]
    participants: Path
    contrast: str
    out: Path
    group_column: str | None = None
    covariates: tuple[str, ...] = ()
    normalise: str = "sum"
    mask: Path | None = None
    permutations: int = 1000
    seed: int = 0
    cluster_threshold: float | None = None
    tfce: bool = False
    regions: Path | None = None
    key: Path | None = None
    values: str = "mean"
    region_permutations: int = 10_000
    null: int = 20
    compare: Path | None = None
    replicates: tuple[Path, ...] = ()
    shuffled_networks: tuple[Path, ...] = ()
    session: str | None = None
    desc: str | None = None
    several_networks: bool = False
    skip_unreadable: bool = False
    transforms: str | None = None
    reference: Path | None = None
    workers: Workers = field(default_factory=Workers)
    overwrite: bool = False
    progress: bool = True

    @property
    def groups(self) -> tuple[str, str]:
        """The two groups. The contrast is the first minus the second."""
        return parse_contrast(self.contrast)


def check_request(request: GroupRequest) -> None:
    """Refuse invalid options, before any file is read.

    Raises
    ------
    ValueError
        If an option is invalid.
    """
    parse_contrast(request.contrast)
    check_workers(request.workers)
    if request.normalise not in NORMALISATIONS:
        raise ValueError(
            f"--normalise must be one of {', '.join(NORMALISATIONS)}, got {request.normalise!r}"
        )
    if request.values not in VALUES:
        raise ValueError(f"--values must be one of {', '.join(VALUES)}, got {request.values!r}")
    if request.values == "shapley" and request.regions is not None:
        raise ValueError("--values shapley takes its regions from the sidecars; leave --regions out")
    if request.key is not None and request.regions is None:
        raise ValueError("--key names the numbers of --regions; give both")
    if (request.transforms is None) != (request.reference is None):
        raise ValueError(
            "--transforms moves maps to the voxels of --reference, such as the registration's template; "
            "give both"
        )
    for option, number in (
        ("permutations", request.permutations),
        ("region-permutations", request.region_permutations),
        ("seed", request.seed),
        ("null", request.null),
    ):
        if not 0 <= number < 2**31:
            raise ValueError(f"--{option} must be between 0 and 2147483647, got {number}")
    _check_clusters(request)
    if holds_results(request.out, NOTE, "results of pyadx group") and not request.overwrite:
        raise ValueError(f"{request.out}: holds results already; choose another folder or use --overwrite")
    if request.out.exists():
        check_writable_folder(request.out / NOTE)


def _check_clusters(request: GroupRequest) -> None:
    forming = request.cluster_threshold
    if forming is not None and not 0 < forming < 0.5:
        raise ValueError(f"--cluster-threshold is an uncorrected p between 0 and 0.5, got {forming}")
    if (forming is not None or request.tfce) and not request.permutations:
        raise ValueError("--cluster-threshold and --tfce need --permutations above 0")
