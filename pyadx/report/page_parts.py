"""Input of a page: its heatmaps, and HTML that the caller adds around the viewer."""

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
        Name of the heatmap on the page.
    values : numpy.ndarray
        ``[I, J, K]`` in the scan's own axis order.
    facts : dict
        The sidecar, as `pyadx explain` writes it; may be empty. The page's copy has no folder names.
    remark : str
        Shown together with the heatmap. By default it says whether the heatmap is approximate.
    ends : pair of str, optional
        Meaning of negative and of positive values. By default it is taken from the sidecar.
    places : RegionPlaces, optional
        Regions that the page can show in the viewer. By default those of the sidecar.
    listed : bool
        Whether the heatmap is a single subject's: offered in a drop-down list, and left out of the still
        sections.
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
    """HTML that the caller adds to the page. The caller must escape it.

    Attributes
    ----------
    lead, first, last : str
        HTML above the viewer, directly below it, and at the end of the page.
    """

    lead: str = ""
    first: str = ""
    last: str = ""
