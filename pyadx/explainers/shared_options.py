"""Options that mean the same for several methods: declared once, under one name."""

import hashlib
from typing import Annotated, Any, get_args

import numpy as np

from pyadx import ops
from pyadx.explainers.option_kinds import BYTES, LAYERS, SWITCH, Kind, choice, number, optional
from pyadx.explainers.options import Align
from pyadx.explainers.registry import Option
from pyadx.inference.capture import Layer
from pyadx.inference.engines import Engine
from pyadx.inference.incremental.scorer import Precision
from pyadx.inference.score import Outputs, Score
from pyadx.ops.arrays import plain_array


def _write_fill(value: Any) -> str:
    if np.ndim(value) == 0 and not isinstance(value, str):
        return number().write(float(value))
    data = np.ascontiguousarray(plain_array("fill", value), np.float64)
    return f"array-{hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()[:8]}"


_FILL = Kind("a finite number", number().parse, _write_fill)
_RECTIFY = choice(get_args(ops.Rectify))

FillOption = Annotated[ops.Fill, Option("What regions are filled with.", _FILL)]
SignedOption = Annotated[
    bool, Option("Keep the sign: positive where a region speaks for the class.", SWITCH)
]
ScoreOption = Annotated[Score, Option("What is followed.", choice(get_args(Score)))]
OutputsOption = Annotated[Outputs, Option("What the network returns.", choice(get_args(Outputs)))]
LayerOption = Annotated[
    Layer | None, Option("Name of the layer; default: the network's last.", optional(LAYERS))
]
RectifyOption = Annotated[ops.Rectify, Option("What is done to the weighted sum.", _RECTIFY)]
AlignOption = Annotated[
    Align,
    Option(
        "How the map is laid over the scan: over all of it, or where cells look.", choice(get_args(Align))
    ),
]
EngineOption = Annotated[
    Engine, Option("How regions are scored.", choice(get_args(Engine)), changes_map=False)
]
PrecisionOption = Annotated[
    Precision, Option("What the incremental engine's convolutions compute in.", choice(get_args(Precision)))
]
MemoryOption = Annotated[
    int | None,
    Option("Bound for the incremental engine's cache and batches.", optional(BYTES), changes_map=False),
]
