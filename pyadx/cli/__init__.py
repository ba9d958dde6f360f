"""The ``pyadx`` command line: how options are written, and how errors are told."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer

from pyadx.cli import (  # noqa: F401 (they add their commands)
    bids,
    cohorts,
    demo,
    evaluate,
    explain,
    explain_cohort,
    flip,
    group,
    regions,
    report,
    segment,
    training,
)
from pyadx.cli.common import app

_INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended
# Their --quiet also keeps warnings to the sidecar. Others work on many scans, whose warnings are told.
_SILENCED = (["explain"], ["flip"], ["segment"], ["report"], ["regions"], ["demo"])
_KINDS = (UserWarning, RuntimeWarning)  # of ours
_PACKAGE = str(Path(__file__).resolve().parents[1])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Wrong use and wrong input give one line on standard error and exit code 2; a failure of the machine
    (disk, memory) one line and 1; Ctrl-C 130.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        quiet = arguments[:1] in _SILENCED and bool({"-q", "--quiet"} & set(arguments))
        # A function of ours in place of Python's, for the time of this call.
        setattr(warnings, "showwarning", partial(_show_warning, set(), quiet, warnings.showwarning))  # noqa: B010
        for kind in _KINDS:
            warnings.filterwarnings("always", category=kind, module=r"pyadx\.")
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    try:
        code = command.main(arguments or ["--help"], prog_name="pyadx", standalone_mode=False) or 0
        return _fail("interrupted", code) if code == _INTERRUPTED else code
    except (ValueError, TypeError) as error:
        return _fail(str(error), 2)
    except (OSError, MemoryError) as error:
        return _fail(str(error) or "out of memory", 1)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except ImportError as error:
        from pyadx.extras import missing

        if not missing(error):
            raise
        return _fail(f"this command needs {missing(error)}", 2)
    except RuntimeError as error:
        from pyadx.inference.batching import is_out_of_memory

        if type(error).__name__ == "Abort":  # typer turns Ctrl-C into this
            return _fail("interrupted", _INTERRUPTED)
        if is_out_of_memory(error):
            return _fail("out of memory even for a single scan; use a machine with more", 1)
        raise
    except Exception as error:
        # Usage errors of Typer, whose classes moved between versions, know their message and exit code.
        message, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
        if message is None or code is None:
            raise
        return _fail(message(), code)


def _show_warning(
    told: set[str],
    quiet: bool,
    others: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    *more: Any,
    **kwargs: Any,
) -> None:
    """Tell a warning of ours in one line, once; those of libraries as Python does; none where quiet."""
    text = " ".join(str(message).split())
    if quiet:
        return
    if category not in _KINDS or not str(Path(filename).resolve()).startswith(_PACKAGE):
        others(message, category, filename, *more, **kwargs)
    elif text not in told:
        told.add(text)
        print(f"pyadx: warning: {text}", file=sys.stderr)


def _fail(message: str, code: int) -> int:
    print(f"pyadx: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> None:
    """Entry point of the ``pyadx`` script."""
    # MKL, which multiplies matrices in torch's small convolutions, then rounds alike for any number of
    # threads, and as fast; it promises so on Intel processors only. Other processes inherit it.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main())


def _terminated(number: int, frame: Any) -> None:
    """End as Ctrl-C does, so that files that were begun are removed; batch systems send this first."""
    _fail("terminated", 128 + number)
    sys.exit(128 + number)
