"""What the author of a part can do about a check that fails, a sentence for each check."""

from __future__ import annotations

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    # Of every part.
    "speaks_the_plugin_api": "Write `molgen_api: ClassVar[int] = 1` into the class itself, as a number.",
    "conditions_may_have_gaps": (
        "Read conditions through `molgen.layers.condition_embedding.ConditionEmbedding`: a condition may be None, "
        "lack a field, or have it for some rows only."
    ),
    "gradients_reach_every_parameter": (
        "Remove the parameter that nothing uses, or use it: a layer that was made and never called, or a value "
        "that was detached, rounded or indexed on its way to the result."
    ),
    "padding_changes_nothing": (
        "Leave out what lies behind the ends of rows: mask attention and means by `molgen.batch.field_mask`, and "
        "sum over packed elements (`molgen.families.parts.elements`) instead of full tensors."
    ),
    "weights_come_back": (
        "Keep what has to be kept in parameters and registered buffers, made in the constructor and in the same "
        "order each time; nothing else is in `state_dict`."
    ),
    "takes_some_space": "Refuse (`UnsupportedSpace`) only what cannot be served; the reasons are those that it raised.",
    # Of encoders.
    "space_is_declared": (
        "Make `space` a mapping from identifiers to fields, built from the settings and from what `prepare` "
        "learned alone; channels and axes are tuples."
    ),
    "examples_encode_into_the_space": (
        "Give one array for each field, without a batch dimension, whose shape is that of the axes, then of the "
        "channels: class and level numbers as integers from 0, other numbers as finite floats."
    ),
    "decode_inverts_encode": (
        "Compare what `encode` drops or rounds with what `decode` puts back. Where two items are one (case, "
        "order, precision), say so in `canonical` and `key`."
    ),
    "decode_never_raises": (
        "A family may draw any sample of the space: look at all sizes from the minimum to the maximum and at "
        "every class, and return `Invalid(reason)` where a sample stands for nothing."
    ),
    "decoded_items_can_be_judged": (
        "`canonical` takes whatever `decode` gives and returns `Invalid(reason)` for what is no item; applied to "
        "its own result it changes nothing."
    ),
    "decoded_items_encode_again": (
        "What `encode` has no place for, such as an item that is too long, is `Invalid(reason)`."
    ),
    "made_up_items_are_items": (
        "`canary` gives what `canonical` takes as an item, for any generator and any items of the domain, or "
        "`Invalid(reason)`."
    ),
    "batches_come_back": (
        "Hold class numbers below `classes` and values that float32 can hold; a size is never above its maximum."
    ),
    "preparing_twice_changes_nothing": (
        "`prepare` starts from nothing each time and sorts what it collects, as sets have no order."
    ),
    "state_survives_json": (
        "Put all that `prepare` learned into `state` as JSON values (lists, not sets or tuples), and take it in "
        "`load_state`."
    ),
    "can_be_pickled": "Encoding runs in worker processes: keep no open file, lambda or lock on the object.",
    # Of families.
    "loss_is_a_finite_number_per_item": (
        "Return `Loss(total)` with one number for each row, (B,); take logarithms of what cannot be 0."
    ),
    "every_parameter_has_a_phase": "Name every module with parameters in `phases`, or inherit the usual single phase.",
    "loss_repeats_with_its_seed": (
        "Draw all random numbers from the `rng` that is given, never from torch's global generator."
    ),
    "loss_is_per_item": (
        "Sum or average within a row only; say `coupled=True` in `Capability` where an item's loss needs the others."
    ),
    "training_stays_finite": "Bound scales and log-scales, and clamp what is divided by or taken the logarithm of.",
    "can_be_copied": (
        "Keep no hooks, generators or tensors that require gradients on the object besides parameters and buffers."
    ),
    "training_state_comes_back": (
        "What training carries from step to step is in `training_state` as tensors, and `load_training_state` takes it."
    ),
    "samples_lie_in_the_space": (
        "Fill tensors by `PackedElements.unpack_batch`: zero in the padding, symmetric where the field is, "
        "classes as int64."
    ),
    "one_sample_lies_in_the_space": (
        "Fill tensors by `PackedElements.unpack_batch`; see that memory grows with the length no faster than it must."
    ),
    "samples_repeat_with_their_seed": (
        "Draw from `rng` by purpose and step (`ElementNoise`), so that neither batching nor padding changes a number."
    ),
    "sizes_are_honoured": (
        "Take `sizes` where they are given, and draw only the others from the size model (`SizeModel.sample`)."
    ),
    "known_parts_are_kept": (
        "Put known elements back after every step, or say `known=Known.NONE` in `Capability` and refuse them in a "
        "sentence."
    ),
    "unknown_options_are_refused": (
        "Read options through `molgen.config.options_of` with a dataclass of those that there are."
    ),
    "log_density_is_as_declared": (
        "Return `LogDensity(value, kind, dims)` with the kind of `Capability.density` and the count of free "
        "elements as dims."
    ),
    "log_density_is_per_item": (
        "Use no statistics of the batch and no random numbers that depend on the place of a row."
    ),
    "probabilities_sum_to_one": (
        "Charge log p(size) once, count each pair of a symmetric field once, and give END probability 1 at the "
        "maximum and 0 below the minimum."
    ),
    "samples_follow_the_density": (
        "Compare how `sample` draws with what `log_density` says: temperature, rounding, and the volume of every "
        "change of variables."
    ),
    "latents_have_their_space": (
        "`encode` gives samples of `latent_space`, and `decode` takes them; or declare no latents in `Capability`."
    ),
    # Of networks.
    "foreign_layouts_are_refused": (
        "Raise `UnsupportedSpace` in the constructor for every layout that `layouts` does not name."
    ),
    "outputs_have_their_shape": "Give (B, *axes, width) for each head, and (B, width) for a head without axes.",
    "rows_do_not_see_each_other": "Use no batch normalisation and no mean over the batch; attend within a row.",
    "outputs_move_with_unordered_elements": (
        "Add no positions along axes with `ordered=False`, and treat their elements alike."
    ),
    "outputs_turn_with_space": (
        "Mix the vectors of a field that rotates only by numbers that do not turn; a head with `rotates=True` "
        "gives such a vector."
    ),
    "classes_may_be_floats": (
        "Embed classes by `element_embedding`, which takes ids (B, *axes) and weights of classes (B, *axes, K)."
    ),
    "time_is_of_rows_or_fields": (
        "Read time through `molgen.layers.time_embedding.TimeEmbedding`: None, (B,), or (B,) by the name of a field."
    ),
    "slices_one_by_one_equal_all_at_once": (
        "`step` must see what `forward` sees at that slice: the same positions, masks and earlier elements."
    ),
    "a_state_can_lose_rows": "`State.take(rows)` indexes every tensor of the state along its batch dimension.",
    "outputs_see_earlier_slices_only": (
        "Shift inputs by one slice and mask attention causally: no output may depend on its own element."
    ),
    # Of data sets.
    "describes_itself": "Set `domain`, `description`, `licence` and `splits` on the class.",
    "digests_tell_splits_apart": (
        "Hash a version and the name of the split, or the pinned SHA-256 of its file; change it when the items change."
    ),
    "unknown_splits_are_refused": (
        "Begin `items`, `digest` and `columns` with `self.require_split(split)`, before the first item."
    ),
    "items_are_as_many_as_declared": "Correct `splits`, or what `items` leaves out.",
    "items_keep_their_order": "Sort what comes from sets and folders, and let `records` number the items of `items`.",
    "items_are_of_the_domain": (
        "Leave out or repair what the domain does not take, and set `canonical = False` unless items are "
        "canonical as stored."
    ),
    "splits_share_no_item": "Split by a hash of the canonical item, so that equal items never end in different splits.",
    # Of metrics.
    "says_what_it_compares": "Set `better` and `against`, and name the `Summary` of each set that is compared with.",
    "chunks_do_not_matter": "Add up in `add` by the groups of the rows (`GroupedMean`), and divide only in `estimate`.",
    "estimates_repeat_with_their_seed": "Draw from the `rng` of `estimate` alone, and let `estimate` change nothing.",
    "the_interval_holds_the_value": (
        "Make intervals by `with_interval` or `GroupedMean` of `molgen.evaluation.intervals`; count items, not chunks."
    ),
    "nothing_has_no_value": "Return `undefined(reason)` where there is nothing to compute from.",
    "summaries_are_arrays_of_numbers": "Give numbers as numpy arrays, and strings by `molgen.metric.pack_strings`.",
}
