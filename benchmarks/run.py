"""Run the benchmarks and write a table of ratios: ``make bench``, or ``python benchmarks/run.py``.

Options: ``--device cpu|cuda``, ``--only bench_masking.py ...``, ``--out FOLDER``. Writes
``<date>-<device>.json`` and ``.md`` into ``benchmarks/results/``; with ``--only``, the names of the files
stand between the two.
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
    return facts


def measure(files, device):
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
        environment = {**os.environ, "PYADX_BENCH_DEVICE": device}
        subprocess.run([*command, *files], cwd=HERE, env=environment, check=True)
        return json.loads(report.read_text())["benchmarks"]


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
        ours = next(r["median_ms"] for r in rows if r["name"] == "pyadx")
        for row in rows:
            row["ratio"] = row["median_ms"] / ours
    return groups


def markdown(facts, groups, command):
    where = facts.get("gpu") or f"{facts['cpu']}, {facts['threads']} threads"
    versions = ", ".join(f"{p} {v}" for p, v in facts["versions"].items())
    lines = [
        f"# Benchmarks, {facts['date']}, {facts['device']}",
        "",
        f"{where}; Python {facts['python']}; {versions}.",
        f"Command: `{command}`. Medians over the rounds; the ratio is a peer's time over pyadx's time",
        "in the same process, on the same input, at the same number of threads.",
        "",
        "| what | how | median ms | IQR ms | GB/s written | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for group, rows in groups.items():
        for row in rows:
            rate = f"{row['written_gb_per_s']:.1f}" if "written_gb_per_s" in row else ""
            how = f"{row['name']}: {row['note']}" if "note" in row else row["name"]
            lines.append(
                f"| {group} | {how} | {row['median_ms']:.3f} | {row['iqr_ms']:.3f} | {rate} | "
                f"{row['ratio']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    facts = machine(options.device)
    files = options.only or sorted(p.name for p in HERE.glob("bench_*.py"))
    groups = grouped(measure(files, options.device))
    options.out.mkdir(parents=True, exist_ok=True)
    parts = [Path(name).stem.removeprefix("bench_") for name in options.only or ()]
    stem = options.out / "-".join([facts["date"], *parts, options.device])
    command = f"python benchmarks/run.py --device {options.device}"
    if options.only:
        command += f" --only {' '.join(options.only)}"
    stem.with_suffix(".json").write_text(json.dumps({"machine": facts, "groups": groups}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(facts, groups, command))
    print(stem.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
