"""Every fuzz target on its corpus and on damaged copies of it; ``make fuzz`` looks further, by coverage."""

import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("nibabel")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from targets import TARGETS  # noqa: E402


def damaged(data, source):
    """Flip, cut, repeat or overwrite some bytes."""
    data = bytearray(data)
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(4)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            del data[at : at + source.randint(1, 40)]
        elif kind == 2:
            data[at:at] = data[at : at + source.randint(1, 40)]
        else:
            data[at : at + 4] = source.choice(
                [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x7f\xff\xff\xff"]
            )
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_target_answers_or_refuses(name):
    seeds = sorted((HERE / "corpus" / name).iterdir())
    assert seeds
    source = random.Random(0)
    for seed in seeds:
        TARGETS[name](seed.read_bytes())
    for _ in range(150):
        TARGETS[name](damaged(source.choice(seeds).read_bytes(), source))
    for length in (0, 1, 7, 64):
        TARGETS[name](source.randbytes(length))
