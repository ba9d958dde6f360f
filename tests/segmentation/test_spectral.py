"""The eigenvectors of the gPb cue: a warning says so if they have not converged."""

import warnings

import numpy as np
import pytest

from pyadx.segmentation import ucm

linalg = pytest.importorskip("scipy.sparse.linalg")


def blobs():
    generator = np.random.default_rng(0)
    rough = generator.random((5, 5, 5), np.float32)
    volume = rough.repeat(5, 0).repeat(5, 1).repeat(5, 2)
    return volume + 0.1 * generator.random(volume.shape, np.float32)


@pytest.mark.parametrize(("spoilt", "warned"), [(-1, False), (0, True), (10, True)])
def test_only_eigenvectors_that_are_used_must_converge(monkeypatch, spoilt, warned):
    solve = linalg.lobpcg

    def spoil(*given, **options):
        values, vectors = solve(*given, **{**options, "maxiter": 200})
        vectors = vectors.copy()
        number = np.argsort(-values)[spoilt]  # the last one is spare
        vectors[:, number] = np.random.default_rng(0).standard_normal(len(vectors))
        return values, vectors

    monkeypatch.setattr(linalg, "lobpcg", spoil)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ucm(blobs(), cue="gpb")
    said = [str(one.message) for one in told if "have not converged" in str(one.message)]
    assert len(said) == warned
