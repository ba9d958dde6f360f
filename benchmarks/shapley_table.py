"""Markdown of shapley_peers.py: agreement with pyadx within standard errors, and time to equal error."""

import numpy as np
from scipy import stats

from pyadx.markdown import markdown_table

_LEAST = 0.01  # of the whole change: regions with less are left out of medians
_ROUNDING = 1e-5  # of the whole change: what float32 may move
_OURS = "pyadx"
_COLUMNS = (
    "regions", "orders", "estimator", "evaluations", "CPU s", "ms per evaluation", "error, % of the change",
    "within 95%", "pyadx faster per evaluation", "at equal error, median", "at equal error, mean variance",
)  # fmt: skip


def markdown(lines):
    head, *rows = lines
    made, own = head["machine"], head["settings"]
    versions = ", ".join(f"{name} {found}" for name, found in made["versions"].items() if found)
    text = (
        f"## {own['network']}\n\n{made['processor']}, {made['threads']} thread(s), {made['date']}; "
        f"Python {made['python']}, {versions}. Ours: {own['pairs']} pairs of orders.\n\n"
    )
    cells = []
    for players in sorted({row["players"] for row in rows}):
        for order in ("flat", "tree"):
            mine = [row for row in rows if row["players"] == players and row["order"] == order]
            reference = next((row for row in mine if row["estimator"].startswith(_OURS)), None)
            cells += [table_row(row, reference) for row in mine if reference]
    return text + markdown_table(_COLUMNS, cells, words=3)


def table_row(row, ours):
    cells = [row["players"], row["order"], row["estimator"], row["evaluations"], f"{row['seconds']:.1f}"]
    cells += [f"{per_evaluation(row):.1f}", *compared(row, ours)]
    return cells


def per_evaluation(row):
    return 1000 * row["seconds"] / row["evaluations"]


def compared(row, ours):
    """Return the cells with the error, and with the comparison of a row and ours."""
    change, values = abs(ours["change"]), np.array(ours["values"])
    counted = np.abs(values) >= _LEAST * change
    error = np.array(ours["errors"])
    shown = f"{100 * np.median(error[counted]) / change:.3f}"
    if row is ours:
        return [shown, "", "", "", ""]
    cheaper = f"{per_evaluation(row) / per_evaluation(ours):.1f}"
    away = np.array(row["values"]) - values
    ratio = row["seconds"] / ours["seconds"]
    if "errors" not in row:
        return [*without_errors(row, ours, away, counted), cheaper, "", ""]
    theirs = np.array(row["errors"])
    allowed = interval(theirs, row["repeats"], error, ours["repeats"])
    inside = np.abs(away) <= allowed + _ROUNDING * change
    if not error.any():  # ours are exact: no number of orders reaches the same error
        shown = f"{100 * np.median(theirs[counted]) / change:.3f}"
        return [shown, f"{inside.sum()} of {len(inside)}", cheaper, "ours are exact", ""]
    median = ratio * np.median((theirs[counted] / error[counted]) ** 2)
    # The median of variances from few calls is too small: 0.69 of the variance for three, 0.84 for five.
    mean = ratio * np.mean(theirs[counted] ** 2) / np.mean(error[counted] ** 2)
    shown = f"{100 * np.median(theirs[counted]) / change:.3f}"
    return [shown, f"{inside.sum()} of {len(inside)}", cheaper, f"{median:.1f}", f"{mean:.1f}"]


def without_errors(row, ours, away, counted):
    """Compare values with ours for an estimator without random draws, and so without a standard error."""
    off = f"{100 * np.median(np.abs(away[counted])) / abs(ours['change']):.3f} from ours"
    if row["evaluations"] < row.get("exact_at", np.inf):
        off += f" (exact at {row['exact_at']:,})" if "exact_at" in row else ""
        return [off, ""]
    error = np.array(ours["errors"])
    allowed = interval(0 * error, 2, error, ours["repeats"])
    inside = np.abs(away) <= allowed + _ROUNDING * abs(ours["change"])
    return [off + ", exact", f"{inside.sum()} of {len(inside)}"]


def interval(first, repeats, second, others):
    """Half of Welch's 95% interval for the difference of two means with these standard errors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = first**2 + second**2
        freedom = total**2 / (first**4 / (repeats - 1) + second**4 / (others - 1))
        return np.where(total > 0, stats.t.ppf(0.975, freedom) * np.sqrt(total), 0.0)
