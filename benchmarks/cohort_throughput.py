"""How many scans an hour, and how much memory? ``python benchmarks/cohort_throughput.py COHORT ...``.

Runs ``pyadx explain-cohort`` with the demonstration VGGNet on the scans of one or more cohorts: one worker
of one thread, one worker of all threads, and as many workers of one thread as there are cores. A rate
counts from the second scan of each worker, without starting and tracing. Then it runs all scans once more
and measures the memory of the processes (proportional set size).
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pyadx.commands.cohorts.manifest import Manifest
from pyadx.data.cohort import read_cohort
from pyadx.models.demonstration import demonstration_checkpoint
from pyadx.segmentation.threads import thread_count

METHODS = {"gradcam:layer=conv2b": 40, "sa3ducm": 8}  # scans per run


def write_table(path, records):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "label"])
        for number, record in enumerate(records):
            writer.writerow([Path(record.path).resolve(), f"s{number:04}", record.label])


def command(table, method, out, workers, threads):
    return [
        sys.executable, "-m", "pyadx", "explain-cohort", str(table), "-o", str(out), "-q",
        "--model", str(demonstration_checkpoint("vggnet")), "--method", method,
        "--workers", str(workers), "--cpus", str(threads),
    ]  # fmt: skip


def proportional_set_size(pid):
    """Bytes of a process and its children; pages that they share are counted once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if int(folder.name) == pid or parent == pid:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (OSError, ValueError, IndexError, StopIteration):
            continue
    return total


def watched(table, method, workers, threads, watch_memory=False):
    """Run to the end. Return when each scan was done, the memory at these times, and bytes per scan."""
    with tempfile.TemporaryDirectory() as folder:
        out, times, memory = Path(folder) / "maps", [], []
        process = subprocess.Popen(command(table, method, out, workers, threads))
        manifest = out / "manifest.jsonl"
        while process.poll() is None:
            done = manifest.read_bytes().count(b"\n") if manifest.is_file() else 0
            if done > len(times):
                times.extend([time.perf_counter()] * (done - len(times)))
                if watch_memory:
                    memory.append((done, proportional_set_size(process.pid)))
            time.sleep(0.01)
        assert process.returncode == 0
        entries = Manifest(manifest).entries.values()
        assert all(entry.status == "done" for entry in entries)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / len(entries)
        return times, memory, size


def rate(times, workers):
    """Scans per second from the second scan of each worker on."""
    start = 2 * workers - 1
    return (len(times) - 1 - start) / (times[-1] - times[start])


def print_throughput(records, table, rounds, cores):
    setups = {"1 x 1": (1, 1), f"1 x {cores}": (1, cores), f"{cores} x 1": (cores, 1)}
    print("| method | workers x threads | scans an hour | s a scan and worker | against 1 x 1 |")
    print("| --- | --- | ---: | ---: | ---: |")
    for method, count in METHODS.items():
        write_table(table, records[:count])
        rates = {name: [] for name in setups}
        for _ in range(rounds):  # in turns, so that a slow minute affects all
            for name, (workers, threads) in setups.items():
                times, _, size = watched(table, method, workers, threads)
                rates[name].append(rate(times, workers))
        base = statistics.median(rates["1 x 1"])
        for name, (workers, _) in setups.items():
            own = statistics.median(rates[name])
            print(
                f"| {method} | {name} | {own * 3600:,.0f} | {workers / own:.2f} | {own / base:.2f} |",
                flush=True,
            )
        print(f"\n{method}: {size / 1e6:.2f} MB of output per scan\n", flush=True)


def print_memory(records, table, cores):
    write_table(table, records)
    for workers, threads in ((1, cores), (cores, 1)):
        times, memory, _ = watched(table, "gradcam:layer=conv2b", workers, threads, watch_memory=True)
        early = [size for done, size in memory if 0.1 <= done / len(times) < 0.2]
        late = [size for done, size in memory if done / len(times) >= 0.9]
        first, last = statistics.median(early), statistics.median(late)
        print(
            f"memory over {len(times)} scans, {workers} workers: {first / 1e6:,.0f}  MB after a tenth, "
            f"{last / 1e6:,.0f} MB at the end, {last / first - 1:+.1%}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohorts", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-scans", type=int, default=200)
    parser.add_argument("--only-memory", action="store_true")
    asked = parser.parse_args()
    records = [record for cohort in asked.cohorts for record in read_cohort(cohort, ("NC", "AD")).scans]
    cores = thread_count(None)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "cohort.csv"
        if not asked.only_memory:
            print_throughput(records, table, asked.rounds, cores)
        print_memory(records[: asked.memory_scans], table, cores)


if __name__ == "__main__":
    main()
