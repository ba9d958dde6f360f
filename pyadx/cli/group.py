"""``pyadx group``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyadx.cli.common import GroupColumn, Quiet, app, continued


@app.command()
def group(
    maps: Annotated[
        list[Path],
        typer.Argument(help="Heatmaps, folders of them, or manifest.jsonl files.", metavar="MAPS..."),
    ],
    participants: Annotated[Path, typer.Option(help="Table with participant_id and the group.")],
    contrast: Annotated[str, typer.Option(help='Two groups, first less second: "AD - NC".')],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for maps, tables and group.json.")],
    group_column: GroupColumn = None,
    covariates: Annotated[
        str | None,
        typer.Option(help="Columns, such as age,sex,site:category; numbers are centred, names coded."),
    ] = None,
    normalise: Annotated[
        str,
        typer.Option(
            help="Each map is divided by: sum (of absolute values), p99 (their 99th percentile) or none."
        ),
    ] = "sum",
    mask: Annotated[
        Path | None, typer.Option(help="Voxels that count; default: where any map is not 0.")
    ] = None,
    permutations: Annotated[int, typer.Option(help="Permutations of labels for voxels; 0: no p.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of permutations and controls.")] = 0,
    cluster_threshold: Annotated[
        float | None, typer.Option(help="Also test clusters, formed at this uncorrected p: 0.001.")
    ] = None,
    tfce: Annotated[
        bool, typer.Option("--tfce", help="Also threshold-free cluster enhancement: slow.")
    ] = False,
    regions: Annotated[
        Path | None, typer.Option(help="Label volume of an atlas in the maps' space, of any grid.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Names of its numbers; default: beside it.")] = None,
    values: Annotated[
        str, typer.Option(help="Value of a region: mean (of the maps), or shapley (from the sidecars).")
    ] = "mean",
    region_permutations: Annotated[
        int, typer.Option(help="Permutations of labels for regions; 0: p of t-tests only.")
    ] = 10_000,
    null: Annotated[int, typer.Option(help="Number of control analyses with shuffled labels.")] = 20,
    compare: Annotated[
        Path | None, typer.Option(help="Published map to correlate with the difference.")
    ] = None,
    replicate: Annotated[
        list[Path] | None,
        typer.Option(help="Maps of another network, such as another fold's, to replicate the finding."),
    ] = None,
    shuffled_network: Annotated[
        list[Path] | None,
        typer.Option(help="Control: maps of a network that was trained on shuffled labels."),
    ] = None,
    session: Annotated[str | None, typer.Option(help="Take maps of this session only.")] = None,
    desc: Annotated[str | None, typer.Option(help="Take maps of this description (desc-) only.")] = None,
    several_networks: Annotated[
        bool,
        typer.Option(
            "--several-networks",
            help="MAPS are of several networks, such as the folds of a cross-validation; the network of a "
            "map becomes a covariate.",
        ),
    ] = False,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out and list maps that cannot be read.")
    ] = False,
    transforms: Annotated[
        str | None,
        typer.Option(
            help="Maps are in scans' own spaces: folder, or pattern in quotes, of a transform per subject "
            "(ITK .h5, .mat, .txt; FSL .mat).",
            metavar="FOLDER|PATTERN",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Image in the common space: --transforms moves maps to its voxels.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local: processes of this machine; ray.")] = "local",
    workers: Annotated[int, typer.Option(help="Tasks at a time.")] = 1,
    ray_address: Annotated[str | None, typer.Option(help="Address of a running Ray cluster.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare the heatmaps of two groups; write maps, tests, regions, controls and a methods text."""
    from pyadx.commands.cohorts.workers import Workers
    from pyadx.commands.groups.group import run_group
    from pyadx.commands.groups.request import GroupRequest

    facts = continued(run_group)(
        GroupRequest(
            maps=tuple(path.absolute() for path in maps),  # workers may have another working directory
            participants=participants,
            contrast=contrast,
            out=out,
            group_column=group_column,
            covariates=column_names(covariates),
            normalise=normalise,
            mask=mask,
            permutations=permutations,
            seed=seed,
            cluster_threshold=cluster_threshold,
            tfce=tfce,
            regions=regions,
            key=key,
            values=values,
            region_permutations=region_permutations,
            null=null,
            compare=compare,
            replicates=tuple(path.absolute() for path in replicate or ()),
            shuffled_networks=tuple(path.absolute() for path in shuffled_network or ()),
            session=session,
            desc=desc,
            several_networks=several_networks,
            skip_unreadable=skip_unreadable,
            transforms=transforms,
            reference=reference,
            workers=Workers(engine, workers, ray_address),
            overwrite=overwrite,
            progress=not quiet,
        )
    )
    if not quiet:
        tell(facts)
        print(out)


def column_names(told: str | None) -> tuple[str, ...]:
    """Return the columns of an option such as ``age,sex``."""
    return tuple(name.strip() for name in told.split(",")) if told else ()


def tell(facts: dict[str, Any]) -> None:
    """Print the findings in a few lines."""
    from pyadx.report.group_findings import shuffled_words

    sample, voxels = facts["sample"], facts["voxels"]
    people = ", ".join(f"{count} {group}" for group, count in sample["n"].items())
    print(f"{facts['contrast']['words']}: {people}; every map {facts['normalisation']['words']}")
    if voxels["permutations"]:
        found = ", ".join(f"{count} voxels {side}" for side, count in voxels["significant"].items())
        print(f"family-wise p < {voxels['alpha']}, {voxels['permutations']} permutations: {found}")
    regions = facts["regions"]
    if regions:
        names = ", ".join(one["name"] for one in regions["found"][:5])
        more = ", ..." if len(regions["found"]) > 5 else ""
        print(
            f"{len(regions['found'])} of {regions['regions']} regions with q < 0.05: {names or '-'}{more}"
        )
    for one in facts["networks"]:
        r = "" if one["r"] is None else f", difference maps correlate at {one['r']:.3f}"
        counts = {"voxels": one["voxels_found"], "regions": len(one["regions_found"]) if regions else None}
        shown = ", ".join(f"{n} {what}" for what, n in counts.items() if n is not None)
        print(f"{one['kind']} {one['number']}: {shown}{r}")
    null = facts["null"]
    if null:
        print(f"control, labels shuffled: {shuffled_words(null) or 'nothing tested'}")
    comparison = facts["comparison"]
    if comparison:
        r, p = comparison["r"]["difference"], comparison["p"]
        print(f"difference and {comparison['file']}: r = {r:.3f}, p = {p:.4f}")
