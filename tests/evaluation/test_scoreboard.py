"""Tables of methods against regions: pooled over all voxels, costs from sidecars."""

import csv

import numpy as np
import pytest

from pyadx.evaluation.costs import costs, costs_markdown, write_costs
from pyadx.evaluation.scoreboard import Scoreboard, scoreboard_markdown, write_scores
from pyadx.explainers.base import SinglePass
from pyadx.explainers.occlusion import OcclusionReport
from pyadx.explainers.supervoxels import SupervoxelReport

metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def cases():
    random = np.random.default_rng(0)
    found = []
    for subject in ("a", "b", "c"):
        mask = random.random((6, 7, 8)) < 0.2
        inside = random.random((6, 7, 8)) < 0.8
        maps = {"good": mask + 0.3 * random.random(mask.shape), "random": random.random(mask.shape)}
        found.append((subject, maps, mask, inside))
    return found


@pytest.fixture
def board(cases):
    board = Scoreboard()
    for subject, maps, mask, inside in cases:
        for method, heat in maps.items():
            board.add(method, subject, heat.astype(np.float32), {"r": mask}, inside)
    return board


def test_pooled_precision_is_that_of_all_voxels_together(cases, board):
    for method in ("good", "random"):
        truth = np.concatenate([mask[inside] for _, _, mask, inside in cases])
        scores = np.concatenate([maps[method][inside] for _, maps, _, inside in cases]).astype(np.float32)
        expected = metrics.average_precision_score(truth, scores)
        assert board.curves()[method]["r"].average_precision == pytest.approx(expected, abs=1e-12)
        own = [
            metrics.average_precision_score(mask[inside], maps[method][inside].astype(np.float32))
            for _, maps, mask, inside in cases
        ]
        assert board.values(method, "r", "average_precision") == pytest.approx(own, abs=1e-12)


def test_tables_name_every_method_and_the_prevalence(board, cases, tmp_path):
    text = scoreboard_markdown(board, board.curves())
    prevalence = np.concatenate([mask[inside] for _, _, mask, inside in cases]).mean()
    assert f"| prevalence (a random map) | {prevalence:.3f} |" in text
    assert text.count("| good |") == text.count("| random |") == 4
    write_scores(tmp_path / "scores.csv", board.rows)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [(row["method"], row["subject"]) for row in rows] == [
        (method, subject) for subject in "abc" for method in ("good", "random")
    ]


def test_a_region_that_one_subject_lacks_is_pooled_over_the_others(board, cases):
    _, maps, mask, inside = cases[0]
    board.add("good", "a", maps["good"].astype(np.float32), {"planted": mask}, inside)
    curve = board.curves()["good"]["planted"]
    assert curve.found[-1] == inside.sum()


def test_costs_count_what_a_plain_run_would_take(tmp_path):
    def sidecar(report, seconds):
        facts = {"evaluations": report.evaluations, "evaluated": report.evaluated}
        return {"report": facts, "seconds": {"explain": seconds}}

    facts = [
        ("box", sidecar(OcclusionReport("full", windows=100, regions=40, scored=30), 2.0)),
        ("box", sidecar(OcclusionReport("full", windows=200, regions=50, scored=50), 4.0)),
        ("sv", sidecar(SupervoxelReport(2, pairs=90, nodes=40, skipped=17, incremental=20, full=3), 1.0)),
        ("cam", sidecar(SinglePass(), 0.5)),
    ]
    box, sv, cam = costs(facts)
    assert (box.plain, box.scored, box.seconds, box.scans) == (150, 40, 3, 2)
    assert (sv.plain, sv.scored) == (90, 23)
    assert (cam.plain, cam.scored, cam.seconds) == (1, 1, 0.5)
    write_costs(tmp_path / "costs.csv", [box, sv, cam])
    assert (tmp_path / "costs.csv").read_text().splitlines()[1] == "box,2,150.0,40.0,3"
    assert "| sv | 90 | 23 | 1 |" in costs_markdown([sv])
