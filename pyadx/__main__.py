"""``python -m pyadx``."""

from pyadx.cli import run

run()
