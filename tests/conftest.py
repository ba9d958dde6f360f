import pytest
import torch
from thorough import holds_thorough, is_long, is_thorough


def pytest_ignore_collect(collection_path, config):
    """Spare `make test-thorough` the import of files that hold none of its tests."""
    if config.option.markexpr.startswith("thorough") and collection_path.suffix in (".py", ".md"):
        return None if holds_thorough(collection_path) else True
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if is_thorough(item.nodeid):
            item.add_marker(pytest.mark.thorough)
        if is_long(item.nodeid):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter, config):
    """Say what `make test` leaves out."""
    if config.option.markexpr == "not thorough":
        # Workers do not tell how many; the list says which.
        terminalreporter.write_line(
            "tests/thorough.py lists what `make test-thorough` and `make test-all` run"
        )


def cuda_skip_reason():
    """Why CUDA tests cannot run here, or None."""
    if not torch.cuda.is_available():
        return f"no CUDA GPU is usable by torch {torch.__version__} here"
    try:
        from pyadx import _ucm
    except ImportError:
        return None
    reason = _ucm.build_info()["cuda_off_reason"]
    return f"pyadx was built without CUDA: {reason}" if reason else None


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and (reason := cuda_skip_reason()):
        pytest.skip(reason)
    return torch.device(request.param)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def poisoned_memory():
    """Every new tensor starts as NaN (or the largest integer), so unwritten outputs show."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = filling


@pytest.fixture
def run(capfd):
    """Run the command line; returns exit code, standard output and standard error."""

    def call(*arguments):
        from pyadx.cli import main

        capfd.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call
