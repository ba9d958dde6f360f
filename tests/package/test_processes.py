"""Processes for tasks end when the one that started them is interrupted, terminated or killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest
from program import is_running, wait_for

import pyadx.processes

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from processes import processes

def begin(number):
    file = Path(f".begun-{number}")
    file.write_text(str(os.getpid()))
    file.rename(f"begun-{number}")

def work(number):
    try:
        begin(number)
        time.sleep(600)
    finally:
        time.sleep(0.3)
        Path(f"cleaned-{number}").touch()

def quick(number):
    begin(number)

def stubborn(number):
    while True:
        try:
            begin(number)
            time.sleep(600)
        except KeyboardInterrupt:
            pass

def failing(number):
    if number == 0:
        while not Path("begun-1").exists():
            time.sleep(0.01)
        raise ValueError("the first task failed")
    work(number)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with processes(2) as pool:
            tasks = [pool.submit(globals()[sys.argv[1]], number) for number in range(8)]
            for task in tasks:
                task.result()
            time.sleep(600)
    except (KeyboardInterrupt, ValueError) as error:
        print(repr(error), file=sys.stderr)
        sys.exit(130)
"""


class Started:
    """The script, at work on tasks of one kind in a folder."""

    def __init__(self, folder, kind):
        # A copy, because importing pyadx imports torch, which takes every process seconds.
        shutil.copy(pyadx.processes.__file__, folder / "processes.py")
        (folder / "script.py").write_text(SCRIPT)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "script.py", kind],
            cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, count):
        assert wait_for(lambda: len(self.numbers("begun")) >= count, 60)

    def numbers(self, state):
        return {path.name.partition("-")[2] for path in self.folder.glob(f"{state}-*")}

    def workers(self):
        return {path.read_text() for path in self.folder.glob("begun-*")}

    def finish(self):
        """Return what is on standard error, and after how many seconds all processes were gone."""
        since = time.monotonic()
        err = self.process.communicate(timeout=60)[1]
        assert wait_for(lambda: not any(map(is_running, self.workers())), 60)
        return err, time.monotonic() - since

    def interrupt(self):
        """Press Ctrl-C; return after how many seconds all processes were gone."""
        os.killpg(self.process.pid, signal.SIGINT)
        err, seconds = self.finish()
        assert err == "KeyboardInterrupt()\n"
        return seconds


@pytest.fixture
def start(tmp_path):
    started = []

    def call(kind):
        started.append(Started(tmp_path, kind))
        return started[-1]

    yield call
    for one in started:
        for pid in (one.process.pid, *one.workers()):
            if is_running(pid):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "whom"),
    [
        (signal.SIGINT, os.killpg),  # Ctrl-C in a terminal
        (signal.SIGINT, os.kill),
        (signal.SIGTERM, os.kill),  # a batch system
        (signal.SIGKILL, os.kill),  # the kernel, out of memory
    ],
    ids=["ctrl-c", "interrupted", "terminated", "killed"],
)
def test_running_tasks_clean_up_and_no_other_begins(start, how, whom):
    started = start("work")
    started.wait_for(2)
    whom(started.process.pid, how)
    err, _ = started.finish()
    assert started.numbers("begun") == started.numbers("cleaned") == {"0", "1"}
    if how != signal.SIGKILL:
        assert err == ("KeyboardInterrupt()\n" if how == signal.SIGINT else "")
        assert started.process.returncode == (130 if how == signal.SIGINT else 143)


def test_ctrl_c_twice_does_not_disturb_the_cleaning_up(start):
    started = start("work")
    started.wait_for(2)
    workers = [int(pid) for pid in started.workers()]
    for _ in range(3):
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.05)
    err, _ = started.finish()
    assert started.numbers("cleaned") == {"0", "1"}
    assert err == "KeyboardInterrupt()\n"


def test_processes_without_a_task_end_without_a_word(start):
    started = start("quick")
    started.wait_for(8)
    assert started.interrupt() < 5


def test_an_error_of_a_task_stops_the_others(start):
    err, _ = start("failing").finish()
    assert "the first task failed" in err


def test_a_task_that_does_not_end_is_killed(start):
    started = start("stubborn")
    started.wait_for(2)
    assert 4 < started.interrupt() < 30
    assert started.numbers("begun") == {"0", "1"}


def test_tasks_return_results_and_a_lost_process_is_an_error(tmp_path):
    with pyadx.processes.processes(1, os.chdir, tmp_path) as pool:
        assert pool.submit(os.getcwd).result() == str(tmp_path)
        with pytest.raises(BrokenProcessPool):
            pool.submit(os._exit, 3).result()
