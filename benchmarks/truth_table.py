"""Results of truth.py as Markdown."""

import json

import numpy as np

from pyadx.evaluation import bootstrap_difference, bootstrap_mean
from pyadx.markdown import markdown_table

_TRUTH = {
    "rank": "rank corr. with T",
    "rank_signed": "with signs",
    "rank_windows": "rank corr., map summed over windows",
    "truth_ap": "AP of T's top 5%",
    "truth_ap_windows": "AP, map summed over windows",
}
_PLANTED = {
    "planted_core": "core, AP",
    "planted_core_positive": "core, positive part",
    "planted": "planted, AP",
    "planted_positive": "planted, positive part",
    "mass_planted": "mass planted",
    "mass_planted_core": "mass core",
    "ventricle_ap": "ventricle, AP",
    "hippocampus_ap": "hippocampus, AP",
}
_SHARES = ("ventricle", "hippocampus", "cortex")


def read_lines(path):
    """Return the lines of a file of results, without a last one that was cut off."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def markdown(files):
    """Return all tables of one or more files of results, one network each."""
    return "\n".join(_network(lines) for lines in files)


def _network(lines):
    settings = next(line["settings"] for line in lines if "settings" in line)
    results, processors, machine = {}, [], {}
    for line in lines:
        if "machine" in line:
            machine = line["machine"]
            if machine["processor"] not in processors:
                processors.append(machine["processor"])
        if "figures" in line:
            results.setdefault(line["method"], {})[line["subject"]] = line | {"on": machine["processor"]}
    label = {line["subject"]: line["label"] for line in lines if "subject" in line}
    with_truth = [line["subject"] for line in lines if "truth" in line]
    patients = sorted(set(with_truth))
    healthy = sorted(set(label) - set(patients))
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    parts = [
        f"## {settings['architecture']}: {len(patients)} patients, {len(healthy)} controls\n",
        f"{' and '.join(processors)}, {machine['threads']} threads; "
        f"Python {machine['python']}, {versions}. "
        f"Truth: window {settings['window']}, stride {settings['stride']}, {settings['score']}; compared "
        "at the windows' centres inside the brain, the rest on all voxels of the brain. Mean over patients "
        "[95% bootstrap interval].\n",
        _region_truth(lines),
        "### Against the causal truth\n",
        _table(results, patients, _TRUTH | _srg(settings), 3, "truth_prevalence", ("truth_ap",)),
        "### Against what was planted, and regions\n",
        _planted(results, patients),
        "### Controls, and cost\n",
        _controls(results, patients, healthy, machine["processor"]),
        _differences(results, patients),
        _effects(results, patients),
        _failures(lines, results),
    ]
    return "\n".join(part for part in parts if part)


def _srg(settings):
    return {f"srg_{name}": f"SRG, {name}" for name in settings["srg"]}


def _values(of_method, subjects, key):
    lines = (of_method[s] for s in subjects if s in of_method)
    return [line["figures"][key] for line in lines if key in line["figures"]]


def _cell(values, digits=3):
    if not values:
        return "-"
    low, high = bootstrap_mean(values)
    return f"{np.mean(values):.{digits}f}{_interval(low, high, digits)}"


def _interval(low, high, digits=3):
    return "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"


def _table(results, subjects, columns, digits, prevalence=None, for_keys=()):
    rows = []
    for method, found in results.items():
        cells = [_cell(_values(found, subjects, key), digits) for key in columns]
        if any(cell != "-" for cell in cells):
            rows.append([method, *cells])
    if prevalence and rows:
        some = next(iter(results.values()))
        share = _cell(_values(some, subjects, prevalence))
        rows.append(["prevalence", *(share if key in for_keys else "" for key in columns)])
    return markdown_table(["method", *columns.values()], rows)


def _planted(results, patients):
    text = _table(results, patients, _PLANTED, 3)
    some = next(iter(results.values()), {})
    chance = {
        "planted_core": "planted_core_prevalence",
        "planted": "planted_prevalence",
        "ventricle_ap": "ventricle_prevalence",
        "hippocampus_ap": "hippocampus_prevalence",
    }
    cells = []
    for key in _PLANTED:
        values = _values(some, patients, chance.get(key.removesuffix("_positive"), ""))
        cells.append(f"{np.mean(values):.3f}" if values else "")
    return text + "| prevalence | " + " | ".join(cells) + " |\n"


def _controls(results, patients, healthy, processor):
    """Tabulate maps of controls, and seconds on one processor, since those of others are not comparable."""
    columns = [
        "method", *(f"{name}, share of the map" for name in _SHARES), "strength, controls / patients",
        f"seconds per scan, {processor}",
    ]  # fmt: skip
    rows = []
    for method, found in results.items():
        shares = [_cell(_values(found, healthy, f"{name}_share")) for name in _SHARES]
        ill, well = (_values(found, group, "strength") for group in (patients, healthy))
        ratio = f"{np.mean(well) / np.mean(ill):.2f}" if ill and well and np.mean(ill) > 0 else "-"
        seconds = [line["seconds"] for line in found.values() if line["on"] == processor]
        rows.append([method, *shares, ratio, f"{np.mean(seconds):.2f}" if seconds else "-"])
    some = next(iter(results.values()), {})
    sizes = [_values(some, healthy, f"{name}_prevalence") for name in _SHARES]
    rows.append(["share of the brain", *(f"{np.mean(v):.3f}" if v else "-" for v in sizes), "", ""])
    return markdown_table(columns, rows)


def _differences(results, patients, key="planted_core"):
    """Tabulate how much better the best method is than each other one, on the same patients."""
    means = {m: np.mean(v) for m in results if (v := _values(results[m], patients, key))}
    if len(means) < 2:
        return ""
    best = max(means, key=means.get)
    rows = []
    for method in means:
        both = [s for s in patients if s in results[best] and s in results[method]]
        if method == best or not both:
            continue
        pair = (_values(results[name], both, key) for name in (best, method))
        gain, low, high = bootstrap_difference(*pair)
        rows.append([method, f"{gain:.3f}{_interval(low, high)}", len(both)])
    return f"### AP of the planted core: {best} minus the others, paired\n\n" + markdown_table(
        ["method", "difference", "patients"], rows
    )


def _region_truth(lines):
    found = {line["subject"]: line["truth"] for line in lines if "truth" in line}
    if not found:
        return ""
    names = list(next(iter(found.values())))
    cells = [_cell([one[name] for one in found.values()], 2) for name in names]
    table = markdown_table(["taken from the twin", *names], [["decrease of the score", *cells]])
    return f"### What the disease does to this network\n\n{table}"


def _effects(results, patients):
    """Tabulate effects of whole regions by each SA-3DUCM, which should be those of the truth."""
    rows = []
    for method, found in results.items():
        groups = [found[s]["facts"].get("groups") for s in patients if s in found]
        groups = [one for one in groups if one]
        if groups:
            rows.append([method, *(_cell([one[name] for one in groups], 2) for name in _SHARES)])
    if not rows:
        return ""
    return "### Effect of a whole region, filled at once\n\n" + markdown_table(["method", *_SHARES], rows)


def _failures(lines, results):
    failed = {}
    for line in lines:
        if "error" in line and line["subject"] not in results.get(line["method"], {}):
            failed.setdefault((line["method"], line["error"]), set()).add(line["subject"])
    rows = [[method, len(subjects), error] for (method, error), subjects in failed.items()]
    return "### Failed\n\n" + markdown_table(["method", "subjects", "error"], rows, 3) if rows else ""
