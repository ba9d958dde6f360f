"""Run the benchmarks and write a table of ratios: ``make bench``, or ``python benchmarks/run.py``.

Options: ``--device cpu|cuda``, ``--only bench_masking.py ...``, ``--select`` (as pytest's ``-k``),
``--out FOLDER``. Writes ``<date>-<device>.json`` and ``.md`` into ``benchmarks/results/``; with ``--only``,
the names of the files (or ``--name``) come between date and device. If bench_ceilings.py is one of the
files, rates of writing are also given as shares of the rate of a plain copy.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "pyadx", "torch", "numpy", "scipy", "monai", "captum", "higra", "scikit-image", "SimpleITK",
    "pytest-benchmark", "lightning-fabric", "scikit-learn",
)  # fmt: skip


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def driver():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine(device):
    facts = {
        "date": datetime.date.today().isoformat(),
        "device": device,
        "cpu": f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {p: v for p in PACKAGES if (v := installed(p))},
    }
    if device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
        facts["driver"] = driver()
    return facts


def measure(files, device, select):
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "python_files=bench_*.py",
            "--benchmark-only",
        ]
        command += ["--benchmark-disable-gc", f"--benchmark-json={report}", "--benchmark-columns=median"]
        if select:
            command += ["-k", select]
        environment = {**os.environ, "PYADX_BENCH_DEVICE": device}
        done = subprocess.run([*command, *files], cwd=HERE, env=environment)
        if not report.is_file():
            sys.exit(done.returncode or 1)
        # Keep what was measured, even if another benchmark failed.
        return json.loads(report.read_text())["benchmarks"], done.returncode


def grouped(benchmarks):
    groups = {}
    for b in benchmarks:
        stats, calls = b["stats"], b["extra_info"]["calls"]
        row = {
            "name": b["extra_info"]["name"],
            "median_ms": stats["median"] / calls * 1e3,
            "iqr_ms": stats["iqr"] / calls * 1e3,
            "rounds": stats["rounds"],
            **b["extra_info"].get("facts", {}),
        }
        if "bytes_written" in b["extra_info"]:
            row["written_gb_per_s"] = b["extra_info"]["bytes_written"] * calls / stats["median"] / 1e9
        groups.setdefault(b["group"], []).append(row)
    for rows in groups.values():
        ours = next((r["median_ms"] for r in rows if r["name"] == "pyadx"), None)
        for row in rows:
            row["ratio"] = None if ours is None else row["median_ms"] / ours
    copy = next((row["gb_per_s"] for rows in groups.values() for row in rows if "gb_per_s" in row), None)
    for row in (row for rows in groups.values() for row in rows):
        if copy is not None and "written_gb_per_s" in row:
            row["share_of_copy"] = row["written_gb_per_s"] / copy
    return groups


def markdown(facts, groups, command):
    where = f"{facts['cpu']}, {facts['threads']} threads"
    if "gpu" in facts:
        where = f"{facts['gpu']}, driver {facts['driver']}, CUDA {facts['cuda']}; {where}"
    versions = ", ".join(f"{p} {v}" for p, v in facts["versions"].items())
    lines = [
        f"# Benchmarks, {facts['date']}, {facts['device']}",
        "",
        f"{where}; Python {facts['python']}; {versions}.",
        f"Command: `{command}`. Medians over the rounds; the ratio is a peer's time divided by pyadx's,",
        "in the same process, on the same input, at the same number of threads.",
        "",
        "| what | how | median ms | IQR ms | GB/s written | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for group, rows in groups.items():
        for row in rows:
            rate = f"{row['written_gb_per_s']:.1f}" if "written_gb_per_s" in row else ""
            if "share_of_copy" in row:
                rate += f" ({row['share_of_copy']:.0%} of copy)"
            how = f"{row['name']}: {row['note']}" if "note" in row else row["name"]
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            lines.append(
                f"| {group} | {how} | {row['median_ms']:.3f} | {row['iqr_ms']:.3f} | {rate} | {ratio} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="+", metavar="FILE")
    parser.add_argument("--select", metavar="EXPRESSION")
    parser.add_argument("--name", help="name of the results, instead of the names of the files")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    facts = machine(options.device)
    files = options.only or sorted(p.name for p in HERE.glob("bench_*.py"))
    benchmarks, failed = measure(files, options.device, options.select)
    groups = grouped(benchmarks)
    options.out.mkdir(parents=True, exist_ok=True)
    parts = [Path(name).stem.removeprefix("bench_") for name in options.only or ()]
    if options.name:
        parts = [options.name]
    stem = options.out / "-".join([facts["date"], *parts, options.device])
    command = f"python benchmarks/run.py --device {options.device}"
    if options.only:
        command += f" --only {' '.join(options.only)}"
    if options.select:
        command += f' --select "{options.select}"'
    stem.with_suffix(".json").write_text(json.dumps({"machine": facts, "groups": groups}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(facts, groups, command))
    print(stem.with_suffix(".md").read_text())
    sys.exit(failed)


if __name__ == "__main__":
    main()
