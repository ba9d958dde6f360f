"""Options of still figures: as given on the command line, and resolved on a scan."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyadx.data.regions import read_mask
from pyadx.data.scans import Scan
from pyadx.files import check_output_file
from pyadx.report.panels import FIGURES, check_figure_name, check_figures_possible
from pyadx.report.steering import read_threshold, voxel_at

SLICES, THRESHOLD, MASK = "--slices", "--threshold", "--figure-mask"


@dataclass(frozen=True)
class FigureOptions:
    """Slices, threshold and mask of a figure, as given on the command line.

    Attributes
    ----------
    slices : str, optional
        ``X,Y,Z``, mm of the scan's world (RAS+).
    threshold : str, optional
        A number, or a percentile such as ``99%``.
    mask : Path, optional
        Mask in the scan's space, on any grid.
    """

    slices: str | None = None
    threshold: str | None = None
    mask: Path | None = None

    @property
    def given(self) -> list[str]:
        """Names of the options that were given."""
        values = {SLICES: self.slices, THRESHOLD: self.threshold, MASK: self.mask}
        return [name for name, value in values.items() if value is not None]

    @property
    def position(self) -> tuple[float, float, float] | None:
        """The slices as numbers.

        Raises
        ------
        ValueError
            If they are not three numbers.
        """
        if self.slices is None:
            return None
        try:
            x, y, z = map(float, self.slices.split(","))
        except ValueError:
            x = y = z = math.nan
        if not all(map(math.isfinite, (x, y, z))):
            raise ValueError(f"{SLICES} must be X,Y,Z in mm, such as -26,-20,-18; got {self.slices!r}")
        return x, y, z

    def check(self) -> None:
        """Raise ``ValueError`` if slices or threshold have the wrong form, before any work."""
        _ = self.position
        if self.threshold is not None:
            read_threshold(self.threshold)

    def on(self, grid: Scan, name: str, read: Callable[[Path], np.ndarray] | None = None) -> dict[str, Any]:
        """Return the arguments of `pyadx.report.scan_panels.save_scan_panels` for a grid.

        Parameters
        ----------
        grid : Scan
            The volume that is drawn.
        name : str
            Its name in error messages.
        read : callable, optional
            Reads the mask as bool ``[I, J, K]`` on that grid; by default `pyadx.data.regions.read_mask`.

        Raises
        ------
        ValueError
            If slices are outside the grid, or the mask cannot be read or is empty on the grid.
        """
        position = self.position
        if position is not None:
            voxel_at(position, grid.affine, grid.data.shape, name)
        mask = None
        if self.mask is not None:
            mask = read_mask(self.mask, grid) if read is None else read(self.mask)
        return {"slices": position, "threshold": self.threshold, "mask": mask}


def check_figure_file(path: Path, *, overwrite: bool) -> None:
    """Check that a still figure can be drawn and written.

    Raises
    ------
    ValueError
        If matplotlib is missing, the name ends neither in .png nor in .pdf, or the file exists.
    """
    check_figures_possible()
    check_figure_name(path)
    check_output_file(path, overwrite=overwrite)


def is_figure(out: Path, drawn: FigureOptions) -> bool:
    """Return whether a report is a still figure and not a page, by the suffix of its file.

    Raises
    ------
    ValueError
        If it is neither, an option has the wrong form, or options of figures were given for a page.
    """
    suffix = out.suffix.lower()
    if suffix not in (".html", ".htm", *FIGURES):
        raise ValueError(f"{out}: a page is written as .html, a figure as .png or .pdf")
    others = [name for name in drawn.given if name != SLICES]
    if suffix not in FIGURES and others:
        raise ValueError(
            f"{others[0]} is for a still figure, such as -o heat.png; a page lets its reader choose"
        )
    drawn.check()
    return suffix in FIGURES
