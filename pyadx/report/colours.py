"""Colour scale of a heatmap, shared by figures, comparisons, the report page and notebooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.report.sidecars import followed_sign, sign_words

# Perceptually uniform colour maps, safe for colour-blind readers. Figures use the first of each kind.
SEQUENTIAL = ("inferno", "viridis", "plasma", "cividis")
_DARK = (18, 14, 24)
# Stops from 0 to the end of each side: (share of the range, colour). Lightness is equal on both sides.
DIVERGING = {
    "blue-red": {
        "negative": ((0.0, _DARK), (0.15, (20, 56, 140)), (0.5, (30, 120, 216)), (1.0, (96, 200, 255))),
        "positive": ((0.0, _DARK), (0.15, (125, 24, 22)), (0.5, (212, 84, 22)), (1.0, (255, 184, 60))),
    },
    "green-purple": {
        "negative": ((0.0, _DARK), (0.15, (15, 70, 35)), (0.5, (35, 135, 65)), (1.0, (130, 220, 110))),
        "positive": ((0.0, _DARK), (0.15, (84, 32, 110)), (0.5, (156, 80, 196)), (1.0, (228, 160, 245))),
    },
}
SHADES = 5  # shades of table cells on each side of 0
_PERCENTILE = 99.5


@dataclass(frozen=True)
class ColourScale:
    """How the values of one heatmap become colours. Zero is always transparent.

    Attributes
    ----------
    signed : bool
        Whether colours diverge from 0. They run from ``-top`` to ``top`` if so, and else from 0 to ``top``.
    top : float
        The 99.5th percentile of the absolute values that are not zero; 1 if all values are zero.
    low, high : str
        Meaning of the two ends, such as "speaks for NC" and "speaks for AD"; empty if unsigned.
    """

    signed: bool
    top: float
    low: str = ""
    high: str = ""

    @property
    def bottom(self) -> float:
        """Value at the lower end of the scale."""
        return -self.top if self.signed else 0.0

    def colormap(self) -> Any:
        """Return the Matplotlib colour map from `bottom` to `top`."""
        from matplotlib import colormaps
        from matplotlib.colors import LinearSegmentedColormap

        if not self.signed:
            return colormaps[SEQUENTIAL[0]]
        name, sides = next(iter(DIVERGING.items()))
        down = [(0.5 - share / 2, unit_colour(colour)) for share, colour in reversed(sides["negative"])]
        up = [(0.5 + share / 2, unit_colour(colour)) for share, colour in sides["positive"][1:]]
        return LinearSegmentedColormap.from_list(name, [*down, *up], N=511)

    def opacity(self, values: np.ndarray) -> np.ndarray:
        """Return the opacity of values of any shape: 0 for zero, rising linearly to 1 at the ends."""
        share = np.abs(values.astype(np.float64)) / self.top
        return np.clip(share, 0, 1)

    @property
    def words(self) -> str:
        """Label of the colour bar with the meaning of both ends; empty if unsigned."""
        return f"\N{LEFTWARDS ARROW} {self.low}    {self.high} \N{RIGHTWARDS ARROW}" if self.low else ""


def colour_scale(values: np.ndarray, facts: Mapping[str, Any] | None = None) -> ColourScale:
    """Choose the colour scale of a heatmap: signed or not, its range, and the meaning of the signs.

    A map is signed if it has negative values, or if its sidecar says that signs were kept.

    Parameters
    ----------
    values : numpy.ndarray
        The whole heatmap, of any shape.
    facts : mapping, optional
        Its sidecar, as `pyadx explain` writes it.

    Returns
    -------
    ColourScale
        Depends only on the values and the sidecar, so a map looks the same wherever it is drawn.
    """
    facts = facts or {}
    size = np.abs(values[np.isfinite(values) & (values != 0)].astype(np.float64))
    top = float(np.percentile(size, _PERCENTILE)) if size.size else 1.0
    if not (values.min() < 0 or followed_sign(facts)):
        return ColourScale(False, top)
    return ColourScale(True, top, *sign_words(facts))


def viewer_colormaps() -> dict[str, Any]:
    """Return the colour maps that the page offers: NiiVue's own, and ours to add to it.

    Returns
    -------
    dict
        ``sequential`` : names of NiiVue's colour maps. ``diverging`` : name to the two sides, each with the
        lists ``R``, ``G``, ``B``, ``A`` and ``I`` (position, 0 to 255) for NiiVue's ``addColormap``.
    """
    sides = {name: {side: _points(stops) for side, stops in own.items()} for name, own in DIVERGING.items()}
    return {"sequential": list(SEQUENTIAL), "diverging": sides}


def sign_colours(name: str = "blue-red") -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the RGB colours of negative and positive bars; both are visible on white and on black."""
    return DIVERGING[name]["negative"][2][1], DIVERGING[name]["positive"][2][1]


def sign_colormap() -> Any:
    """Return a Matplotlib colour map for a white background: pale grey at 0, bar colours at the ends."""
    from matplotlib.colors import LinearSegmentedColormap

    negative, positive = sign_colours()
    return LinearSegmentedColormap.from_list(
        "signs", [unit_colour(negative), (0.8, 0.8, 0.8), unit_colour(positive)]
    )


def sign_styles() -> str:
    """Return the page's CSS rules for bars, and for table cells in `SHADES` shades on each side of 0.

    The content security policy forbids inline styles, so the colours of bars and cells are classes. They
    follow the colour map chosen in the viewer, which the body's ``data-signs`` attribute holds.
    """
    rules = []
    for place, name in enumerate(DIVERGING):
        body = f'body[data-signs="{name}"] ' if place else ""
        for sign, (red, green, blue) in zip(("minus", "plus"), sign_colours(name), strict=True):
            rules.append(f"{body}.{sign} {{ fill: rgb({red} {green} {blue}); }}")
            for step in range(1, SHADES + 1):
                shade = f"rgb({red} {green} {blue} / {0.7 * step / SHADES:.0%})"
                rules.append(f"{body}.{sign}-{step} {{ background: {shade}; }}")
    return "\n".join(rules) + "\n"


def _points(stops: tuple[tuple[float, tuple[int, int, int]], ...]) -> dict[str, list[int]]:
    """Convert one side to NiiVue's format: transparent at exactly 0, opaque from the next step on."""
    (_, first), *rest = stops
    places = [0, 1, *(round(255 * share) for share, _ in rest)]
    red, green, blue = (list(channel) for channel in zip(first, first, *(c for _, c in rest), strict=True))
    return {"R": red, "G": green, "B": blue, "A": [0, *[255] * (len(places) - 1)], "I": places}


def unit_colour(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return a colour as Matplotlib takes it, each channel from 0 to 1."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
