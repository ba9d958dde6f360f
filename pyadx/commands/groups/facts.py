"""``group.json``: methods and results of a group analysis, as plain data."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np

from pyadx.commands.groups.analysis import Analysis
from pyadx.commands.groups.asked import software
from pyadx.commands.groups.moving import transform_facts
from pyadx.commands.groups.networks import REPLICATE, OtherNetwork
from pyadx.evaluation.groups import NORMALISATIONS
from pyadx.evaluation.groups.permutations import ALPHA
from pyadx.evaluation.groups.region_statistics import is_found

SCHEMA = 1
_OF_FOUND = ("name", "mean", "t", "p", "p_fdr", "hedges_g", "p_permuted", "p_fwe")


def group_facts(
    analysis: Analysis, networks: Sequence[OtherNetwork], threshold: dict[str, Any]
) -> dict[str, Any]:
    """Return the contents of ``group.json``, without the list of files and the methods text.

    Parameters
    ----------
    analysis : Analysis
        All results.
    networks : sequence of OtherNetwork
        Results on maps of other networks.
    threshold : dict
        Threshold of the cluster table.
    """
    request, sample = analysis.request, analysis.sample
    first, second = sample.groups
    return {
        "schema": SCHEMA,
        "command": "pyadx group",
        "contrast": {"first": first, "second": second, "words": f"{first} - {second}"},
        "maps": _map_facts(analysis),
        "transforms": transform_facts(analysis.request, sample.maps),
        "normalisation": {"how": request.normalise, "words": NORMALISATIONS[request.normalise]},
        "mask": {
            "file": None if request.mask is None else request.mask.name,
            "words": "voxels where any map is not 0" if request.mask is None else "given",
            "voxels": int(analysis.mask.sum()),
            "volume_mm3": float(analysis.mask.sum() * abs(np.linalg.det(analysis.scan.affine[:3, :3]))),
        },
        "sample": _sample_facts(analysis),
        "covariates": [
            {"name": one.name, "columns": [c for c in analysis.design.columns if _is_of(c, one.name)]}
            for one in sample.covariates
        ],
        "voxels": {**_voxel_facts(analysis), "cluster_table": threshold},
        "clusters": _cluster_facts(analysis),
        "regions": _region_facts(analysis, networks),
        "networks": [one.facts() for one in networks],
        "null": _null_facts(analysis),
        "comparison": _comparison_facts(analysis),
        "seconds": analysis.seconds,
        "software": software(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": "Research software, not a medical device.",
    }


def _is_of(column: str, name: str) -> bool:
    return column == name or column.startswith(f"{name}[")


def _map_facts(analysis: Analysis) -> dict[str, Any]:
    one, scan = analysis.sample.maps[0], analysis.scan
    facts = one.facts or {}
    model, target = facts.get("model") or {}, facts.get("target") or {}
    networks = analysis.sample.networks
    return {
        "method": facts.get("method"),
        "spelling": facts.get("spelling"),
        "target": target.get("name"),
        "network": {name: model.get(name) for name in ("file", "architecture", "weights_sha256")}
        if len(networks) < 2
        else None,
        "several_networks": networks if len(networks) > 1 else [],
        "space": one.space or None,
        "shape": list(scan.data.shape),
        "affine": scan.affine.tolist(),
    }


def _sample_facts(analysis: Analysis) -> dict[str, Any]:
    sample = analysis.sample
    outcomes: dict[str, dict[str, int]] = {
        group: {"correct": 0, "wrong": 0, "unknown": 0} for group in sample.groups
    }
    for row in range(len(sample.maps)):
        outcomes[sample.group_of(row)][sample.outcome(row) or "unknown"] += 1
    return {
        "table": analysis.request.participants.name,
        "n": {group: sums.count for group, sums in zip(sample.groups, analysis.sums, strict=True)},
        "outcomes": outcomes,
        "subjects": [
            {
                "participant_id": one.subject,
                "session": one.entities.get("ses"),
                "group": sample.group_of(row),
                "map": one.path.name,
                "factor": float(analysis.factors[row]),
                "predicted": sample.predicted(row),
                "outcome": sample.outcome(row),
            }
            for row, one in enumerate(sample.maps)
        ],
        "left_out": [vars(one) for one in sample.left_out],
    }


def uncorrected_t(analysis: Analysis, p: float) -> float:
    """Return the absolute t of an uncorrected two-sided p."""
    from scipy import stats

    nuisance = analysis.design.nuisance().shape[1]
    return float(stats.t.isf(p / 2, len(analysis.sample.maps) - nuisance - 1))


def _voxel_facts(analysis: Analysis) -> dict[str, Any]:
    test, (first, second) = analysis.test, analysis.sample.groups
    at = int(np.abs(test.t).argmax())
    voxel = np.argwhere(analysis.mask)[at]
    place = analysis.scan.affine[:3, :3] @ voxel + analysis.scan.affine[:3, 3]
    found = np.zeros(len(test.t), bool) if test.p is None else test.p < ALPHA
    return {
        "test": "nilearn permuted_ols, two-sided, family-wise by the maximum statistic",
        "permutations": analysis.request.permutations,
        "seed": analysis.request.seed,
        "alpha": ALPHA,
        "t_threshold": test.threshold() if analysis.request.permutations else None,
        "significant": {
            f"{first} > {second}": int((found & (test.t > 0)).sum()),
            f"{second} > {first}": int((found & (test.t < 0)).sum()),
        },
        "strongest": {
            "t": float(test.t[at]),
            "p": None if test.p is None else float(test.p[at]),
            "voxel": voxel.tolist(),
            "mm": [round(float(mm), 3) for mm in place],
        },
    }


def _cluster_facts(analysis: Analysis) -> dict[str, Any] | None:
    if not analysis.clusters:
        return None
    least = {
        name.removeprefix("logp_max_"): round(float(10.0 ** -values.max()), 10)
        for name, values in analysis.clusters.items()
        if name.startswith("logp_max_")
    }
    return {
        "forming_p": analysis.request.cluster_threshold,
        "tfce": analysis.request.tfce,
        "smallest_p": least,
        "jobs": analysis.request.workers.count,
    }


def region_test(analysis: Analysis) -> str:
    """Name the test of regions."""
    columns = analysis.design.columns
    return f"ordinary least squares with {', '.join(columns)}" if columns else "Welch's t-test"


def _region_facts(analysis: Analysis, networks: Sequence[OtherNetwork]) -> dict[str, Any] | None:
    if analysis.regions is None:
        return None
    replicates = [one for one in networks if one.kind == REPLICATE]

    def found(part: str) -> list[dict[str, Any]]:
        rows = analysis.region_tests.contrast(part, analysis.sample.groups)
        kept = [row for row in rows if is_found(row)]
        return sorted(
            ({n: row[n] for n in _OF_FOUND} for row in kept),
            key=lambda row: (row["p_fdr"], row["p"]),
        )

    return {
        "atlas": analysis.regions.atlas,
        "key": analysis.regions.key,
        "values": analysis.request.values,
        "test": region_test(analysis),
        "permutations": analysis.request.region_permutations,
        "regions": len(analysis.regions.names),
        "found": [
            {**one, "replicated": sum(each.agrees_on(one["name"]) for each in replicates)}
            for one in found("groups")
        ],
        "replicates": len(replicates),
        "asymmetries_found": found("asymmetry"),
    }


def _null_facts(analysis: Analysis) -> dict[str, Any] | None:
    if not analysis.request.null:
        return None
    p = analysis.test.shuffled_p() if analysis.request.permutations else None
    regions = None if analysis.regions is None else analysis.region_tests.null
    return {
        "runs": analysis.request.null,
        "region_runs": None if regions is None else len(regions),
        "regions_found": regions,
        "runs_with_region": None if regions is None else sum(count > 0 for count in regions),
        "voxel_p": None if p is None else p.tolist(),
        "runs_with_voxel": None if p is None else int((p < ALPHA).sum()),
    }


def _comparison_facts(analysis: Analysis) -> dict[str, Any] | None:
    found = analysis.correlation
    if found is None or analysis.request.compare is None:
        return None
    first, second = analysis.sample.groups
    return {
        "file": analysis.request.compare.name,
        "r": {first: found.first, second: found.second, "difference": found.difference},
        "p": found.p,
        "null": {
            "kind": "labels of subjects permuted",
            "permutations": len(found.null),
            "mean": float(found.null.mean()),
            "sd": float(found.null.std()),
        },
        "voxels": found.voxels,
        "subjects": found.subjects,
    }
