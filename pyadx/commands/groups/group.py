"""``pyadx group``: compare the maps of two groups of subjects."""

import warnings
from dataclasses import replace
from typing import Any

from pyadx.commands.cohorts.workers import session
from pyadx.commands.groups.analysis import analyse
from pyadx.commands.groups.asked import deciding_facts
from pyadx.commands.groups.journal import journal
from pyadx.commands.groups.moving import with_transforms
from pyadx.commands.groups.networks import compare_networks, read_others
from pyadx.commands.groups.request import GroupRequest, check_request
from pyadx.commands.groups.results import fill_folder
from pyadx.commands.groups.sample import Sample, read_sample
from pyadx.commands.groups.writing import write_results
from pyadx.evaluation.groups.permutations import check_nilearn


def run_group(request: GroupRequest) -> dict[str, Any]:
    """Compare two groups of maps and write the results; return the contents of ``group.json``.

    Finished steps are stored in ``OUT.work`` until the results are written. After an interruption the
    same request continues with them.

    Raises
    ------
    ValueError
        If an input or option does not fit. Nothing is written then.
    """
    check_request(request)
    check_nilearn()
    with session(request.workers) as workers:
        return _run(replace(request, workers=workers))


def _run(request: GroupRequest) -> dict[str, Any]:
    sample = with_transforms(request, read_sample(request))
    _warn(sample)
    others = read_others(request, sample)
    facts: dict[str, Any] = {}
    with journal(request.out, deciding_facts(request, sample)) as work:
        analysis = analyse(request, sample, work)

        networks = compare_networks(analysis, others, work)

        def fill(folder: Any) -> dict[str, Any]:
            facts.update(fill_folder(analysis, networks, folder))
            return facts

        write_results(request.out, analysis, fill)
    return facts


def _warn(sample: Sample) -> None:
    """Warn about properties that cannot be checked."""
    if sample.maps[0].facts is None:
        warnings.warn(
            "the maps have no sidecars: whether they are of one network, method and class is unknown",
            UserWarning,
            stacklevel=3,
        )
    if not sample.maps[0].space and not sample.maps[0].transform:
        warnings.warn(
            "no map names its space (space- in its name): equal grids are assumed to be one common space; "
            "maps of scans in their own spaces must be brought to one first (--transforms, --reference)",
            UserWarning,
            stacklevel=3,
        )
