"""The ``pyadx`` command line: options, messages and exit codes."""

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
from pyadx.cli.common import app, how_to_continue

_INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended
# With --quiet these commands write warnings to the sidecar only. Other commands still print them.
_SILENCED = (["explain"], ["flip"], ["segment"], ["report"], ["regions"], ["demo"])
_KINDS = (UserWarning, RuntimeWarning)  # categories that pyadx uses
_PACKAGE = str(Path(__file__).resolve().parents[1])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Wrong use and wrong input give one line on standard error and exit code 2. A failure of the machine
    (disk, memory) gives one line and exit code 1. Ctrl-C gives exit code 130.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        quiet = arguments[:1] in _SILENCED and bool({"-q", "--quiet"} & set(arguments))
        # Replaces Python's function during this call.
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
        # Typer's usage errors. Their classes moved between versions, so they are known by their attributes.
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
    """Print a warning of pyadx once, in one line, or not at all if quiet; pass on those of libraries."""
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
    # MKL multiplies matrices in torch's small convolutions. With this setting it rounds the same way for
    # any number of threads, at the same speed. MKL promises that on Intel processors only. Child
    # processes inherit the setting.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main())
    except SystemExit:
        if _terminations:  # Ray turns the exit code of a signal's handler into 1
            sys.exit(_terminations[0])
        raise


_terminations: list[int] = []  # exit codes of signals that ended this process


def _terminated(number: int, frame: Any) -> None:
    """End as Ctrl-C does, so that unfinished files are removed. Batch systems send SIGTERM first."""
    code = _fail(f"terminated{how_to_continue()}", 128 + number)
    _terminations.append(code)
    sys.exit(code)
