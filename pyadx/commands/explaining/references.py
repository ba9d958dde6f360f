"""References on the command line: reading files, facts for sidecars, and the second reference."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from pyadx.data.file_kinds import scan_suffix
from pyadx.data.grids import FittedScan, map_to_scan
from pyadx.data.heatmaps import check_heatmap_path
from pyadx.data.inputs import voxel_hash
from pyadx.data.reference_scans import reference_on_scan
from pyadx.data.scans import read_scan
from pyadx.explainers import MethodSpec
from pyadx.explainers.references.resolve import controls_of
from pyadx.explainers.references.words import file_of, needs_network, write_reference
from pyadx.models.card import ModelCard


def reference_arguments(spec: MethodSpec, fitted: FittedScan, card: ModelCard) -> dict[str, Tensor]:
    """Return the arguments of an explainer's `run` for a reference file; empty for other references.

    Raises
    ------
    ValueError
        If the file is not a usable scan, or does not overlap the explained scan.
    """
    file = _file(spec)
    return {} if file is None else {"reference": reference_on_scan(file, fitted, card)[None]}


def reference_facts(spec: MethodSpec, model: nn.Module) -> dict[str, Any] | None:
    """Return the reference's name, and a hash of its contents where the name does not decide them.

    Raises
    ------
    ValueError
        If the reference is a file that cannot be read.
    """
    if spec.reference is None:
        return None
    value = spec.options[spec.reference]
    facts: dict[str, Any] = {"option": spec.reference, "name": write_reference(value)}
    file = file_of(value)
    if file is not None:
        facts["voxels_sha256"] = voxel_hash(read_scan(Path(file)))
    if needs_network(value):
        facts["voxels_sha256"] = hashlib.sha256(controls_of(model).cpu().numpy().tobytes()).hexdigest()
    return facts


def with_reference(spec: MethodSpec, word: str) -> MethodSpec:
    """Return a method with another reference.

    Raises
    ------
    ValueError
        If the method has no reference, no reference has this name, or it is the method's own reference.
    """
    name = spec.reference
    if name is None:
        raise ValueError(f"--second-reference has no meaning for {spec.canonical}, which has no reference")
    other = replace(spec, options={**spec.options, name: spec.method.options[name].parse(word)})
    if other.canonical == spec.canonical:
        raise ValueError(f"--second-reference {word}: is the same as the first reference")
    return other


@dataclass(frozen=True)
class Second:
    """The map with a second reference: its method, its file, and the arguments of `MethodSpec.build`."""

    spec: MethodSpec
    path: Path
    how: Mapping[str, Any]

    def make(
        self,
        model: nn.Module,
        volume: Tensor,
        target: int,
        fitted: FittedScan,
        card: ModelCard,
        first: np.ndarray,
        sidecar: dict[str, Any],
        mask: np.ndarray | None,
    ) -> tuple[Path, np.ndarray, dict[str, Any]]:
        """Return the file, map and sidecar; add the agreement of both maps to the first map's sidecar."""
        explain = self.spec.build(model, spacing=card.preprocessing.spacing, **self.how)
        more: dict[str, Any] = {} if mask is None else {"mask": mask}
        found = explain.run(volume, target, **more, **reference_arguments(self.spec, fitted, card))
        heat = map_to_scan(found.heatmap[0].cpu().numpy(), fitted)
        own = reference_facts(self.spec, model) or {}
        agreement = compared(first, heat, fitted.scan.affine)
        earlier = sidecar["reference"]
        sidecar["second_reference"] = {"file": self.path.name, **own, **agreement}
        facts = {
            **sidecar,
            "spelling": self.spec.canonical,
            "parameters": self.spec.plain_options(),
            "reference": own,
            "second_reference": {**earlier, **agreement},
        }
        return self.path, heat, facts


def second_of(spec: MethodSpec, word: str | None, out: Path, overwrite: bool, **how: Any) -> Second | None:
    """Return the map of ``--second-reference``, whose file is beside the first map.

    ``how`` holds the arguments ``batch_size`` and ``progress``.

    Raises
    ------
    ValueError
        If the method has no reference, no reference has that name, or the file exists already.
    """
    if word is None:
        return None
    other = with_reference(spec, word)
    assert other.reference is not None
    suffix = scan_suffix(out)
    written = write_reference(other.options[other.reference])
    plain = "".join(c if c.isalnum() else "-" for c in written).strip("-")
    path = out.with_name(f"{out.name[: len(out.name) - len(suffix)]}_reference-{plain}{suffix}")
    return Second(other, check_heatmap_path(path, overwrite=overwrite), how)


def compared(first: np.ndarray, second: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Measure how much a map depends on its reference.

    Parameters
    ----------
    first, second : ndarray
        ``[I, J, K]`` on the scan.
    affine : ndarray
        Voxel-to-world matrix.

    Returns
    -------
    dict
        Pearson correlation over voxels where either map is not 0; the share of the first map's absolute
        sum in voxels where the second map has the opposite sign; and the strongest such voxel, with its
        position in mm and its value in both maps.
    """
    there = (first != 0) | (second != 0)
    correlation = None
    if there.any() and first[there].std() > 0 and second[there].std() > 0:
        correlation = round(float(np.corrcoef(first[there], second[there])[0, 1]), 4)
    flips = first * second < 0
    total = float(np.abs(first).sum(dtype=np.float64))
    facts: dict[str, Any] = {
        "correlation": correlation,
        "share_with_other_sign": round(float(np.abs(first[flips]).sum(dtype=np.float64)) / total, 6)
        if total
        else 0.0,
    }
    if flips.any():
        strength = np.where(flips, np.minimum(np.abs(first), np.abs(second)), 0)
        place = np.unravel_index(int(strength.argmax()), strength.shape)
        facts["strongest_flip"] = {
            "at_mm": [round(float(n), 1) for n in (affine @ [*place, 1])[:3]],
            "first": float(first[place]),
            "second": float(second[place]),
        }
    return facts


def comparison_words(facts: dict[str, Any]) -> str:
    """Return the comparison as one line of text."""
    own = facts["correlation"]
    words = (
        f"second reference {facts['name']}: the maps correlate by {'nothing' if own is None else own}; "
        f"{_percent(facts['share_with_other_sign'])} of the first map's absolute sum has the opposite sign"
    )
    flip = facts.get("strongest_flip")
    at = "" if flip is None else f", strongest at {', '.join(f'{n:g}' for n in flip['at_mm'])} mm"
    return words + at


def _percent(share: float) -> str:
    return "less than 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _file(spec: MethodSpec) -> str | None:
    return None if spec.reference is None else file_of(spec.options[spec.reference])
