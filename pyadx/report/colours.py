"""The colour scale of a heatmap: one decision for figures, comparisons, the report page and notebooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyadx.report.sidecars import followed_sign, sign_words

# Maps of even lightness, which colour-blind readers can tell apart. Figures use the first of each kind.
SEQUENTIAL = ("inferno", "viridis", "plasma", "cividis")
_DARK = (18, 14, 24)
# From 0 to the end of each side: share of the range and colour. Both sides are equally light at each share.
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
SHADES = 5  # of cells on each side of 0
_PERCENTILE = 99.5


@dataclass(frozen=True)
class ColourScale:
    """How the values of one heatmap become colours. Zero is always transparent.

    Attributes
    ----------
    signed : bool
        Whether colours diverge from 0: they run from ``-top`` to ``top``, else from 0 to ``top``.
    top : float
        The 99.5th percentile of the absolute values that are not zero; 1 where all are zero.
    low, high : str
        What the ends of the scale mean, such as "speaks for NC" and "speaks for AD"; empty if unsigned.
    """

    signed: bool
    top: float
    low: str = ""
    high: str = ""

    @property
    def bottom(self) -> float:
        """Value at the lower end."""
        return -self.top if self.signed else 0.0

    def colormap(self) -> Any:
        """Return Matplotlib's map of colours from `bottom` to `top`."""
        from matplotlib import colormaps
        from matplotlib.colors import LinearSegmentedColormap

        if not self.signed:
            return colormaps[SEQUENTIAL[0]]
        name, sides = next(iter(DIVERGING.items()))
        down = [(0.5 - share / 2, unit_colour(colour)) for share, colour in reversed(sides["negative"])]
        up = [(0.5 + share / 2, unit_colour(colour)) for share, colour in sides["positive"][1:]]
        return LinearSegmentedColormap.from_list(name, [*down, *up], N=511)

    def opacity(self, values: np.ndarray) -> np.ndarray:
        """Return 0 for zero to 1 at the ends, for values of any shape."""
        share = np.abs(values.astype(np.float64)) / self.top
        return np.clip(share, 0, 1)

    @property
    def words(self) -> str:
        """What the two ends mean, for beside a colour bar; empty if unsigned."""
        return f"\N{LEFTWARDS ARROW} {self.low}    {self.high} \N{RIGHTWARDS ARROW}" if self.low else ""


def colour_scale(values: np.ndarray, facts: Mapping[str, Any] | None = None) -> ColourScale:
    """Decide whether a heatmap is signed, the range of its colours, and what a sign means.

    A map is signed if it holds negative values, or if its sidecar says that signs were kept.

    Parameters
    ----------
    values : numpy.ndarray
        The whole heatmap, of any shape.
    facts : mapping, optional
        Its sidecar, as `pyadx explain` writes it.

    Returns
    -------
    ColourScale
        The same for the same values, wherever it is drawn.
    """
    facts = facts or {}
    size = np.abs(values[np.isfinite(values) & (values != 0)].astype(np.float64))
    top = float(np.percentile(size, _PERCENTILE)) if size.size else 1.0
    if not (values.min() < 0 or followed_sign(facts)):
        return ColourScale(False, top)
    return ColourScale(True, top, *sign_words(facts))


def viewer_colormaps() -> dict[str, Any]:
    """Return the colours that the page offers: names of the viewer's own, and ours for it to learn.

    Returns
    -------
    dict
        ``sequential`` : names that NiiVue knows. ``diverging`` : name to the two sides, each with the lists
        ``R``, ``G``, ``B``, ``A`` and ``I`` (place, 0 to 255) that NiiVue's ``addColormap`` takes.
    """
    sides = {name: {side: _points(stops) for side, stops in own.items()} for name, own in DIVERGING.items()}
    return {"sequential": list(SEQUENTIAL), "diverging": sides}


def sign_colours(name: str = "blue-red") -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the colours of a negative and a positive bar, which show on white and on black."""
    return DIVERGING[name]["negative"][2][1], DIVERGING[name]["positive"][2][1]


def sign_colormap() -> Any:
    """Return Matplotlib's map for lines on white: pale at 0, the colours of bars at both ends."""
    from matplotlib.colors import LinearSegmentedColormap

    negative, positive = sign_colours()
    return LinearSegmentedColormap.from_list(
        "signs", [unit_colour(negative), (0.8, 0.8, 0.8), unit_colour(positive)]
    )


def sign_styles() -> str:
    """Return the page's style rules for bars, and for cells in `SHADES` steps from 0.

    The page allows no styles but those of its head, so colours of bars and cells are classes. They follow
    the colours that are chosen in the viewer, which the body's ``data-signs`` holds.
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
    """Lay one side out for the viewer: transparent at 0 itself, opaque from the next step on."""
    (_, first), *rest = stops
    places = [0, 1, *(round(255 * share) for share, _ in rest)]
    red, green, blue = (list(channel) for channel in zip(first, first, *(c for _, c in rest), strict=True))
    return {"R": red, "G": green, "B": blue, "A": [0, *[255] * (len(places) - 1)], "I": places}


def unit_colour(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return a colour as Matplotlib takes it, each channel from 0 to 1."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
