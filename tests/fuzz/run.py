"""Coverage-guided fuzzing with Atheris: ``python tests/fuzz/run.py TARGET [libFuzzer options]``.

Such as ``-runs=1000000`` or ``-max_total_time=1800``. Starts from ``tests/fuzz/corpus/TARGET`` and keeps
what it learns in ``build/fuzz/TARGET``. A finding is written there, too, and ends the run.
"""

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

INSTRUMENTED = ["pyadx", "nibabel.nifti1", "nibabel.freesurfer", "nibabel.analyze"]
with atheris.instrument_imports(include=INSTRUMENTED):
    import pyadx.data.cohort
    import pyadx.data.scans
    import pyadx.models.lasagne
    import pyadx.segmentation  # noqa: F401

from targets import TARGETS  # noqa: E402


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: run.py {{{','.join(TARGETS)}}} [libFuzzer options]")
    name = sys.argv[1]
    learnt = HERE.parents[1] / "build" / "fuzz" / name
    learnt.mkdir(parents=True, exist_ok=True)
    arguments = [sys.argv[0], f"-artifact_prefix={learnt}/finding-", "-rss_limit_mb=4096", *sys.argv[2:]]
    atheris.Setup([*arguments, str(learnt), str(HERE / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
