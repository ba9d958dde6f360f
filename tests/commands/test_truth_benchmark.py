"""benchmarks/truth.py: it measures, goes on where it was, notes what fails, and makes tables."""

import json
import sys
from pathlib import Path

import pytest
from cohort_trees import labelled_cohort, plant_disease

from pyadx import models
from pyadx.models import Preprocessing

pytest.importorskip("nibabel")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not here")
METHODS = "gradcam:layer=bn4 occlusion:signed,engine=full gradcam:layer=none-such lime"


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labelled_cohort(tmp_path / "blobs")
    plant_disease(tmp_path / "blobs", "sub-02")
    model = models.build("resnet-shallow-gap", (21, 22, 20), preprocessing=Preprocessing("max", 3.0))
    models.save(model, "net.safetensors")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("truth", "truth_table", "truth_figures", "truth_peers", "truth_windows", "run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import truth

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["truth.py", *options])
        truth.main()
        return capsys.readouterr().out

    yield run
    for name in ("truth", "truth_table", "truth_figures", "truth_peers", "truth_windows", "run"):
        sys.modules.pop(name, None)


def test_it_measures_resumes_and_makes_tables(script):
    common = ["blobs", "net.safetensors", "--patients", "1", "--healthy", "1", "--stride", "6"]
    common += ["--srg-steps", "2", "--peers", "none", "--out", "found.jsonl"]
    script(*common, "--methods", METHODS)
    lines = [json.loads(text) for text in Path("found.jsonl").read_text().splitlines()]
    assert "settings" in lines[0]
    done = {(line["subject"], line["method"]): line["figures"] for line in lines if "figures" in line}
    rows = ("random map", "edge map", "gradcam:layer=bn4", "occlusion:signed,engine=full")
    assert set(done) == {(subject, row) for subject in ("sub-02", "sub-01") for row in rows}
    failed = [line for line in lines if "error" in line]
    assert {line["method"] for line in failed} == {"gradcam:layer=none-such", "lime"}
    assert "no method 'lime'" in next(line["error"] for line in failed if line["method"] == "lime")
    patient, control = (
        done["sub-02", "occlusion:signed,engine=full"],
        done["sub-01", "occlusion:signed,engine=full"],
    )
    assert {"rank", "truth_ap", "planted_core", "mass_planted", "srg_twin", "srg_zero"} <= set(patient)
    assert {"ventricle_share", "strength"} <= set(control)
    assert "rank" not in control
    ours = [line["facts"] for line in lines if line.get("method") == "occlusion:signed,engine=full"]
    (spelling,) = {facts["spelling"] for facts in ours}
    assert spelling == "occlusion:window=5,stride=6"

    # A second call adds the new method and tries what failed; a line that was cut off is no line.
    with Path("found.jsonl").open("a") as file:
        file.write('{"subject": "sub-0\n')
    out = script(*common, "--methods", "gradcam:layer=bn4 cam")
    assert out.count("  cam:") == 2
    assert out.count("gradcam") == 0
    table = script("--table", "found.jsonl")
    for heading in ("### Against the causal truth", "### Against what was planted", "### Controls"):
        section = table.partition(heading)[2].partition("###")[0]
        assert section.count("| cam |") == 1
    assert "1 patients, 1 controls" in table
    assert "### Failed" in table
    with pytest.raises(SystemExit, match="another window"):
        script(*common, "--window", "3")
