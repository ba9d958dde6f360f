"""Prepare scans as inputs of a network: a single scan, or a whole cohort."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord
from pyadx.data.grids import FittedScan, fit_to_card
from pyadx.data.intensity import scale_intensity
from pyadx.data.scans import Scan, read_scan
from pyadx.files import replacing
from pyadx.models.card import ModelCard
from pyadx.short_reprs import short_repr

_PAIRS = (".hdr", ".img")
_LEAST_KEPT = 0.9  # share of a scan's intensity on the grid; with less, the scan does not fit the grid


@dataclass(frozen=True, eq=False)
class PreparedScans:
    """A cohort prepared for a network.

    Attributes
    ----------
    volumes : numpy.ndarray
        float32 ``[N, D, H, W]``, in memory or memory-mapped.
    scans : tuple of ScanRecord
        The scans in the same order.
    labels : numpy.ndarray
        int64 ``[N]``, index of the class; -1 if the cohort was read without classes.
    hashes : tuple of str
        SHA-256 of each scan's voxels (`voxel_hash`).
    unreadable : tuple of Exclusion
        Scans that were left out because they could not be read.
    """

    volumes: np.ndarray
    scans: tuple[ScanRecord, ...]
    labels: np.ndarray
    hashes: tuple[str, ...]
    unreadable: tuple[Exclusion, ...]

    __repr__ = short_repr

    def indices(self, subjects: Sequence[str]) -> np.ndarray:
        """Return the indices of subjects, int64, without those that could not be read."""
        place = {scan.subject: i for i, scan in enumerate(self.scans)}
        return np.array([place[name] for name in subjects if name in place], np.int64)


def prepared_volume(
    fitted: FittedScan,
    card: ModelCard,
    like: FittedScan | None = None,
    channels: Sequence[Scan] = (),
) -> Tensor:
    """Return the network's input ``[1, C, D, H, W]`` for a scan on its grid.

    Parameters
    ----------
    fitted : FittedScan
        The scan, which is the first channel.
    card : ModelCard
        Card of the network.
    like : FittedScan, optional
        Scan whose statistics scale the intensities, for example the patient of a healthy twin.
    channels : sequence of Scan
        Further channels on the scan's voxels (`pyadx.data.channels.read_channels`), each scaled by its
        own statistics.

    Raises
    ------
    ValueError
        If the network takes another number of channels, or intensities cannot be scaled.
    """
    if 1 + len(channels) != card.channels:
        raise ValueError(
            f"{fitted.scan.path}: the network takes {card.channels} images of a person, got "
            f"{1 + len(channels)}; give the others with --channel FILE, in the order it was trained on"
            if card.channels > 1
            else f"{fitted.scan.path}: the network takes one image of a person, got {1 + len(channels)}"
        )
    if channels:
        own = replace(card, channels=1)
        return torch.cat(
            [
                prepared_volume(fitted, own, like),
                *(prepared_volume(fit_to_card(c, own), own) for c in channels),
            ],
            1,
        )
    try:
        scaled = scale_intensity(fitted.data, card.preprocessing, None if like is None else like.data)
    except ValueError as error:
        raise ValueError(f"{fitted.scan.path}: {error}") from None
    return torch.from_numpy(scaled)[None, None]


def voxel_hash(scan: Scan) -> str:
    """Return the SHA-256 of a scan's shape and voxels, independent of the file format."""
    digest = hashlib.sha256(str(scan.data.shape).encode())
    digest.update(np.ascontiguousarray(scan.data, "<f4").tobytes())
    return digest.hexdigest()


def prepare_scans(
    cohort: Cohort,
    card: ModelCard,
    *,
    cache: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> PreparedScans:
    """Read all scans of a cohort and resample them to a network's grid.

    Parameters
    ----------
    cohort : Cohort
        Its scans may differ in shape, voxel size and orientation if the card states a voxel size.
    card : ModelCard
        Grid, voxel size and intensity scaling.
    cache : path, optional
        Folder for a memory-mapped copy, which is used again for the same files and grid. Errors of the
        files are raised from the copy, too. Without a cache the volumes stay in memory.
    skip_unreadable : bool
        Leave out and list scans that cannot be read, instead of raising.
    advance : callable
        Called with the number of scans done.

    Raises
    ------
    ValueError
        If a scan cannot be read, voxel sizes differ and the card states none, or the same image belongs to
        two subjects. All unreadable scans are named at once.
    """
    key = _cache_key(cohort, card)
    cache = None if cache is None else Path(cache)
    if cache is not None and (kept := _from_cache(cache, key, cohort)) is not None:
        if not skip_unreadable:
            _refuse_unreadable(kept.unreadable, len(cohort.scans))
        advance(len(cohort.scans))
        return kept
    shape = (len(cohort.scans), *card.in_shape)
    if cache is None:
        return _read_into(np.empty(shape, np.float32), cohort, card, skip_unreadable, advance)
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(cache / "volumes.npy", cache / "volumes.json") as (partial, note):
            memory = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
            made = _read_into(memory, cohort, card, skip_unreadable, advance)
            memory.flush()
            facts = {
                "key": key,
                "subjects": [scan.subject for scan in made.scans],
                "hashes": made.hashes,
                "unreadable": [(e.subject, e.scan_id, e.reason) for e in made.unreadable],
            }
            note.write_text(json.dumps(facts), encoding="utf-8")
    except BaseException:
        with suppress(OSError):  # the folder holds other files
            cache.rmdir()
        raise
    again = _from_cache(cache, key, cohort)
    assert again is not None
    return again


def _read_into(
    volumes: np.ndarray,
    cohort: Cohort,
    card: ModelCard,
    skip_unreadable: bool,
    advance: Callable[[int], None],
) -> PreparedScans:
    scans: list[ScanRecord] = []
    hashes: list[str] = []
    unreadable: list[Exclusion] = []
    sizes: dict[tuple[float, ...], str] = {}
    for record in cohort.scans:
        try:
            scan = read_scan(record.path)
            fitted = fit_to_card(scan, card)
            if fitted.kept < _LEAST_KEPT:
                raise ValueError(
                    f"{record.path}: only {fitted.kept:.0%} of its intensity lies on the grid of "
                    f"{'x'.join(map(str, card.in_shape))} voxels"
                )
            volumes[len(scans)] = prepared_volume(fitted, card)[0, 0].numpy()
        except ValueError as error:
            unreadable.append(Exclusion(record.subject, record.scan_id, f"unreadable: {error}"))
            advance(1)
            continue
        size = tuple(np.linalg.norm(fitted.affine[:3, :3], axis=0).round(3).tolist())
        sizes.setdefault(size, str(record.path))
        scans.append(record)
        hashes.append(voxel_hash(scan))
        advance(1)
    if not skip_unreadable:
        _refuse_unreadable(unreadable, len(cohort.scans))
    if len(sizes) > 1:
        (one, first), (two, second) = list(sizes.items())[:2]
        raise ValueError(f"voxel sizes differ: {first} has {one} mm, {second} {two} mm; give a spacing")
    _refuse_duplicates(scans, hashes)
    labels = _class_indices(cohort, scans)
    return PreparedScans(volumes[: len(scans)], tuple(scans), labels, tuple(hashes), tuple(unreadable))


def _refuse_unreadable(unreadable: Sequence[Exclusion], count: int) -> None:
    if not unreadable:
        return
    reasons = "; ".join(e.reason.removeprefix("unreadable: ") for e in unreadable[:5])
    more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
    raise ValueError(
        f"{len(unreadable)} of {count} scans cannot be read: {reasons}{more}; "
        "repair them, or leave them out with --skip-unreadable"
    )


def _class_indices(cohort: Cohort, scans: Sequence[ScanRecord]) -> np.ndarray:
    place = {name: i for i, name in enumerate(cohort.class_names)}
    return np.array([place.get(scan.label, -1) for scan in scans], np.int64)


def _refuse_duplicates(scans: Sequence[ScanRecord], hashes: Sequence[str]) -> None:
    seen: dict[str, ScanRecord] = {}
    for scan, own in zip(scans, hashes, strict=True):
        other = seen.setdefault(own, scan)
        if other is not scan:
            raise ValueError(
                f"{other.path} and {scan.path} hold the same image, as subjects {other.subject} and "
                f"{scan.subject}: one person on both sides of a split would leak; remove one of them"
            )


def _cache_key(cohort: Cohort, card: ModelCard) -> str:
    facts: list[Any] = [card.in_shape, card.preprocessing]
    for scan in cohort.scans:
        facts.append((str(scan.path), scan.subject, [_version(path) for path in _files_of(scan.path)]))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _files_of(scan: Path) -> list[Path]:
    """Return the files of a scan; header and voxels may be in separate files."""
    if scan.suffix.lower() not in _PAIRS:
        return [scan]
    return [scan.with_suffix(suffix) for suffix in (*_PAIRS, *map(str.upper, _PAIRS))]


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _from_cache(cache: Path, key: str, cohort: Cohort) -> PreparedScans | None:
    try:
        facts = json.loads((cache / "volumes.json").read_text(encoding="utf-8"))
        if facts["key"] != key:
            return None
        volumes = np.load(cache / "volumes.npy", mmap_mode="r", allow_pickle=False)
        by_subject = {scan.subject: scan for scan in cohort.scans}
        scans = tuple(by_subject[name] for name in facts["subjects"])
        unreadable = tuple(Exclusion(*entry) for entry in facts["unreadable"])
        hashes = tuple(facts["hashes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    labels = _class_indices(cohort, scans)
    return PreparedScans(volumes[: len(scans)], scans, labels, hashes, unreadable)
