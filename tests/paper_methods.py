"""Occlusion methods as the paper defines them, for tests of definitions, engines and runs: filled with 0,
the absolute change of the probability, unless a test says otherwise.
"""

import pyadx

PAPER = {"fill": 0.0, "signed": False, "score": "probability"}


class Occlusion(pyadx.Occlusion):
    def __init__(self, model, window=7, stride=1, fill=0.0, engine="auto", **more):
        own = {**PAPER, **more}
        own.pop("fill")
        super().__init__(model, window, stride, fill, engine, **own)


class SupervoxelOcclusion(pyadx.SupervoxelOcclusion):
    def __init__(self, model, fill=0.0, *arguments, **more):
        own = {**PAPER, **more}
        own.pop("fill")
        if len(arguments) > 1:
            own.pop("signed")
        super().__init__(model, fill, *arguments, **own)
