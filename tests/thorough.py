"""Tests that take long and repeat, at full size or once more, what quicker tests cover.

`make test` leaves them out and says so; `make test-all` runs everything. An entry is a file, a test, and
the parameters where only some of them are meant.
"""

THOROUGH = (
    # Wheels are built and installed into empty environments.
    "package/test_wheel.py::",
    # The paper's experiments with four networks, twice.
    "commands/test_evaluate.py::test_reproduce_makes_all_tables_and_figures_and_resumes",
    # Further ways to end a run; SIGKILL stays.
    "commands/test_resume.py::test_killed_and_resumed_equals_undisturbed[2]",
    "commands/test_resume.py::test_killed_and_resumed_equals_undisturbed[15]",
    "commands/test_cohort_faults.py::test_killed_and_called_again[2-",
    "commands/test_cohort_faults.py::test_killed_and_called_again[15-",
    "commands/test_cohort_faults.py::test_killed_and_called_again[9-1]",
    "commands/test_cohort_faults.py::test_a_full_disk_ends_the_run_and_the_next_call_goes_on[2]",
    "commands/test_cohort_faults.py::test_a_scan_for_which_memory_runs_out_is_noted_and_the_others_go_on",
    # Two hundred scans, and a cluster.
    "commands/test_explain_cohort.py::test_two_hundred_scans_with_a_worker_killed_in_mid_run",
    "training/test_ray_results.py::test_a_worker_that_dies_and_one_that_raises_on_real_ray",
    # The paper's networks at 110^3; small networks have the same layers.
    "inference/test_incremental.py::test_float64_equals_full_forwards_to_ten_digits[vggnet]",
    "inference/test_incremental.py::test_float64_equals_full_forwards_to_ten_digits[resnet]",
    # More of the page in a browser.
    "report/test_notebook.py::test_the_example_notebook_runs",
    "report/test_browser_colours.py::test_the_colour_bar_says_what_a_sign_speaks_for",
    "report/test_browser_colours.py::test_every_diverging_colour_tells_the_signs_apart",
    "report/test_browser_colours.py::test_a_map_of_very_small_values_has_the_same_colours",
    "report/test_browser_colours.py::test_the_notebook_view_is_signed_too_and_runs_in_its_frame",
    "ops/test_patch_overflow.py::test_nan_passes_through_the_inner_loops_of_every_instruction_set",
)


def is_thorough(node_id):
    """Whether a test is one of them."""
    return any(f"tests/{entry}" in node_id for entry in THOROUGH)
