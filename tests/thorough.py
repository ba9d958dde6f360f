"""Tests that take long and repeat, at full size or once more, what quicker tests cover.

`make test` leaves all of them out and says so. `make test-thorough` runs those of ``THOROUGH``, and so does
the check of every change. ``LONG`` has those that take minutes each: `make test-all` runs everything.
An entry is a file, a test, and parameters where only some of them are meant; ``*`` stands for anything.
"""

import re
from functools import cache

LONG = (
    # The paper's experiments with four networks, twice.
    "commands/test_evaluate.py::test_reproduce_makes_all_tables_and_figures_and_resumes",
    # Many scans, many maps, and a cluster.
    "commands/test_explain_cohort.py::test_many_scans_with_a_worker_killed_in_mid_run",
    "commands/test_group_resume.py::test_two_thousand_maps_killed_in_the_sums_and_in_the_permutations",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[two-",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[cut]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[empty]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again[other]",
    "commands/test_group_networks.py::test_a_run_that_was_interrupted_among_the_networks_goes_on",
    "commands/test_train.py::test_rounds_on_ray_equal_those_in_sequence_also_when_a_worker_dies",
    "inference/test_incremental.py::test_a_thousand_boxes",
    "inference/test_incremental.py::test_the_same_window_scores_the_same_bytes_in_any_batch_and_order[DenseNet",
    "inference/test_incremental.py::test_the_vendors_convolutions_give_the_same_scores_as_ours[resnet18",
    "commands/test_group_transforms.py::test_workers_and_an_interruption_give_the_same_bytes",
    "training/test_training.py::test_it_learns_what_is_there_and_nothing_from_shuffled_labels",
    "evaluation/test_faithfulness.py::test_compact_groups_are_walked_and_scattered_ones_are_not",
    # Figures of the documentation, drawn at full size.
    "package/test_figures.py::test_boxes_that_a_window_changes_grow_as_the_page_says",
    "package/test_figures.py::test_the_picture_of_a_method_is_drawn",
    "report/test_notebook.py::test_the_example_notebook_runs",
)

THOROUGH = (
    # A wheel is built, installed into an empty environment and demonstrated there at full size.
    "package/test_wheel.py::",
    # Further ways to end a run; SIGKILL stays.
    "commands/test_resume.py::test_killed_and_resumed_equals_undisturbed[2]",
    "commands/test_resume.py::test_killed_and_resumed_equals_undisturbed[15]",
    "commands/test_cohort_faults.py::test_killed_and_called_again",
    "commands/test_workers.py::",
    "package/test_processes.py::test_running_tasks_clean_up_and_no_other_begins[killed]",
    "package/test_processes.py::test_a_task_that_does_not_end_is_killed",
    "commands/test_cohort_faults.py::test_a_stopped_run_on_ray",
    "commands/test_cohort_faults.py::test_an_interrupted_phantom_says_how_to_continue",
    "commands/test_cohort_faults.py::test_a_scan_for_which_memory_runs_out_is_noted_and_the_others_go_on",
    # Maps of groups: further workers, networks, damage and ways to end.
    "commands/test_group.py::test_any_number_of_workers_gives_the_same_bytes",
    "commands/test_group.py::test_the_note_says_all_that_was_done",
    "commands/test_group_networks.py::test_each_network_gives_what_a_run_of_its_own_gives",
    "commands/test_group_networks.py::test_the_page_tells_both",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[one-s",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[one-c",
    "commands/test_group_resume.py::test_a_changed_request_or_map_starts_anew",
    "commands/test_group.py::test_two_thousand_maps_are_streamed_and_the_unreadable_one_listed",
    "commands/test_group_resume.py::test_an_interruption_is_one_line_that_says_how_to_go_on[terminated]",
    "commands/test_group_resume.py::test_damaged_work_is_done_again",
    "commands/test_bids_app.py::test_a_run_that_was_killed_goes_on_with_the_scores_in_the_work_folder",
    "explainers/test_exact_shares.py::test_twelve_players_are_exact",
    "training/test_ray_results.py::test_a_worker_that_dies_and_one_that_raises_on_real_ray",
    "commands/test_resume.py::test_resuming_with_other_options_is_refused_and_overwrite_starts_again",
    "commands/test_train.py::test_killed_during_crossval_loses_one_epoch_at_most",
    "inference/test_sharding.py::test_two_processes_share_the_work_and_give_the_bytes_of_one",
    "training/test_training.py::test_two_processes_average_to_the_same_training",
    "commands/test_truth_benchmark.py::test_it_measures_resumes_and_makes_tables",
    "commands/test_bids_app.py::test_participants_of_several_processes_share_one_folder",
    "evaluation/test_region_permutations.py::test_five_percent_of_shuffled_analyses_find_a_region_of_heavy_tails",
    # Random networks, and more combinations of methods, networks, dtypes and layouts.
    "inference/test_rounding.py::test_random_networks_with_norms_and_regions_that_leave_little",
    "inference/test_rounding.py::test_segresnet_with_all_of_the_foreground_filled",
    "inference/test_incremental_properties.py::test_any_network_of_supported_layers",
    "inference/test_batch_dependence.py::test_maps_of_a_batch_are_the_maps_of_its_scans[*BatchStatistics",
    "inference/test_batch_dependence.py::test_maps_of_a_batch_are_the_maps_of_its_scans[sa3ducm",
    "inference/test_conv_algorithms.py::test_float64_equals_full_forwards_to_ten_digits",
    "inference/test_moving_baseline.py::test_scores_along_a_walk_are_those_of_full_forwards[resnet",
    "inference/test_moving_baseline.py::test_regions_are_scored_from_where_the_baseline_is[resnet",
    "inference/test_moving_baseline.py::test_coming_back_to_a_mark_is_as_if_nothing_had_been_done[resnet",
    "inference/test_moving_baseline.py::test_a_thousand_commits_stay_exact",
    "inference/test_scattered_regions.py::test_walks_follow_full_forwards_and_come_back",
    "explainers/test_every_method.py::test_other_precisions_give_a_similar_map[*-dtype1",
    "explainers/test_every_method.py::test_other_precisions_give_a_similar_map[*-dtype2",
    "explainers/test_every_method.py::test_the_layout_of_the_volume_does_not_matter[*-expanded",
    "explainers/test_every_method.py::test_the_layout_of_the_volume_does_not_matter[*-Fortran",
    "explainers/test_every_method.py::test_a_network_may_end_in_softmax_or_its_logarithm[*-log_",
    "explainers/test_gradcam.py::test_of_a_gap_network_equals_its_cam_up_to_the_number_of_cells[resnet",
    "explainers/test_tied_models_are_left_as_found.py::test_everything_is_as_it_was_after_an_error*[sa3ducm",
    "models/test_lasagne.py::test_converted_networks_give_the_same_logits[*resnet",
    "ops/test_chi_square.py::test_cuda_gives_the_bits_of_the_cpu[emulated-radii1",
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
    # Volumes of the synthetic cohort at full size, and commands whose parts have quicker tests.
    *(
        f"data/test_phantom.py::{test}"
        for test in (
            "test_planted_changes_are_reached",
            "test_the_twin_is_the_patient_without_the_disease",
            "test_scans_are_masked_brains_on_the_grid_with_known_labels",
            "test_it_is_a_bids_data_set_that_the_cohort_reader_reads",
            "test_the_same_seed_gives_the_same_bytes_also_after_an_interruption",
            "test_folders_that_hold_something_else_are_left_alone",
        )
    ),
    "commands/test_evaluate.py::test_evaluate_writes_tables_figures_and_derivatives_and_computes_nothing_twice",
    "commands/test_bids_app.py::test_the_group_level_compares_the_maps_of_the_participant_level",
    "commands/test_cohort_faults.py::test_a_full_disk_ends_the_run_and_the_next_call_goes_on",
    "commands/test_group_networks.py::test_replicates_and_the_blind_network_stand_beside_the_finding",
    "commands/test_group_resume.py::test_killed_and_called_again_equals_undisturbed[one-voxels-00000]",
    "commands/test_faults.py::test_memory_that_runs_out_is_told_in_one_line",
    "commands/test_evaluate.py::test_maps_of_zeros_are_scored_told_and_not_computed_again",
    "commands/test_evaluate_truth.py::test_truth_is_measured_kept_and_shown",
    "commands/test_group.py::test_earlier_results_go_only_when_asked_and_when_new_ones_are_there",
    "commands/test_group.py::test_right_and_wrong_are_compared_apart",
    "commands/test_group_networks.py::test_maps_of_several_networks_are_one_sample_with_the_network_as_covariate",
    "commands/test_group_resume.py::test_an_interruption_is_one_line_that_says_how_to_go_on[ctrl-c]",
    "commands/test_group_resume.py::test_folders_of_others_and_runs_at_work_are_refused",
    "commands/test_group_resume.py::test_what_is_finished_is_not_done_again",
    "package/test_notebooks.py::test_a_notebook_runs",
    "training/test_training.py::test_resumed_equals_undisturbed_to_the_bit[resnet",
    "training/test_training_references.py::test_each_round_of_a_cross_validation_has_its_own",
    "training/test_training_references.py::test_resumed_leaves_the_same_bytes",
    # Small networks have the same layers as these, and other sizes the same code.
    "inference/test_linear_tail.py::test_the_last_convolution_of_resnet_gap_is_left_out",
    "inference/test_scattered_regions.py::test_scores_are_those_of_full_forwards[resnet",
    "inference/test_scattered_regions.py::test_float32_keeps_five_digits",
    "inference/test_incremental.py::test_cache_and_batches_take_less_than_three_forwards",
    "inference/test_incremental.py::test_memory_stays_within_the_bound_and_too_small_a_bound_is_told",
    "inference/test_receptive_field.py::test_random_chains_agree_with_gradients",
    "explainers/test_properties.py::test_occlusion_at_the_centres_of_its_windows",
    "explainers/test_properties.py::test_what_a_model_makes_of_its_logits_at_its_end_changes_no_probability",
    "explainers/test_budget.py::test_a_slow_network_is_explained_within_its_budget",
    "segmentation/test_ucm.py::test_ctrl_c_stops_the_core_at_once",
    # PTX of two architectures, and emulated instruction sets.
    "ops/test_ptx.py::test_convolutions_multiply_on_tensor_cores",
    "ops/test_split_products.py::test_the_emulation_gives_the_same_bytes_with_every_instruction_set",
    "ops/test_patch_conv.py::test_conv_moves_as_whole_maps_do[*100% of the cells change-emulated]",
    "ops/test_chi_square.py::test_cuda_gives_the_bits_of_the_cpu[emulated-radii0-shape2",
    # More of the page in a browser, and of pages of groups.
    "report/test_browser_groups.py::",
    "report/test_browser_regions.py::",
    "report/test_page_groups.py::test_names_are_text_and_no_folder_or_header_shows",
    "report/test_page_groups.py::test_regions_are_sorted_by_q_and_lead_to_their_places",
    "report/test_page_groups.py::test_maps_that_are_gone_are_told_and_left_out",
    "report/test_browser_colours.py::",
    "ops/test_patch_overflow.py::test_the_inner_loops_of_every_instruction_set_pass_the_tests_of_convolution",
    # The tensor-core convolution, emulated, for patches that change in part; whole changes stay.
    "ops/test_patch_conv.py::test_conv_moves_as_whole_maps_do[*30% of the cells change-emulated]",
    "ops/test_patch_conv.py::test_conv_moves_as_whole_maps_do[*2% of the cells change-emulated]",
    "ops/test_patch_conv.py::test_conv_moves_as_whole_maps_do[*-0% of the cells change-emulated]",
)


def is_thorough(node_id):
    """Whether `make test` leaves a test out."""
    return _named(THOROUGH + LONG, node_id)


def is_long(node_id):
    """Whether `make test-thorough` leaves it out, too."""
    return _named(LONG, node_id)


def holds_thorough(path):
    """Whether a file of tests has any of them."""
    entries = THOROUGH + LONG
    return any(path.as_posix().endswith(f"tests/{entry.partition('::')[0]}") for entry in entries)


def _named(entries, node_id):
    return _pattern(entries).search(node_id) is not None


@cache
def _pattern(entries):
    each = (re.escape(entry).replace(r"\*", ".*") for entry in entries)
    return re.compile(f"tests/(?:{'|'.join(each)})")
