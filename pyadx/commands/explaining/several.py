"""Several scans, or a folder of them, in one ``pyadx explain``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pyadx.commands.explaining.explain import ExplainedScan, ExplainRequest, run_explain
from pyadx.commands.explaining.networks import explainer
from pyadx.data.file_kinds import scan_suffix
from pyadx.data.heatmaps import scores_path, sidecar_path
from pyadx.files import check_writable_folder


def scans_in(given: Sequence[Path]) -> list[Path]:
    """Return the named scans, and the scans in named folders, sorted by name.

    Raises
    ------
    ValueError
        If a folder holds no scan.
    """
    found: list[Path] = []
    for path in given:
        if is_folder(path):
            inside = sorted(p for p in path.iterdir() if p.is_file() and scan_suffix(p) and _leads(p))
            if not inside:
                raise ValueError(f"{path}: holds no scan; for a cohort use pyadx explain-cohort")
            found += inside
        else:
            found.append(path)
    return found


def run_several(
    scans: Sequence[Path], request: ExplainRequest, tell: Callable[[Path, ExplainedScan], None]
) -> list[tuple[Path, str]]:
    """Explain several scans into a folder; report a scan that fails, and continue with the others.

    Parameters
    ----------
    scans : sequence of Path
        Files with different names.
    request : ExplainRequest
        Request for each scan; ``out`` is the folder. With ``resume``, scans that have a heatmap are
        skipped, and an interrupted scan continues.
    tell : callable
        Called with each heatmap's file and result.

    Returns
    -------
    list of (Path, str)
        Scans that could not be explained, and why.

    Raises
    ------
    ValueError
        If the request itself is wrong, or a heatmap exists already. Raised before any scan is
        explained.
    """
    if (
        request.drawn.given
        or request.channels
        or any(own is not None for own in (request.figure, request.table, request.mask))
    ):
        raise ValueError(
            "--figure, --table, --channel and --mask take one scan; explain these scans one by one"
        )
    folder = request.out
    if scan_suffix(folder) or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder}: several scans give several heatmaps; name a folder with -o")
    check_writable_folder(folder)
    explain = explainer(request.model, "cpu", request.method)
    outs = [folder / f"{_stem(scan)}_{explain.spec.description}.nii.gz" for scan in scans]
    for place, out in enumerate(outs):
        if out in outs[:place]:
            raise ValueError(f"{scans[place]}: another scan of that name would get the same heatmap {out}")
        if sidecar_path(out).exists() and not (request.overwrite or request.resume):
            raise ValueError(
                f"{out}: exists already; use --resume to explain the others, or --overwrite to make it "
                "again"
            )
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for scan, out in zip(scans, outs, strict=True):
        if request.resume and sidecar_path(out).exists():
            continue
        begun = request.resume and explain.resumable and scores_path(out).exists()
        try:
            tell(out, run_explain(replace(request, scan=scan, out=out, resume=begun)))
        except (ValueError, TypeError) as error:
            failed.append((scan, str(error)))
    return failed


def is_folder(path: Path) -> bool:
    """Return whether a path is searched for scans: a folder that is not named like a scan."""
    return path.is_dir() and not scan_suffix(path)


def _leads(path: Path) -> bool:
    """Return whether a file names a scan: of an Analyze pair only the header does."""
    return path.suffix.lower() != ".img" or not path.with_suffix(".hdr").exists()


def _stem(scan: Path) -> str:
    return scan.name[: len(scan.name) - len(scan_suffix(scan))]
