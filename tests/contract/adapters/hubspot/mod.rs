//! HubSpot on trial: the cases that every system has, and those that only HubSpot can have, each
//! over portals of its own.

mod answers;
mod deletes;
mod limits;
mod refusals;
mod rows;
mod settings;
mod tokens;
mod writes;

http_system!(hubspot);

own_cases! {
    answers::a_key_that_comes_back_in_another_form_is_its_rows
    answers::a_single_result_for_a_single_row_is_that_rows_whatever_key_it_carries
    answers::errors_are_read_whatever_2xx_they_come_with
    answers::nulls_in_an_answer_say_nothing_and_hide_nothing
    answers::results_and_errors_have_to_equal_the_inputs
    answers::results_in_any_order_find_their_rows_by_trace_id_by_key_or_by_their_number
    answers::whatever_it_answers_no_row_is_lost_and_no_contact_shown
    deletes::a_contact_goes_by_a_read_and_an_archive_and_an_unknown_one_is_a_success
    deletes::a_contact_of_which_the_look_up_says_nothing_is_not_taken_for_deleted
    deletes::a_contact_that_is_found_under_another_key_is_not_archived
    deletes::a_contact_that_vanishes_before_its_archive_is_gone
    deletes::a_delete_whose_answer_was_lost_succeeds_when_it_is_sent_again
    deletes::a_hundred_go_in_two_calls_and_no_more_are_sent_at_a_time
    deletes::a_look_up_that_finds_nobody_at_all_may_be_a_404
    deletes::an_archive_counts_for_what_its_answer_says
    deletes::nothing_to_archive_takes_one_call
    limits::a_burst_beyond_the_limit_is_told_to_wait
    limits::the_window_is_read_from_headers_and_their_absence_is_normal
    limits::the_window_that_the_headers_tell_is_kept_though_settings_allow_more
    limits::what_nothing_helps_against_stops_the_destination
    limits::what_passes_is_waited_for_as_long_as_it_takes
    refusals::a_malformed_value_names_its_row_by_the_line
    refusals::a_refused_batch_names_its_suspects
    refusals::a_row_that_is_refused_alone_ends_as_it_would_among_others
    rows::a_clash_is_tried_again_after_all_others_and_names_the_owner_whatever_its_form
    rows::a_row_that_may_be_its_own_trouble_is_isolated_and_an_unknown_code_is_counted_once_a_call
    rows::a_row_that_was_bad_luck_is_delivered_the_second_time
    rows::an_address_that_a_delete_frees_is_free_after_it
    rows::an_address_that_another_record_owns_is_told_in_each_of_its_forms
    rows::an_error_finds_its_row_by_trace_id_or_by_ids_and_its_code_in_the_message
    settings::a_batch_that_is_refused_for_a_property_goes_again_without_those_that_have_it
    settings::a_property_of_the_mapping_that_is_missing_fails_the_records_that_carry_it_alone
    settings::a_refusal_for_a_property_that_no_row_has_stops_and_rejects_nobody
    settings::a_right_that_some_records_need_fails_them_alone
    settings::a_stage_that_one_type_alone_has_fails_the_records_of_that_type
    settings::a_value_of_an_attribute_that_its_property_does_not_take_is_the_rows_own_fault
    settings::a_version_property_of_a_wrong_type_rejects_nobody_and_stops_where_several_meet_it
    settings::each_property_that_some_have_is_told_of_by_itself
    settings::what_every_record_has_stops_the_destination
    tokens::a_401_of_the_network_says_nothing_about_the_token
    tokens::a_new_token_that_is_refused_too_is_tried_once
    tokens::a_rotated_token_is_found_without_a_restart
    tokens::a_secret_that_cannot_be_read_stops_the_destination
    tokens::a_secret_without_a_token_stops_the_destination_until_it_is_repaired
    tokens::a_token_ends_with_its_secret_though_it_is_still_valid
    tokens::a_token_that_stays_refused_stops_the_destination_and_rejects_nobody
    writes::a_contact_arrives_over_both_families_of_paths
    writes::a_stage_that_hubspot_keeps_is_told_and_counted_and_is_no_failure
    writes::every_value_travels_as_a_string
    writes::folded_stages_leave_what_one_after_the_other_would
}
