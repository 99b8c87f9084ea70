"""Fifty ways in which tools of this kind lost data, hung or let somebody in, and where each is tested.

The left is the number of a case, the right what it is and either the tests that cover it, as path::function under
`tests/`, or the reason why it cannot happen here.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One way to fail.

    Attributes:
        what: in a few words.
        tests: that cover it.
        reason: why it does not apply, or what of it does not.
    """

    what: str
    tests: tuple[str, ...] = ()
    reason: str = ""


MODEL = "molgen/model/test_checkpoint.py::"
HERE = "reliability/"
FILES = "plugins/molecules/io/test_files.py::"
AWKWARD = "plugins/molecules/io/test_awkward_files.py::"

CASES = {
    1: Case(
        "pickled checkpoints, also under another name",
        (
            MODEL + "test_a_pickled_checkpoint_is_refused_unread",
            MODEL + "test_a_forged_weights_file_is_one_clear_error",
        ),
    ),
    2: Case(
        "malformed safetensors",
        (
            HERE + "test_checkpoints.py::test_a_lying_header_is_one_line_in_bounded_memory",
            "fuzz/test_checkpoints.py::test_a_forged_model_is_one_line_or_a_model",
        ),
    ),
    3: Case(
        "a checkpoint names what is to be imported",
        (MODEL + "test_a_forged_configuration_is_one_clear_error_and_imports_nothing",),
    ),
    4: Case(
        "killed while saving",
        (
            MODEL + "test_a_whole_checkpoint_survives_a_kill_at_any_moment_of_a_save",
            "molgen/test_atomic_files.py::test_what_a_killed_run_left_is_cleared_by_the_next",
        ),
    ),
    5: Case("an exception while saving", (MODEL + "test_a_failing_save_leaves_the_former_one_and_nothing_else",)),
    6: Case(
        "the disk is full",
        (
            HERE + "test_checkpoints.py::test_a_full_disk_leaves_the_former_model_and_names_the_file",
            HERE + "test_checkpoints.py::test_a_full_disk_leaves_the_former_table_and_names_the_file",
            "datasets/test_cache.py::test_a_disk_that_is_full_is_one_line_that_says_how_much_is_needed",
            "cli/test_main.py::test_a_full_disk_is_said_once",
            "cli/verbs/evaluate/test_molecules.py::test_figures_are_not_lost_where_the_disk_is_full_at_the_end",
        ),
    ),
    7: Case("flipped bits", (MODEL + "test_damage_to_any_file_is_fatal",)),
    8: Case(
        "an old checkpoint cannot be deleted",
        (HERE + "test_checkpoints.py::test_a_former_model_that_cannot_be_deleted_stops_nothing",),
    ),
    9: Case(
        "resuming equals not stopping",
        (
            "molgen/training/test_trainer.py::test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit",
            "molgen/training/test_phases.py::test_a_resumed_run_of_several_phases_is_the_uninterrupted_one",
            "cli/verbs/train/test_runs.py::test_killed_and_terminated_runs_end_as_if_nothing_had_happened",
        ),
    ),
    10: Case(
        "models of earlier versions",
        (
            "plugins/molecules/test_pretrained.py::test_most_draws_are_molecules_and_their_density_is_exact",
            "molgen/backbones/test_contract.py::test_states_with_former_names_load",
            "molgen/data/test_statistics.py::test_checkpoints_that_hold_sums_are_read",
            "molgen/training/test_fit.py::test_a_run_from_before_a_setting_existed_is_resumed_with_its_default",
        ),
    ),
    11: Case(
        "saved on one device, loaded on another",
        (
            HERE + "test_devices.py::test_a_model_saved_on_a_device_loads_on_the_cpu",
            HERE + "test_devices.py::test_a_model_goes_to_a_graphics_card_and_back",
            "molgen/model/test_generative_model.py::test_half_precision_is_half_the_size_and_nearly_the_same",
        ),
    ),
    12: Case(
        "a loss that is not finite",
        (
            "molgen/training/test_trainer.py::test_a_loss_that_is_not_finite_stops_before_the_step",
            "cli/verbs/train/test_runs.py::test_a_loss_that_is_not_finite_stops_with_the_last_state_intact",
            "molgen/training/test_fit.py::test_no_checkpoint_holds_weights_that_are_not_finite",
        ),
    ),
    13: Case(
        "saved over a model that is in use",
        (HERE + "test_checkpoints.py::test_a_model_in_use_survives_being_replaced",),
    ),
    14: Case(
        "signals while generating",
        (
            "cli/verbs/test_generate.py::test_a_signal_leaves_a_whole_file",
            "cli/test_main.py::test_a_second_signal_ends_at_once",
            "cli/test_main.py::test_handlers_are_put_back",
        ),
    ),
    15: Case(
        "interrupts after a conformer was embedded",
        (HERE + "test_conformers.py::test_an_interrupt_is_heard_after_a_conformer_was_embedded",),
    ),
    16: Case(
        "a crash between shards",
        (
            "molgen/model/test_generative_model.py::test_a_later_call_goes_on_where_the_earlier_ended",
            FILES + "test_a_file_is_whole_or_not_there",
        ),
        "Output is one file, whole or not there, and row k follows from the seed and k: what is missing can be made.",
    ),
    17: Case(
        "Parquet without its end",
        (FILES + "test_damaged_files_are_named", "fuzz/test_tables.py::test_a_damaged_file_is_rows_or_one_line"),
    ),
    18: Case(
        "an exception while writing",
        (
            FILES + "test_a_file_is_whole_or_not_there",
            "molgen/data/test_store.py::test_a_failing_source_leaves_nothing_behind",
        ),
    ),
    19: Case(
        "two processes in one folder",
        (
            "cli/verbs/train/test_folders.py::test_two_runs_never_share_a_folder",
            "molgen/data/test_store.py::test_of_two_writers_the_first_to_finish_wins",
            "datasets/test_cache.py::test_two_processes_may_store_the_same_file_at_once",
        ),
    ),
    20: Case(
        "an output that exists",
        (
            "cli/verbs/test_generate.py::test_an_existing_file_is_not_replaced_unasked",
            "cli/verbs/train/test_folders.py::test_an_output_that_exists_is_not_touched",
            "cli/test_streams.py::test_outputs_that_would_destroy_something_are_refused",
            "molgen/test_atomic_files.py::test_only_a_model_is_replaced_by_a_model",
        ),
    ),
    21: Case(
        "rows depend on workers or batches",
        (
            "cli/verbs/test_generate.py::test_rows_do_not_depend_on_batch_size_or_workers",
            "molgen/test_seeding.py::test_every_part_of_the_key_gives_independent_numbers",
        ),
    ),
    22: Case("0 is a seed", ("cli/verbs/test_generate.py::test_zero_is_a_seed_and_no_seed_is_random",)),
    23: Case(
        "quotes, commas and line breaks in cells",
        (
            AWKWARD + "test_what_is_written_has_as_many_rows",
            AWKWARD + "test_two_names_that_open_a_quote_swallow_no_row",
            FILES + "test_any_text_comes_back_from_a_table",
            FILES + "test_extensions_with_commas",
            "fuzz/test_tables.py::test_a_damaged_file_is_rows_or_one_line",
        ),
    ),
    24: Case(
        "invalid rows keep their places",
        (
            "cli/verbs/test_score.py::test_users_columns_order_and_count_are_kept",
            "cli/verbs/test_score.py::test_bad_rows_keep_their_place",
            "cli/verbs/test_score.py::test_all_bad_is_a_failure",
        ),
    ),
    25: Case(
        "odd tables",
        (
            FILES + "test_an_empty_file_is_an_error",
            FILES + "test_a_header_alone_is_an_empty_table",
            FILES + "test_tables_with_a_mark_other_line_ends_and_other_encodings",
            FILES + "test_a_very_long_line_is_one_bad_row_in_bounded_memory",
            AWKWARD + "test_no_file_takes_long",
        ),
    ),
    26: Case(
        "pipes",
        (
            "cli/verbs/test_generate.py::test_generate_into_score_reproduces_the_density",
            "cli/verbs/test_generate.py::test_stdout_holds_rows_and_nothing_else",
            "cli/test_main.py::test_a_closed_pipe_ends_quietly",
        ),
    ),
    27: Case(
        "memory runs out",
        (
            "molgen/model/test_generative_model.py::test_running_out_of_memory_halves_the_batch_and_changes_no_item",
            "molgen/model/test_generative_model.py::test_what_is_no_lack_of_memory_is_not_tried_again",
            "molgen/model/test_generative_model.py::test_a_single_draw_that_does_not_fit_is_an_error",
        ),
    ),
    28: Case(
        "files larger than memory",
        (
            HERE + "test_memory.py::test_a_long_list_is_read_in_the_memory_of_a_short_one",
            "molgen/workers/test_stream.py::test_scoring_large_items_takes_little_memory",
            "molgen/workers/test_stream.py::test_evaluating_large_items_takes_little_memory",
            "molgen/workers/test_stream.py::test_training_on_large_items_takes_little_memory",
        ),
    ),
    29: Case(
        "where a file came from",
        ("cli/verbs/test_generate.py::test_the_record_names_everything",),
        "Provenance lies beside a file of any format, in FILE.run.json with the hash of the file.",
    ),
    30: Case(
        "hashes are compared",
        (MODEL + "test_damage_to_any_file_is_fatal", "molgen/data/test_store.py::test_a_damaged_store_is_no_store"),
        "Output has no shards; its hash stands in FILE.run.json, for sha256sum.",
    ),
    31: Case(
        "decode(encode(x)) is x",
        (
            "conformance/test_encoders.py::test_encoder",
            "plugins/molecules/selfies/test_encoder.py::test_what_has_no_selfies_has_a_reason",
            "plugins/molecules/selfies/test_encoder.py::test_a_molecule_that_changes_is_refused_unless_unchecked",
            "plugins/molecules/graph/test_encoder.py::test_the_same_molecule_comes_back",
            "plugins/molecules/smiles/test_encoder.py::test_strings_come_back",
        ),
    ),
    32: Case(
        "canonical strings that cannot be read again",
        (
            "plugins/molecules/chemistry/test_rdkit_io.py::test_canonical_forms_are_fixed_points",
            "plugins/molecules/chemistry/test_rdkit_io.py::test_whatever_a_model_writes_is_invalid_or_canonical",
        ),
    ),
    33: Case(
        "strings made to hang or crash parsers",
        (
            HERE + "test_hostile_strings.py::test_a_hostile_string_is_encoded_or_refused_in_bounds",
            "cli/verbs/test_score.py::test_hostile_rows",
            "plugins/molecules/chemistry/test_rdkit_io.py::test_hostile_strings_are_invalid_or_canonical",
        ),
    ),
    34: Case(
        "an item that kills its process", ("molgen/workers/test_pool.py::test_only_the_guilty_items_are_invalid",)
    ),
    35: Case(
        "embedding of conformers without end",
        (
            "plugins/molecules/geometry/test_encoder.py::test_a_geometry_that_cannot_be_found_says_so",
            "plugins/molecules/geometry/test_encoder.py::test_a_large_molecule_is_given_up_in_time",
        ),
    ),
    36: Case(
        "padding, neighbours, permutations and turns",
        (
            "molgen/backbones/transformer/test_network.py::test_padding_and_neighbours_change_nothing",
            "molgen/backbones/transformer/test_network.py::test_outputs_move_with_the_elements_of_unordered_axes",
            "molgen/backbones/graph/test_network.py::test_outputs_move_with_the_nodes",
            "conformance/test_kit.py::test_what_does_not_turn_is_found",
            "conformance/test_networks.py::test_backbone",
        ),
    ),
    37: Case(
        "the graphics card computes the same",
        (
            HERE + "test_devices.py::test_a_model_goes_to_a_graphics_card_and_back",
            "conformance/test_devices.py::test_a_family_works_on_a_device",
        ),
        "Without a card, a pretend device finds what was not moved; with one, the first test compares the numbers.",
    ),
    38: Case(
        "densities against the truth",
        (
            "molgen/backbones/test_causal_backbones.py::test_the_probabilities_of_all_samples_sum_to_one_under_every_condition",
            "molgen/families/test_vae_densities.py::test_bounds_of_a_linear_model_rise_to_its_exact_density",
            "molgen/families/test_diffusion_truth.py::test_the_bound_on_numbers_is_below_the_truth_and_tightens_to_it",
            "conformance/test_kit.py::test_a_wrong_density_of_numbers_is_found",
            "conformance/test_networks.py::test_family_on_its_default_networks",
        ),
    ),
    39: Case("deterministic algorithms", (HERE + "test_devices.py::test_training_and_sampling_are_deterministic",)),
    40: Case(
        "a computed value that is none, or a failure to compute",
        (
            "plugins/molecules/metrics/test_features.py::test_a_feature_that_fails_is_missing",
            "molgen/evaluation/test_evaluate.py::test_a_failure_stays_alone",
            "plugins/molecules/chemistry/test_properties.py::test_what_cannot_be_computed_is_not_a_number",
            "molgen/workers/test_pool.py::test_a_result_that_is_no_plain_data_is_invalid",
        ),
        "There are no scorers in processes outside; properties, features and metrics of plugins fail one by one.",
    ),
    41: Case(
        "plugins of others",
        (
            "test_startup.py::test_listing_plugins_loads_no_plugin",
            "molgen/test_registry.py::test_the_switch_leaves_what_our_distribution_ships",
            "molgen/test_registry.py::test_broken_plugins_break_neither_help_nor_listing_nor_others",
            "molgen/test_registry.py::test_a_plugin_that_ends_at_import_is_one_sentence_and_prints_nothing",
            "molgen/test_registry.py::test_interrupting_an_import_interrupts",
            "molgen/test_atomic_files.py::test_an_embedded_model_is_found_without_importing_any_domain",
        ),
    ),
    42: Case(
        "two plugins of one name", ("molgen/test_registry.py::test_a_clash_names_both_distributions_and_how_to_choose",)
    ),
    43: Case(
        "settings that name code",
        (
            "cli/verbs/train/test_settings.py::test_no_configuration_names_code",
            "molgen/test_config.py::test_only_registered_names_are_imported",
            "molgen/test_registry.py::test_a_name_never_makes_us_import_a_module",
        ),
    ),
    44: Case(
        "unknown settings and secrets of the environment",
        (
            "cli/verbs/train/test_settings.py::test_a_wrong_setting_is_one_line",
            "cli/verbs/train/test_settings.py::test_nothing_comes_from_the_environment",
        ),
    ),
    45: Case(
        "hostile archives",
        (
            "plugins/images/io/test_files.py::test_hostile_archives",
            "datasets/test_npm.py::test_hostile_members_are_never_paths",
            "datasets/test_npm.py::test_a_bomb_is_not_unpacked",
            "datasets/test_npm.py::test_a_sparse_member_is_not_unpacked",
            "datasets/test_wheel.py::test_of_two_members_of_one_name_only_the_pinned_content_is_accepted",
        ),
    ),
    46: Case(
        "downloads",
        (
            "datasets/test_wheel.py::test_a_wrong_hash_after_a_download_leaves_nothing",
            "datasets/test_wheel.py::test_an_interrupted_download_leaves_nothing",
            "datasets/test_cache.py::test_a_damaged_file_in_the_cache_is_deleted_and_an_error",
        ),
        "Interrupted downloads start again: the clients that fetch the packages resume where they can.",
    ),
    47: Case(
        "no network",
        ("test_offline.py::test_reaching_out_is_refused", HERE + "test_scope.py::test_nothing_comes_from_a_hub"),
        "All tests but those marked `network` run with sockets blocked; no hub is ever asked.",
    ),
    48: Case(
        "imports stay few and quick",
        (
            "test_startup.py::test_import_is_quick",
            "test_startup.py::test_importing_the_front_loads_nothing_heavy",
            HERE + "test_scope.py::test_no_heavy_package_is_required",
        ),
    ),
    49: Case(
        "versions of what is required",
        (
            "test_packaging.py::test_every_requirement_is_pinned_in_the_constraints",
            HERE + "test_scope.py::test_requirements_are_none_of_the_compromised_versions",
        ),
        "Tests run on the versions in constraints.txt.",
    ),
    50: Case(
        "filters fail closed",
        (
            HERE + "test_filters.py::test_what_cannot_be_judged_is_not_accepted",
            "molgen/inference/test_generate.py::test_accepted_rows_meet_their_criteria",
        ),
    ),
}
