import pytest
import torch
from networks import Plain, randomised
from paper_methods import Occlusion

from pyadx import GradCAM
from pyadx.inference.batching import in_batches


class LimitedMemory(Plain):
    """Runs out of memory on batches above a limit."""

    limit = 2

    def forward(self, x):
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.filterwarnings("ignore:out of memory")
@pytest.mark.parametrize(
    "explain",
    [lambda m, b: Occlusion(m, 3, 4, batch_size=b, engine="full"), lambda m, b: GradCAM(m, batch_size=b)],
)
def test_maps_do_not_depend_on_running_out_of_memory(explain):
    torch.manual_seed(0)
    model = randomised(LimitedMemory()).double()
    scans = torch.rand(5, 1, 9, 9, 9, dtype=torch.float64)
    expected = explain(model, 1)(scans, target=1)
    assert torch.allclose(explain(model, 16)(scans, target=1), expected, rtol=1e-6, atol=1e-9)


def test_batches_halve_until_they_fit_and_cover_everything_once():
    done = []

    def run(start, stop):
        if stop - start > 3:
            raise torch.OutOfMemoryError("no room")
        done.extend(range(start, stop))

    advanced = []
    with pytest.warns(UserWarning, match="out of memory") as warned:
        in_batches(11, 10, torch.device("cpu"), run, advanced.append)
    assert [str(w.message)[-1] for w in warned] == ["5", "2"]
    assert done == list(range(11))
    assert sum(advanced) == 11


def test_a_single_item_that_does_not_fit_raises():
    def run(start, stop):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="out of memory"):
        in_batches(4, "auto", torch.device("cpu"), run)


def test_other_errors_are_not_retried():
    calls = []

    def run(start, stop):
        calls.append(start)
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        in_batches(4, 4, torch.device("cpu"), run)
    assert calls == [0]
