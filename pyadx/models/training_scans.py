"""A record of a network's training scans in its card, which answers only those who have the scans.

Checkpoints are shared, but data use agreements may forbid sharing the ids of subjects. A checkpoint
therefore contains only salted hashes of every subject's id and of every scan's voxels. Each checkpoint has
its own random salt, so the hashes of two checkpoints cannot be compared. Nobody can guess the voxels of a
scan. Ids can be guessed by someone with a list of possible ids, so their hash is a slow one. `stripped` can
also remove all hashes.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyadx.models.card import ModelCard

_SCANS, _SALT = "training_scans", "training_salt"
_ROUNDS = 20_000  # iterations of PBKDF2, about 10 ms
_SALT_FORM = re.compile(r"(?:[0-9a-f]{2}){16,32}")


@dataclass(frozen=True)
class Seen:
    """Whether a network was trained on an image, and on a subject.

    Attributes
    ----------
    image, subject : bool or None
        ``None`` if it is not known.
    """

    image: bool | None
    subject: bool | None


def training_record(
    subjects: Iterable[str],
    scans: Iterable[str],
    voxel_hashes: Iterable[str],
    *,
    keep_ids: bool = False,
    earlier: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of training scans for the provenance in a card.

    Parameters
    ----------
    subjects, scans : iterable of str
        Ids of the subject and of the scan, for each scan.
    voxel_hashes : iterable of str
        SHA-256 of each scan's voxels (`pyadx.data.inputs.voxel_hash`).
    keep_ids : bool
        Write ids and plain hashes, and not salted hashes.
    earlier : dict, optional
        Provenance of the network that the training started from. Its training scans stay in the record, in
        the form that they have there.

    Returns
    -------
    dict
        ``training_scans``, a list with an entry per scan, and ``training_salt``, the salt of the hashes.
    """
    entries = list(zip(subjects, scans, voxel_hashes, strict=True))
    before, salt = _record(earlier or {})
    if before:
        return _continued(before, salt, entries, keep_ids)
    if keep_ids:
        named = [{"subject": who, "scan": scan, "voxels_sha256": own} for who, scan, own in entries]
        return {_SCANS: named}
    return _salted((who, own) for who, _, own in entries)


def seen_in_training(card: ModelCard, voxels: str, subject: str | None = None) -> Seen:
    """Find out whether a network was trained on an image or on a subject.

    The image is recognised by its voxels; the name of its file does not matter.

    Parameters
    ----------
    card : ModelCard
        Card of the network; it may be one of an older version of pyadx.
    voxels : str
        SHA-256 of the scan's voxels (`pyadx.data.inputs.voxel_hash`).
    subject : str, optional
        Id of the scan's subject, with or without ``sub-`` in front.

    Returns
    -------
    Seen
        ``None`` for both if the card of a trained network has no record, and for the subject if no id is
        given.
    """
    if not card.trained:
        return Seen(False, False)
    entries, salt = _record(card.provenance)
    if entries is None:
        return Seen(None, None)
    image = voxels in {_plain(entry, "voxels_sha256", "sha256") for entry in entries}
    who = None if subject is None else _label(subject)
    same = who in {_label(found) for entry in entries if (found := _plain(entry, "subject")) is not None}
    if salt is not None:
        image |= _voxels(voxels, salt) in {_plain(entry, "salted_voxels") for entry in entries}
        if who is not None:
            same |= _subject(who, salt) in {_plain(entry, "salted_subject") for entry in entries}
    return Seen(image, None if subject is None else same)


def stripped(provenance: dict[str, Any], *, remove: bool = False) -> dict[str, Any]:
    """Return a provenance without ids and plain hashes of training scans.

    Ids and plain hashes become salted hashes.

    Parameters
    ----------
    provenance : dict
        Provenance in a card; it is not changed.
    remove : bool
        Remove the whole record. Nobody can then find out whether a scan was trained on.
    """
    kept = {name: value for name, value in provenance.items() if name not in (_SCANS, _SALT)}
    entries, salt = _record(provenance)
    if remove or not entries:
        return kept
    if salt is not None and all({"salted_subject", "salted_voxels"} == set(entry) for entry in entries):
        return {**kept, _SALT: salt, _SCANS: entries}
    plain = ((_plain(e, "subject"), _plain(e, "voxels_sha256", "sha256")) for e in entries)
    return {**kept, **_salted((who, own) for who, own in plain if who is not None and own is not None)}


def _continued(
    before: list[dict[str, Any]], salt: str | None, entries: list[tuple[str, str, str]], keep_ids: bool
) -> dict[str, Any]:
    """Add scans to an earlier record, with its salt, because existing hashes cannot be salted anew."""
    salted = _salted(((who, own) for who, _, own in entries), salt)
    named = [{"subject": who, "scan": scan, "voxels_sha256": own} for who, scan, own in entries]
    added = named if keep_ids else salted[_SCANS]
    return {_SCANS: sorted([*before, *added], key=str), _SALT: salted[_SALT]}


def _salted(entries: Iterable[tuple[str, str]], salt: str | None = None) -> dict[str, Any]:
    salt = salt or secrets.token_hex(16)
    made = [
        {"salted_subject": _subject(_label(who), salt), "salted_voxels": _voxels(own, salt)}
        for who, own in entries
    ]
    # Sorted by hash, because the order of the cohort would reveal which subjects are neighbours in it.
    return {_SALT: salt, _SCANS: sorted(made, key=lambda entry: entry["salted_voxels"])}


def _record(provenance: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, str | None]:
    """Return entries and salt, each ``None`` if missing or malformed; anybody may have written the card."""
    entries, salt = provenance.get(_SCANS), provenance.get(_SALT)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        entries = None
    usable = isinstance(salt, str) and _SALT_FORM.fullmatch(salt) is not None
    return entries, salt if usable else None


def _plain(entry: dict[str, Any], *names: str) -> str | None:
    found = next((entry[name] for name in names if name in entry), None)
    return found if isinstance(found, str) else None


def _label(subject: str) -> str:
    return subject.removeprefix("sub-")


def _voxels(own: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{own}".encode()).hexdigest()


def _subject(label: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", label.encode(), bytes.fromhex(salt), _ROUNDS).hex()
