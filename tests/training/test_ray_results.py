"""On Ray a lost task is tried again, so many times; then it fails alone, and the others go on."""

import inspect
import os

import pytest

pytest.importorskip("ray")
import ray.exceptions
from ray.exceptions import RayError, RayTaskError

from pyadx.training.ray_session import in_a_line, ray_results, ray_session

# Every error that Ray may give instead of a result, but for those that the task itself raised.
LOST = [
    kind
    for _, kind in inspect.getmembers(ray.exceptions, inspect.isclass)
    if issubclass(kind, RayError) and not issubclass(kind, RayTaskError)
]


def raised(kind):
    """An error of a kind, however it wants to be made."""
    error = kind.__new__(kind)
    Exception.__init__(error, "first line\nsecond line")
    kind.__str__ = lambda self: "first line\nsecond line"
    return error


class FakeRay:
    """Gives what it is told to, in order."""

    def __init__(self, outcomes):
        self.outcomes, self.submitted = {k: list(v) for k, v in outcomes.items()}, []

    def submit(self, item):
        self.submitted.append(item)
        return len(self.submitted) - 1

    def wait(self, references, num_returns):
        return references[:1], references[1:]

    def get(self, reference):
        outcome = self.outcomes[self.submitted[reference]].pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize("kind", LOST, ids=lambda kind: kind.__name__)
def test_whatever_ray_loses_is_tried_again_and_the_others_go_on(kind, monkeypatch):
    monkeypatch.setattr(kind, "__str__", kind.__str__)  # put back afterwards
    error = raised(kind)
    fake = FakeRay({"a": ["A"], "b": [error, "B"], "c": [error] * 9, "d": ["D"]})
    found = dict(ray_results(fake, fake.submit, "abcd", 2, tries=3))
    assert found == {"a": "A", "b": "B", "c": error, "d": "D"}
    assert fake.submitted.count("b") == 2
    assert fake.submitted.count("c") == 3
    assert in_a_line(error) == f"{kind.__name__}: first line second line"


def test_what_a_task_raises_is_given_at_once_and_as_it_was():
    error = RayTaskError("work", "trace\nback", KeyError("k"), "title", 1, "ip")
    fake = FakeRay({"a": [error], "b": ["B"]})
    found = dict(ray_results(fake, fake.submit, "ab", 2, tries=3))
    assert isinstance(found["a"], KeyError)
    assert found["b"] == "B"
    assert fake.submitted == ["a", "b"]


def test_that_ray_itself_is_gone_is_told_in_a_line():
    fake = FakeRay({})
    fake.wait = lambda *args, **kwargs: (_ for _ in ()).throw(
        ray.exceptions.RaySystemError("gone\nfor good")
    )
    with pytest.raises(OSError, match=r"can no longer be reached \(RaySystemError: .*gone for good"):
        list(ray_results(fake, fake.submit, "a", 1, tries=3))


def work(item):
    if item == "dies":
        os._exit(9)
    if item == "raises":
        raise KeyError("no such thing")
    return item.upper()


def test_a_worker_that_dies_and_one_that_raises_on_real_ray(tmp_path):
    with ray_session(None, 2) as session:
        task = session.remote(num_cpus=1, max_retries=0)(lambda item: work(item))
        found = dict(ray_results(session, task.remote, ["a", "dies", "raises", "b"], 2, tries=2))
    assert found["a"] == "A"
    assert found["b"] == "B"
    assert isinstance(found["dies"], RayError)
    assert isinstance(found["raises"], KeyError)
