"""Tasks of several calls share processes; a task that kills its process loses only its own result."""

import os
from concurrent.futures.process import BrokenProcessPool

from program import is_running

from pyadx.commands.cohorts.workers import Workers, run_tasks, session

TWO = Workers(count=2, cpus=1)
OWN = "__import__('os').getpid()"  # for `eval`, which every process can import
KILL = "__import__('os')._exit(1)"


def results(items, workers):
    return [result for _, result in run_tasks(eval, items, workers)]


def test_calls_in_a_session_share_its_processes():
    with session(TWO) as shared:
        found = {*results([OWN] * 6, shared), *results([OWN] * 6, shared)}
        assert 1 <= len(found) <= 2
        assert os.getpid() not in found
        assert any(map(is_running, found))
    assert not any(map(is_running, found))


def test_a_session_goes_on_after_a_task_that_kills_its_process():
    with session(TWO) as shared:
        found = dict(run_tasks(eval, ["1 + 1", KILL, "2 + 2", "3 + 3"], shared))
        assert isinstance(found.pop(KILL), BrokenProcessPool)
        assert found == {"1 + 1": 2, "2 + 2": 4, "3 + 3": 6}
        assert results(["4 + 4"], shared) == [8]


def test_a_session_without_tasks_or_with_one_worker_starts_nothing():
    with session(TWO) as shared:
        assert results([], shared) == []
    with session(Workers()) as shared:
        assert results([OWN], shared) == [os.getpid()]
