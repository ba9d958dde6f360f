"""The inputs, options and versions that decide the result of a group analysis, as plain data."""

import hashlib
import json
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyadx.commands.cohorts.manifest import file_sha256, place_of
from pyadx.commands.groups.request import GroupRequest
from pyadx.commands.groups.sample import Sample
from pyadx.data.group_maps import MapFile

# Fields of a request that do not change the result, or change it only through the sample.
_FREE = ("maps", "transforms", "out", "workers", "overwrite", "progress")
_PACKAGES = ("pyadx", "nilearn", "scipy", "numpy", "nibabel", "nitransforms")


def deciding_facts(request: GroupRequest, sample: Sample) -> dict[str, Any]:
    """Return the options, hashes of the files that they name, the maps' sizes and dates, and versions."""
    # Only nilearn's search for clusters depends on the number of processes.
    clusters = request.tfce or request.cluster_threshold is not None
    return {
        "options": {
            one.name: _told(getattr(request, one.name)) for one in fields(request) if one.name not in _FREE
        },
        "jobs": request.workers.count if clusters else None,
        "maps": [[_map(one), first] for one, first in zip(sample.maps, sample.first, strict=True)],
        "covariates": [asdict(one) for one in sample.covariates],
        "left_out": [vars(one) for one in sample.left_out],
        "groups": sample.groups,
        "software": software(),
    }


def _map(one: MapFile) -> list[Any]:
    transform = None if one.transform is None else file_facts(one.transform)
    return [one.subject, *file_facts(one.path), _digest(one.facts), transform]


def file_facts(path: Path) -> list[Any]:
    """Return hash of the place, size, and time of the last change (ns) of a file."""
    status = path.stat()
    return [place_of(path), status.st_size, status.st_mtime_ns]


def _told(value: Any) -> Any:
    """Return a value as JSON: a file as its path and hash, a folder as those of its files."""
    if isinstance(value, Path):
        if value.is_file():
            return [place_of(value), file_sha256(value)]
        return [place_of(value), [file_facts(one) for one in sorted(value.rglob("*")) if one.is_file()]]
    if isinstance(value, tuple | list):
        return [_told(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def software() -> dict[str, str | None]:
    """Return the versions of packages that affect the result; ``None`` for a package not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
