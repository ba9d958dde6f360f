"""Findings of a group analysis in sentences for a page: sample, method, results, controls."""

from collections.abc import Mapping
from typing import Any

from pyadx.report.markup import number

_NAMED = 5  # most regions named in a sentence; the table lists all


def findings(facts: Mapping[str, Any]) -> list[str]:
    """Return the findings as sentences.

    Parameters
    ----------
    facts : mapping
        Content of ``group.json``, with folder names removed from paths.

    Returns
    -------
    list of str
        Sample, method, voxels, clusters, regions, other networks, controls, and comparison with a published
        map; sentences that do not apply are left out.
    """
    told = [_who(facts), _how(facts), _voxels(facts["voxels"]), _clusters(facts.get("clusters"))]
    told += [_regions(facts["regions"], facts["contrast"]), *_networks(facts), _null(facts["null"])]
    told.append(_comparison(facts["comparison"]))
    return [sentence for sentence in told if sentence]


def significant(facts: Mapping[str, Any]) -> int:
    """Return the number of voxels with a family-wise p below the level."""
    return sum(int(count) for count in facts["voxels"]["significant"].values())


def _who(facts: Mapping[str, Any]) -> str:
    sample = facts["sample"]
    people = " and ".join(f"{count} {group}" for group, count in sample["n"].items())
    left = len(sample["left_out"])
    right = [
        f"{one['correct']} of {one['correct'] + one['wrong']} {group}"
        for group, one in sample["outcomes"].items()
        if one["correct"] + one["wrong"]
    ]
    said = f"Who: maps of {people}" + (f"; {left} subjects or maps were left out" if left else "")
    return said + (f". The network was right in {' and '.join(right)}." if right else ".")


def _how(facts: Mapping[str, Any]) -> str:
    maps, covariates = facts["maps"], [one["name"] for one in facts["covariates"]]
    what = f"{maps['spelling']}, class {maps['target']}; " if maps.get("spelling") else ""
    space = f" in the space {maps['space']}" if maps.get("space") else ""
    adjusted = f", adjusted for {', '.join(covariates)}" if covariates else ""
    return (
        f"How: {what}every map {facts['normalisation']['words']}; {facts['mask']['voxels']:,} voxels"
        f"{space} were compared ({facts['contrast']['words']}{adjusted})."
    )


def _voxels(voxels: Mapping[str, Any]) -> str:
    if not voxels["permutations"]:
        return "Voxels: no permutations were run, so no voxel has a corrected p."
    how = f"family-wise p < {voxels['alpha']}, {voxels['permutations']:,} permutations"
    found = [f"{count:,} with {side}" for side, count in voxels["significant"].items() if count]
    if found:
        return f"Voxels: {' and '.join(found)} ({how})."
    strongest = voxels["strongest"]
    p = "" if strongest["p"] is None else f", p = {number(strongest['p'])}"
    return f"Voxels: none is significant ({how}); the strongest has t = {number(strongest['t'])}{p}."


def _clusters(clusters: Mapping[str, Any] | None) -> str:
    if not clusters:
        return ""
    least = ", ".join(f"{name} {number(p)}" for name, p in clusters["smallest_p"].items())
    return f"Clusters: smallest family-wise p by {least}."


def _regions(regions: Mapping[str, Any] | None, contrast: Mapping[str, Any]) -> str:
    if not regions:
        return ""
    found = regions["found"]
    names = [
        f"{one['name']} (more in {contrast[_side(one)]}{_replicated(one, regions)})"
        for one in found[:_NAMED]
    ]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    sides = regions["asymmetries_found"]
    pairs = f" Left against right, pairs with q < 0.05: {len(sides)}." if sides else ""
    listed = f": {', '.join(names)}{more}" if names else ""
    return (
        f"Regions: {len(found)} of {regions['regions']} have q < 0.05 ({regions['test']}){listed}.{pairs}"
    )


def _side(one: Mapping[str, Any]) -> str:
    return "first" if one["mean"] > 0 else "second"


def _replicated(one: Mapping[str, Any], regions: Mapping[str, Any]) -> str:
    every = regions.get("replicates")
    return f"; in {one['replicated']} of {every} replicates" if every else ""


def _networks(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each other network; results of earlier versions lack ``networks``."""
    told, regions = [], facts["regions"]
    for one in facts.get("networks", ()):
        control = one["kind"] != "replicate"
        name = "Control network trained on shuffled labels" if control else f"Replicate {one['number']}"
        people = " and ".join(f"{count} {group}" for group, count in one["n"].items())
        found = [] if one["voxels_found"] is None else [f"{one['voxels_found']:,} voxels"]
        if regions:
            names = one["regions_found"] if control else one["regions_agreeing"]
            more = (
                f" ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})" if names else ""
            )
            found.append(f"{len(names)} regions{'' if control else ' with the same sign'}{more}")
        r = (
            ""
            if one["r"] is None
            else f"; its difference map correlates with this one at r = {one['r']:.3f}"
        )
        told.append(f"{name}: maps of {people}; found: {' and '.join(found) or 'nothing was tested'}{r}.")
    return told


def shuffled_words(null: Mapping[str, Any]) -> str:
    """Return how many analyses with shuffled labels found a region or voxel; empty if none was tested."""
    runs = {"region": null.get("region_runs", null["runs"]), "voxel": null["runs"]}
    return ", ".join(
        f"{null[f'runs_with_{what}']} of {count:,} found a {what}"
        for what, count in runs.items()
        if null[f"runs_with_{what}"] is not None
    )


def _null(null: Mapping[str, Any] | None) -> str:
    if not null:
        return "Controls: none were run with shuffled labels."
    found = shuffled_words(null)
    if not found:
        return "Controls: nothing was tested with shuffled labels."
    return f"Controls, analyses with shuffled labels: {found}; one in twenty is expected by chance."


def _comparison(comparison: Mapping[str, Any] | None) -> str:
    if not comparison:
        return ""
    return (
        f"Literature: the difference correlates with {comparison['file']} at "
        f"r = {comparison['r']['difference']:.3f} (p = {number(comparison['p'])}, labels permuted "
        f"{comparison['null']['permutations']:,} times)."
    )
