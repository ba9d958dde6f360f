"""Which scans a network was trained on, told in its card so that only who has the scans can ask.

A checkpoint may leave the site whose agreements forbid ids to leave it. It carries salted hashes only: of
every subject's id and of every scan's voxels, with a random salt of its own, so that those of two
checkpoints cannot be compared. Voxels cannot be guessed. Ids can, by whoever has a list of them; their hash
is a slow one, and `stripped` leaves nothing of them if that is too much.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyadx.models.card import ModelCard

_SCANS, _SALT = "training_scans", "training_salt"
_ROUNDS = 20_000  # of PBKDF2, some 10 ms
_SALT_FORM = re.compile(r"(?:[0-9a-f]{2}){16,32}")


@dataclass(frozen=True)
class Seen:
    """Whether a network was trained on an image, and on a subject; ``None`` where nothing can tell."""

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
    """Return what a card's provenance says about the scans of a training.

    Parameters
    ----------
    subjects, scans : iterable of str
        Ids.
    voxel_hashes : iterable of str
        SHA-256 of each scan's voxels (`pyadx.data.inputs.voxel_hash`).
    keep_ids : bool
        Write ids and plain hashes instead of salted ones.
    earlier : dict, optional
        Provenance of the network that the training started from: its scans were trained on, too.
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
    """Say whether a network was trained on an image, whatever its file is called, or on a subject.

    Parameters
    ----------
    card : ModelCard
        Of this or an older version of pyadx.
    voxels : str
        SHA-256 of the scan's voxels.
    subject : str, optional
        Whose scan it is; ``sub-`` in front of the id makes no difference.
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

    Parameters
    ----------
    provenance : dict
        Of a card.
    remove : bool
        Leave no salted hashes either; whether a scan was trained on can then no longer be told.
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
    """Add scans to the record of an earlier training, with its salt: hashes cannot be salted anew."""
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
    # Sorted by hash: the order of the cohort would tell who stands next to whom.
    return {_SALT: salt, _SCANS: sorted(made, key=lambda entry: entry["salted_voxels"])}


def _record(provenance: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, str | None]:
    """Return entries and salt; ``None`` where the card, which anybody may have written, has none."""
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
