"""The command line in a process of its own, forked from one that has imported everything.

A new interpreter takes seconds to import torch and what traces networks; a fork takes none, and can be
killed, waited for and run out of disk as well.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# Imported once. Nothing may run there: threads do not live through a fork.
_CONTEXT.set_forkserver_preload([
    "pyadx.cli", "pyadx.commands.explaining.explain", "pyadx.commands.cohorts.explain_cohort",
    "pyadx.commands.groups.group", "nilearn.mass_univariate", "nilearn.maskers", "nilearn.reporting",
    "pyadx.inference.scoring_facts", "nibabel", "scipy.ndimage", "safetensors.torch", "sympy",
    "torch._dynamo", "torch.export._trace", "torch._export.non_strict_utils", "torch._decomp",
    "torch._refs", "torch.fx.experimental.symbolic_shapes",
])  # fmt: skip


class Program:
    """``pyadx ARGUMENTS``, started in a session of its own.

    Parameters
    ----------
    arguments : sequence of str
        The command and its options.
    cwd : path, optional
        Where it runs; here without it.
    chunk : int, optional
        Regions that are scored and stored together, so that a run of seconds has many such steps.
    hold : int or str, optional
        Stored chunks, or the finished part of a group analysis, after which it waits to be killed: on a
        busy machine it would be over before.
    """

    def __init__(self, arguments, cwd=None, chunk=None, hold=None):
        self._folder = Path(cwd or os.getcwd())
        self._errors = self._folder / f".errors-{os.urandom(4).hex()}"
        asked = ([str(a) for a in arguments], str(self._folder), str(self._errors), chunk, hold)
        self._process = _CONTEXT.Process(target=_run, args=asked)
        self._process.start()
        self.pid = self._process.pid

    @property
    def ended(self):
        return self._process.exitcode is not None

    def wait_for(self, condition, seconds=120):
        """Wait until a condition holds or the program has ended, but not longer."""
        wait_for(lambda: condition() or self.ended, seconds)

    def finish(self, seconds=300):
        """Wait for its end; return exit code and standard error."""
        self._process.join(seconds)
        assert self.ended, f"still running after {seconds} s"
        err = self._errors.read_text()
        self._errors.unlink()
        return subprocess.CompletedProcess([], self._process.exitcode, None, err)


def wait_for(condition, seconds=120):
    """Wait until a condition holds, but not longer; return whether it does."""
    until = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < until:
        time.sleep(0.005)
    return held


def is_running(pid):
    """Whether a process is at work; one that ended and was not waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_program(arguments, cwd=None, chunk=None):
    """Run a command to its end."""
    return Program(arguments, cwd, chunk).finish()


def _run(arguments, folder, errors, chunk, hold):
    os.setsid()
    os.chdir(folder)
    for number, name in ((1, os.devnull), (2, errors)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    from pyadx import cli

    if chunk is not None:
        from pyadx.inference import scorer

        scorer.CHUNK = chunk
    if isinstance(hold, str):
        _hold_at_part(hold)
    elif hold is not None:
        _hold_after(hold)
    sys.argv = ["pyadx", *arguments]
    code = 1
    try:
        cli.run()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    # As an interpreter ends: threads first, which let workers go, then the rest.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


def _hold_after(chunks):
    from pyadx.inference.score_store import ScoreStore

    append = ScoreStore.append

    def held(self, scores):
        append(self, scores)
        while self.chunks >= chunks:
            time.sleep(0.05)

    ScoreStore.append = held


def _hold_at_part(name):
    from pyadx.commands.groups.journal import Journal

    keep = Journal.keep

    def held(self, part, arrays):
        keep(self, part, arrays)
        while part == name:
            time.sleep(0.05)

    Journal.keep = held
