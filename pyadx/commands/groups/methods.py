"""The methods text of a group analysis."""

from typing import Any

from pyadx.commands.groups.moving import transform_words
from pyadx.commands.groups.networks import REPLICATE

_REFERENCES = {
    "nilearn": "Nilearn contributors. nilearn. https://nilearn.github.io",
    "freedman": "Freedman D, Lane D (1983). A nonstochastic interpretation of reported significance "
    "levels. Journal of Business & Economic Statistics 1(4), 292-298.",
    "winkler": "Winkler AM et al. (2014). Permutation inference for the general linear model. NeuroImage "
    "92, 381-397.",
    "smith": "Smith SM, Nichols TE (2009). Threshold-free cluster enhancement. NeuroImage 44(1), 83-98.",
    "benjamini": "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. Journal of the "
    "Royal Statistical Society B 57(1), 289-300.",
    "welch": "Welch BL (1947). The generalization of 'Student's' problem when several different population "
    "variances are involved. Biometrika 34, 28-35.",
    "hedges": "Hedges LV (1981). Distribution theory for Glass's estimator of effect size and related "
    "estimators. Journal of Educational Statistics 6(2), 107-128.",
}


def methods_text(facts: dict[str, Any]) -> str:
    """Return paragraphs ready to paste, with references.

    Parameters
    ----------
    facts : dict
        Result of `group_facts`.
    """
    cited = ["hedges", "nilearn", "freedman", "winkler"]
    parts = [_maps(facts), _voxels(facts)]
    clusters = facts["clusters"]
    if clusters and clusters["tfce"]:
        cited.append("smith")
    if facts["regions"]:
        parts.append(_regions(facts["regions"], facts["contrast"]["words"]))
        cited += ["benjamini", *([] if facts["covariates"] else ["welch"])]
    parts += [
        part
        for part in (
            _networks(facts["networks"], facts["regions"]),
            _null(facts["null"]),
            _comparison(facts["comparison"]),
        )
        if part
    ]
    software = ", ".join(f"{name} {number}" for name, number in facts["software"].items() if number)
    parts.append(f"Software: {software}.")
    references = "\n".join(_REFERENCES[name] for name in cited)
    return "\n\n".join([*parts, f"References\n{references}"]) + "\n"


def _maps(facts: dict[str, Any]) -> str:
    maps, sample, mask = facts["maps"], facts["sample"], facts["mask"]
    n = " and ".join(f"{count} of group {group}" for group, count in sample["n"].items())
    how = f" ({maps['spelling']}, class {maps['target']})" if maps["spelling"] else ""
    network, several = maps["network"], maps["several_networks"]
    which = ""
    if several:
        hashes = ", ".join(one[:12] for one in several)
        which = f" of {len(several)} networks (weights {hashes}; one map per subject)"
    elif network["weights_sha256"]:
        which = f" of one network ({network['architecture']}, weights {network['weights_sha256'][:12]})"
    space = f" in the space {maps['space']}" if maps["space"] else ""
    left = f" {len(sample['left_out'])} subjects or maps were left out." if sample["left_out"] else ""
    return (
        f"Heatmaps{how}{which} of {n} were compared{space}.{left}{transform_words(facts['transforms'])} "
        "Every map was "
        f"{facts['normalisation']['words']}. The mask ({mask['words']}) holds {mask['voxels']} voxels "
        f"({mask['volume_mm3'] / 1000:.0f} ml). Means, standard deviations, the share of subjects whose "
        "strongest 5% (by absolute value) hold a voxel, and Hedges' g (exact correction) were computed at "
        "every voxel."
    )


def _voxels(facts: dict[str, Any]) -> str:
    voxels, words = facts["voxels"], facts["contrast"]["words"]
    covariates = [one["name"] for one in facts["covariates"]]
    model = f" with the covariates {', '.join(covariates)}" if covariates else ""
    text = f"The contrast {words} was tested at every voxel by ordinary least squares{model}"
    if not voxels["permutations"]:
        return f"{text}; no permutations were run, so voxels have no corrected p."
    found = ", ".join(f"{count} voxels for {side}" for side, count in voxels["significant"].items())
    threshold = voxels["t_threshold"]
    limit = "" if threshold is None else f" (|t| > {threshold:.2f})"
    text += (
        f" and {voxels['permutations']} permutations (seed {voxels['seed']}; nilearn's permuted_ols, "
        "two-sided), family-wise error controlled by the maximum statistic at "
        f"p < {voxels['alpha']}{limit}: {found}."
    )
    clusters = facts["clusters"]
    if clusters and clusters["forming_p"] is not None:
        text += (
            f" Clusters, formed at an uncorrected two-sided p < {clusters['forming_p']}, were tested by "
            f"size and mass; the smallest p of a size is {clusters['smallest_p']['size']:.4f}."
        )
    if clusters and clusters["tfce"]:
        text += (
            " Threshold-free cluster enhancement was tested likewise; its smallest p is "
            f"{clusters['smallest_p']['tfce']:.4f}."
        )
    return text


def _regions(regions: dict[str, Any], words: str) -> str:
    what = "Shapley values" if regions["values"] == "shapley" else "mean values"
    permuted = (
        f"; p from {regions['permutations']} permutations of subjects (of the residuals after "
        "covariates, if there are any)"
        if regions["permutations"]
        else ""
    )
    return (
        f"In {regions['regions']} regions ({regions['atlas']}) {what} were compared ({words}) with "
        f"{regions['test']}, two-sided, with 95% confidence intervals{permuted}. False discovery rate was "
        f"controlled by Benjamini-Hochberg; q < 0.05 in {len(regions['found'])} of them."
    )


def _networks(networks: list[dict[str, Any]], regions: dict[str, Any] | None) -> str:
    """Return one sentence about the maps of each other network."""
    parts = []
    for one in networks:
        n = " and ".join(f"{count} of group {group}" for group, count in one["n"].items())
        r = (
            ""
            if one["r"] is None
            else f"; its difference map correlates with the first one at {one['r']:.3f}"
        )
        what = (
            f"a control network trained on shuffled labels (maps of {n}) "
            if one["kind"] != REPLICATE
            else f"replicate network {one['number']} (maps of {n}) "
        )
        shown = [] if one["voxels_found"] is None else [f"{one['voxels_found']} voxels"]
        shown += [] if regions is None else [f"{len(one['regions_found'])} regions"]
        parts.append(f"The same analysis of {what}found {' and '.join(shown) or 'what its maps show'}{r}.")
    if regions and regions["replicates"]:
        every = [one["name"] for one in regions["found"] if one["replicated"] == regions["replicates"]]
        parts.append(
            f"Of the {len(regions['found'])} regions found, {len(every)} were found with the same sign in "
            f"all {regions['replicates']} replicates."
        )
    return " ".join(parts)


def _null(null: dict[str, Any] | None) -> str:
    if not null:
        return ""
    found = []
    if null["runs_with_region"] is not None:
        found.append(
            f"a region with q < 0.05 was found in {null['runs_with_region']} of {null['region_runs']}"
        )
    if null["runs_with_voxel"] is not None:
        found.append(f"a voxel with family-wise p < 0.05 in {null['runs_with_voxel']} of {null['runs']}")
    return f"Control, analyses with shuffled labels: {', '.join(found)}." if found else ""


def _comparison(comparison: dict[str, Any] | None) -> str:
    if not comparison:
        return ""
    return (
        f"The difference map correlates with {comparison['file']} over {comparison['voxels']} voxels at "
        f"r = {comparison['r']['difference']:.3f} (p = {comparison['p']:.4f} against "
        f"{comparison['null']['permutations']} permutations of the labels of {comparison['subjects']} "
        f"subjects, whose r have a standard deviation of {comparison['null']['sd']:.3f})."
    )
