"""The example notebook runs from top to bottom, and its last cell is the interactive view."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for needed in ("nibabel", "nilearn", "matplotlib", "ipykernel"):
    pytest.importorskip(needed)

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "heatmaps.ipynb"


def test_the_example_notebook_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # outputs would carry megabytes
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    (view,) = notebook.cells[-1].outputs
    page = view["data"]["text/html"]
    assert page.startswith("<iframe")
    assert "SYNTHETIC patient" in page
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert printed.count("average precision") == 2
    assert not list(tmp_path.iterdir())
