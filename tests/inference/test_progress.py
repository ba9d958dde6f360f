"""When a progress bar is shown to whom."""

import io
import sys
import types

import pytest

from pyadx.inference import progress
from pyadx.inference.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def shown_by(stream, monkeypatch, clock, asked, seconds, total=10):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("windows", total, asked) as advance:
        advance(1)
        clock[0] += seconds
        advance(3)
    return stream.getvalue()


def test_a_terminal_shows_long_work_without_being_asked(monkeypatch, clock):
    assert "4/10" in shown_by(Terminal(), monkeypatch, clock, None, 3.0)


def test_short_work_shows_nothing_unless_asked(monkeypatch, clock):
    assert shown_by(Terminal(), monkeypatch, clock, None, 1.0) == ""
    assert "4/10" in shown_by(Terminal(), monkeypatch, clock, True, 1.0)


def test_work_that_is_done_when_the_time_is_up_shows_nothing(monkeypatch, clock):
    assert shown_by(Terminal(), monkeypatch, clock, None, 3.0, total=4) == ""


def test_a_file_or_pipe_gets_none_unless_asked(monkeypatch, clock):
    assert shown_by(io.StringIO(), monkeypatch, clock, None, 3.0) == ""
    assert "4/10" in shown_by(io.StringIO(), monkeypatch, clock, True, 3.0)
    assert shown_by(Terminal(), monkeypatch, clock, False, 3.0) == ""


def test_the_cell_of_a_notebook_shows_long_work_also_without_ipywidgets(monkeypatch, clock):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "4/10" in shown_by(io.StringIO(), monkeypatch, clock, None, 3.0)


def test_an_error_leaves_no_bar_behind(monkeypatch, clock):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)

    def fail():
        with progress_bar("windows", 10, True) as advance:
            advance(5)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert "windows" not in stream.getvalue().split("\x1b[2K")[-1]
