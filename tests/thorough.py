"""Tests that take long and repeat, at full size or once more, what quicker tests cover.

`make test` leaves them out and says so; `make test-all` runs everything. An entry is a file, a test, and
the parameters where only some of them are meant.
"""

THOROUGH = (
    # A wheel is built, installed into an empty environment and demonstrated there at full size.
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
    # Many scans, and a cluster.
    "commands/test_explain_cohort.py::test_many_scans_with_a_worker_killed_in_mid_run",
    "commands/test_group.py::test_two_thousand_maps_are_streamed_and_the_unreadable_one_listed",
    "commands/test_group_resume.py::test_two_thousand_maps_killed_in_the_sums_and_in_the_permutations",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[two-",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[one-s",
    "commands/test_group_resume.py::test_an_interruption_is_one_line_that_says_how_to_go_on[terminated]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[cut]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[empty]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[other]",
    "commands/test_group_transforms.py::test_workers_and_an_interruption_give_the_same_bytes",
    "commands/test_group_networks.py::test_a_run_that_was_interrupted_among_the_networks_goes_on",
    "commands/test_bids_app.py::test_a_run_that_was_killed_goes_on_with_the_scores_in_the_work_folder",
    "evaluation/test_faithfulness.py::test_compact_groups_are_walked_and_scattered_ones_are_not",
    "explainers/test_exact_shares.py::test_twelve_players_are_exact",
    "training/test_ray_results.py::test_a_worker_that_dies_and_one_that_raises_on_real_ray",
    "commands/test_resume.py::test_resuming_with_other_options_is_refused_and_overwrite_starts_again",
    "commands/test_train.py::test_rounds_on_ray_equal_those_in_sequence_also_when_a_worker_dies",
    "commands/test_train.py::test_killed_during_crossval_loses_one_epoch_at_most",
    "inference/test_sharding.py::test_two_processes_share_the_work_and_give_the_bytes_of_one",
    "training/test_training.py::test_two_processes_average_to_the_same_training",
    "training/test_training.py::test_it_learns_what_is_there_and_nothing_from_shuffled_labels",
    "data/test_phantom.py::test_the_same_seed_gives_the_same_bytes_also_after_an_interruption",
    # The paper's networks and MONAI's; random small networks have the same layers.
    *(
        f"inference/test_incremental.py::{test}"
        for test in (
            "test_float64_equals_full_forwards_to_ten_digits[",
            "test_float32_equals_float64_to_five_digits_or_as_well_as_full_forwards_do[",
            "test_the_same_window_scores_the_same_bytes_in_any_batch_and_order[",
            "test_the_vendors_convolutions_give_the_same_scores_as_ours[",
            "test_every_buffer_comes_back_after_a_batch[",
            "test_boxes_reach_the_class_scores_in_these_networks[",
            "test_bf16_is_opt_in_and_close",
        )
    ),
    # Figures of the documentation, drawn at full size.
    "package/test_figures.py::test_boxes_that_a_window_changes_grow_as_the_page_says",
    "package/test_figures.py::test_the_picture_of_a_method_is_drawn",
    # More of the page in a browser.
    "report/test_notebook.py::test_the_example_notebook_runs",
    "report/test_browser_colours.py::test_the_colour_bar_says_what_a_sign_speaks_for",
    "report/test_browser_colours.py::test_every_diverging_colour_tells_the_signs_apart",
    "report/test_browser_colours.py::test_a_map_of_very_small_values_has_the_same_colours",
    "report/test_browser_colours.py::test_the_notebook_view_is_signed_too_and_runs_in_its_frame",
    "ops/test_patch_overflow.py::test_the_inner_loops_of_every_instruction_set_pass_the_tests_of_convolution",
)


def is_thorough(node_id):
    """Whether a test is one of them."""
    return any(f"tests/{entry}" in node_id for entry in THOROUGH)


def holds_thorough(path):
    """Whether a file of tests has any of them."""
    return any(path.as_posix().endswith(f"tests/{entry.partition('::')[0]}") for entry in THOROUGH)
