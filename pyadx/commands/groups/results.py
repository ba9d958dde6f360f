"""The files of a group analysis."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyadx.commands.groups.analysis import Analysis
from pyadx.commands.groups.facts import group_facts, region_test, uncorrected_t
from pyadx.commands.groups.methods import methods_text
from pyadx.commands.groups.networks import NETWORK_COLUMNS, OtherNetwork
from pyadx.commands.groups.regions import SUBJECT_COLUMNS
from pyadx.commands.groups.writing import ResultFolder
from pyadx.evaluation.groups import NORMALISATIONS, hedges_g
from pyadx.evaluation.groups.region_statistics import GROUP_COLUMNS

SAMPLE_COLUMNS = {
    "participant_id": "The subject.",
    "session": "Session of the map, if its name has one.",
    "group": "Its group.",
    "map": "File name of the heatmap.",
    "factor": "Divisor that normalised the map.",
    "predicted": "Class predicted by the network, if the sidecar names it.",
    "outcome": "correct if the predicted class is the subject's group, otherwise wrong.",
}


def fill_folder(
    analysis: Analysis, networks: Sequence[OtherNetwork], folder: ResultFolder
) -> dict[str, Any]:
    """Write all files except ``group.json``; return the contents of ``group.json``."""
    _descriptive(analysis, folder)
    _tests(analysis, folder)
    threshold = _cluster_table(analysis, folder)
    _people(analysis, folder)
    for one in analysis.sample.maps:
        if one.moved is not None:
            folder.moved_map(one.path)
    if analysis.regions is not None:
        _regions(analysis, folder)
        _networks(analysis, networks, folder)
    facts = group_facts(analysis, networks, threshold)
    facts["methods"] = methods_text(facts)
    folder.text("methods.txt", facts["methods"], "Methods text, ready to paste.")
    return facts


def contrast_label(analysis: Analysis) -> str:
    """Return the contrast in the form for file names: ``ADminusNC``."""
    return "minus".join(analysis.sample.groups)


def _descriptive(analysis: Analysis, folder: ResultFolder) -> None:
    how = NORMALISATIONS[analysis.request.normalise]
    for group, sums in zip(analysis.sample.groups, analysis.sums, strict=True):
        folder.image(sums.mean, group, "mean", f"Mean of {sums.count} maps of {group}, each {how}.")
        folder.image(sums.sd, group, "sd", f"Standard deviation of the maps of {group}.")
        folder.image(
            sums.share, group, "share", f"Share of {group} whose strongest 5% (absolute) hold the voxel."
        )
    folder.mask()


def _tests(analysis: Analysis, folder: ResultFolder) -> None:
    one, two = analysis.sums
    label, words = contrast_label(analysis), " - ".join(analysis.sample.groups)
    folder.image(one.mean - two.mean, label, "difference", f"Difference of means, {words}.")
    g = hedges_g((one.mean, two.mean), (one.variance, two.variance), (one.count, two.count))
    folder.image(g, label, "hedgesg", f"Hedges' g, {words}; not adjusted for covariates.")
    folder.image(analysis.test.t, label, "t", f"t of {words}, adjusted for covariates if there are any.")
    if analysis.test.p is not None:
        folder.image(
            -np.log10(analysis.test.p), label, "logpfwe",
            "-log10 of p, two-sided, family-wise over voxels (maximum statistic): 1.301 is 0.05.",
        )  # fmt: skip
    for name, stat, what in (
        ("size", "clustersize", "Voxels of the cluster that holds the voxel."),
        ("logp_max_size", "logpclustersize", "-log10 of the family-wise p of that size."),
        ("logp_max_mass", "logpclustermass", "-log10 of the family-wise p of the cluster's mass."),
        ("tfce", "tfce", "Threshold-free cluster enhancement."),
        ("logp_max_tfce", "logptfce", "-log10 of its family-wise p."),
    ):
        if name in analysis.clusters:
            folder.image(analysis.clusters[name], label, stat, what)


def _cluster_table(analysis: Analysis, folder: ResultFolder) -> dict[str, Any]:
    """List clusters of t above the family-wise threshold, else above an uncorrected one (nilearn)."""
    from nilearn.reporting import get_clusters_table

    family_wise = analysis.test.threshold() if analysis.request.permutations else None
    t, what = family_wise, "family-wise p < 0.05 (maximum statistic)"
    if t is None:
        t, what = uncorrected_t(analysis, 0.001), "uncorrected p < 0.001"
    whole = np.zeros(analysis.mask.shape, np.float32)
    whole[analysis.mask] = analysis.test.t
    import nibabel as nib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about images without a cluster
        found = get_clusters_table(nib.Nifti1Image(whole, analysis.scan.affine), t, two_sided=True)
    rows = [
        {
            name: None if value is None or value == "" or value != value else value
            for name, value in row.items()
        }
        for row in found.to_dict("records")
    ]
    name = folder.name("clusters.tsv", desc=contrast_label(analysis), stat="t")
    columns = [str(column) for column in found.columns]
    folder.table(name, columns, rows, f"Clusters of t beyond {t:.4g}, {what}; nilearn's columns.")
    clusters = sum(isinstance(row["Cluster ID"], int) or str(row["Cluster ID"]).isdecimal() for row in rows)
    return {"t": float(t), "level": what, "family_wise": family_wise is not None, "clusters": clusters}


def _people(analysis: Analysis, folder: ResultFolder) -> None:
    sample = analysis.sample
    extra = {one.name: one.cells for one in sample.covariates}
    rows = []
    for at, one in enumerate(sample.maps):
        session = one.entities.get("ses")
        rows.append({
            "participant_id": one.subject,
            "session": f"ses-{session}" if session else None,
            "group": sample.group_of(at),
            "map": one.path.name,
            "factor": float(analysis.factors[at]),
            "predicted": sample.predicted(at),
            "outcome": sample.outcome(at),
            **{name: cells[at] for name, cells in extra.items()},
        })  # fmt: skip
    columns = {
        **SAMPLE_COLUMNS,
        **dict.fromkeys(extra, "Covariate, copied from the participants' table."),
    }
    how = {"Normalisation": NORMALISATIONS[analysis.request.normalise]}
    folder.table("group_sample.tsv", columns, rows, "Subjects in the groups.", how)
    folder.table(
        "group_excluded.tsv", ["participant_id", "file", "reason"],
        [vars(one) for one in sample.left_out], "Subjects and maps left out, with reasons.",
    )  # fmt: skip
    kind = str((sample.maps[0].facts or {}).get("spelling", "heatmap"))
    level = [
        {
            "subject_label": one.subject,
            "map_name": kind,
            # Relative to the table's folder, because folder names may contain names of people or projects.
            "effects_map_path": os.path.relpath(folder.place_of(one), folder.folder.absolute()),
        }
        for one in sample.maps
    ]
    folder.table(
        "second_level.tsv", ["subject_label", "map_name", "effects_map_path"], level,
        "For nilearn's SecondLevelModel; the maps are the original or moved ones, not normalised.",
    )  # fmt: skip


def _regions(analysis: Analysis, folder: ResultFolder) -> None:
    assert analysis.regions is not None
    found, label = analysis.regions, contrast_label(analysis)
    atlas = found.atlas.split(".")[0]
    sources = {
        "Sources": {"atlas": found.atlas, "key": found.key},
        "Normalisation": NORMALISATIONS[analysis.request.normalise],
        "Values": "Shapley values of the sidecars, in the column sum"
        if analysis.request.values == "shapley"
        else "heatmaps; fraction_above: above the 95th percentile of the map's labelled voxels",
    }
    folder.table(
        folder.name("regions.tsv", seg=atlas, desc="subjects"), SUBJECT_COLUMNS, found.rows,
        "Values of every subject and region.", sources,
    )  # fmt: skip
    if analysis.atlas is not None:
        folder.labels(
            folder.name("dseg.nii.gz", seg=atlas), analysis.atlas.labels, analysis.atlas.names,
            "Regions on the grid of the maps.",
        )  # fmt: skip
    how = {
        **sources,
        "Test": f"{region_test(analysis)}, two-sided",
        "Permutations": analysis.request.region_permutations,
    }
    for part, ending, what in (
        ("groups", "", "Comparison of groups in every region."),
        ("asymmetry", "asymmetry", "Left against right, (L - R) / (|L| + |R|), compared between groups."),
        ("outcomes", "outcomes", "Comparison split by correct and wrong predictions (Welch's test)."),
    ):
        if analysis.region_tests.tables.get(part):
            name = folder.name("regions.tsv", seg=atlas, desc=label + ending)
            folder.table(name, GROUP_COLUMNS, analysis.region_tests.tables[part], what, how)


def _networks(analysis: Analysis, networks: Sequence[OtherNetwork], folder: ResultFolder) -> None:
    if not networks:
        return
    assert analysis.regions is not None
    rows = [
        {**row, "agrees": "true" if row["agrees"] else "false"} for one in networks for row in one.regions
    ]
    folder.table(
        folder.name(
            "regions.tsv",
            seg=analysis.regions.atlas.split(".")[0],
            desc=f"{contrast_label(analysis)}networks",
        ),
        NETWORK_COLUMNS, rows, "The contrast in maps of other networks.",
    )  # fmt: skip
