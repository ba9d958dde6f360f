"""What a page is made of: heatmaps, and what its caller puts around them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyadx.report.region_places import RegionPlaces


@dataclass(frozen=True, eq=False)
class PageHeatmap:
    """A heatmap on the voxels of the scan.

    Attributes
    ----------
    name : str
        What the reader calls it.
    values : numpy.ndarray
        ``[I, J, K]`` in the scan's own axis order.
    facts : dict
        Its sidecar, as `pyadx explain` writes it; may be empty. Folders in it do not reach the page.
    remark : str
        Said where it is shown; by default whether it is approximate.
    ends : pair of str, optional
        What negative and positive values mean; by default what the sidecar says.
    places : RegionPlaces, optional
        Regions that buttons lead to; by default those of the sidecar.
    listed : bool
        Offered in a list of one subject each, and left out of the still sections.
    """

    name: str
    values: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
    ends: tuple[str, str] | None = None
    places: RegionPlaces | None = None
    listed: bool = False


@dataclass(frozen=True)
class Around:
    """HTML that a caller adds, who escapes what it holds.

    Attributes
    ----------
    lead, first, last : str
        Above the viewer, right beneath it, and at the end.
    """

    lead: str = ""
    first: str = ""
    last: str = ""
