"""Runs of ``pyadx group`` that are killed once a part of them is finished, and what runs wrote."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from program import Program

WORK = Path("out.work")


def results(folder):
    """What was found: bytes of the files; of the note all but when and how long."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.name == "group.json":
            facts = json.loads(path.read_text())
            found[path.name] = {k: v for k, v in facts.items() if k not in ("seconds", "created")}
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def parts():
    """Finished parts by name, with when they were written."""
    found = {}
    for path in WORK.glob("*/*.npz"):
        with suppress(FileNotFoundError):  # of a request that just gave way to another
            found[path.stem] = path.stat().st_mtime_ns
    return found


def start_and_kill(command, part, how=signal.SIGKILL):
    """Start a run into ``out`` and end it once a part is finished."""
    before = parts().get(part)  # of another request
    program = Program([*command, "-o", "out"], hold=part)
    program.wait_for(lambda: parts().get(part) not in (None, before), 300)
    os.killpg(program.pid, how)  # as a terminal or a batch system does it: workers, too
    done = program.finish()
    assert done.returncode != 0, "the run was over before it could be killed"
    assert not Path("out").exists()
    return done
