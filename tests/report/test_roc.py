"""The figure of ROC curves."""

import pytest

from pyadx.report.roc import save_roc

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


def round_of(labels, probabilities, auc):
    test = [
        {"label": label, "probabilities": [1 - p, p]}
        for label, p in zip(labels, probabilities, strict=True)
    ]
    return {"class_names": ["NC", "AD"], "test": test, "auc": auc}


def test_the_mean_is_that_of_the_rounds_that_are_drawn(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: (drawn.append(self), save(self, *args, **more))
    )
    rounds = [
        round_of(["NC", "AD"], [0.2, 0.9], 1.0),
        round_of(["NC", "AD"], [0.7, 0.4], 0.0),
        round_of(["AD", "AD"], [0.7, 0.4], float("nan")),  # has no curve
    ]
    save_roc(tmp_path / "roc.png", rounds, "two of three")
    assert (tmp_path / "roc.png").stat().st_size > 5_000
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mean of 2, AUC 0.500"]
