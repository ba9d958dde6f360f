"""Options that several methods share, declared once so that name, help and values agree."""

from functools import partial
from typing import Annotated, get_args

from pyadx import ops
from pyadx.explainers.option_kinds import BYTES, LAYERS, OUTPUT, SWITCH, Kind, choice, optional
from pyadx.explainers.options import Align
from pyadx.explainers.references import (
    REGION_WORDS,
    VOLUME_WORDS,
    Reference,
    parse_reference,
    write_reference,
)
from pyadx.explainers.registry import Option
from pyadx.inference.capture import Layer
from pyadx.inference.engines import Engine
from pyadx.inference.incremental.options import Precision
from pyadx.inference.outputs import Output
from pyadx.inference.score import Outputs, Score

FILL = Kind(
    f"a number, {', '.join([*VOLUME_WORDS, *REGION_WORDS])}", parse_reference, write_reference, True
)
BASELINE = Kind(
    f"a number, {', '.join(VOLUME_WORDS)}", partial(parse_reference, regions=False), write_reference, True
)
_RECTIFY = choice(get_args(ops.Rectify))

FillOption = Annotated[Reference, Option("What regions are filled with.", FILL)]
COMPARED = Option("What the scan is compared with.", BASELINE)
BaselineOption = Annotated[Reference, COMPARED]
SignedOption = Annotated[
    bool, Option("Keep the sign: positive where a region speaks for the class.", SWITCH)
]
ScoreOption = Annotated[Score, Option("The score that is explained.", choice(get_args(Score)))]
OutputsOption = Annotated[Outputs, Option("What the network returns.", choice(get_args(Outputs)))]
OutputOption = Annotated[
    Output, Option("Which of several outputs holds the class scores.", optional(OUTPUT))
]
LayerOption = Annotated[
    Layer | None,
    Option("Name of the layer; none: the model's gradcam_layer or last 3D convolution.", optional(LAYERS)),
]
RectifyOption = Annotated[ops.Rectify, Option("What is done to the weighted sum.", _RECTIFY)]
AlignOption = Annotated[
    Align,
    Option(
        "How the map is placed on the scan: stretched over it, or by receptive fields.",
        choice(get_args(Align)),
    ),
]
EngineOption = Annotated[
    Engine, Option("How regions are scored.", choice(get_args(Engine)), changes_map=False)
]
PrecisionOption = Annotated[
    Precision, Option("Precision of the incremental engine's convolutions.", choice(get_args(Precision)))
]
MemoryOption = Annotated[
    int | None,
    Option("Memory for the incremental engine's cache and batches.", optional(BYTES), changes_map=False),
]
