//! The cases of HubSpot: those of every system, and those that only HubSpot has, each over portals
//! of its own.

mod deletes;
mod limits;
mod refusals;
mod responses;
mod rows;
mod settings;
mod tokens;
mod writes;

http_system!(hubspot);

own_cases! {
    responses::a_key_in_another_form_is_attributed_to_its_row
    responses::a_single_result_is_attributed_to_a_single_row_whatever_its_key
    responses::errors_are_read_with_every_2xx
    responses::nulls_in_a_response_are_ignored
    responses::results_and_errors_have_to_account_for_every_input
    responses::results_in_any_order_are_attributed_by_trace_id_by_key_or_by_number
    responses::no_response_loses_a_row_or_exposes_a_contact
    deletes::a_contact_is_deleted_by_a_read_and_an_archive_and_an_unknown_one_is_a_success
    deletes::a_contact_that_the_look_up_leaves_out_does_not_count_as_deleted
    deletes::a_contact_that_is_found_under_another_key_is_not_archived
    deletes::a_contact_deleted_before_its_archive_counts_as_gone
    deletes::a_delete_without_a_response_succeeds_when_repeated
    deletes::a_hundred_deletes_take_two_calls_and_no_call_carries_more
    deletes::a_look_up_without_results_may_be_a_404
    deletes::an_archive_has_the_outcomes_that_its_response_reports
    deletes::a_delete_of_unknown_contacts_takes_one_call
    limits::a_burst_beyond_the_limit_is_throttled
    limits::the_window_is_read_from_headers_where_they_exist
    limits::the_window_of_the_headers_limits_calls_that_settings_allow
    limits::a_lasting_failure_stops_the_destination
    limits::a_passing_failure_is_retried_after_its_pause
    refusals::a_malformed_value_is_attributed_to_its_row_by_the_line
    refusals::a_refused_batch_names_its_suspects
    refusals::a_row_refused_alone_has_the_outcome_of_one_of_several_rows
    rows::a_clash_in_any_form_is_retried_last_and_names_the_owner
    rows::a_row_that_may_be_the_cause_is_isolated_and_an_unknown_code_is_counted_once
    rows::a_row_with_a_passing_error_is_delivered_at_the_second_try
    rows::an_address_is_free_after_its_owner_is_deleted
    rows::an_address_of_another_record_is_rejected_with_its_owner
    rows::an_error_is_attributed_by_trace_id_or_ids_and_its_code_read_from_the_message
    settings::a_batch_refused_for_a_property_is_resent_without_the_records_that_have_it
    settings::a_missing_property_of_the_mapping_fails_only_the_records_that_have_it
    settings::a_refused_property_that_no_row_has_rejects_no_record
    settings::a_missing_right_fails_only_the_records_that_need_it
    settings::an_unknown_stage_of_one_type_fails_only_the_records_of_that_type
    settings::a_refused_value_of_an_attribute_rejects_its_record
    settings::a_version_property_of_a_wrong_type_stops_only_where_several_records_meet_it
    settings::each_missing_property_is_reported_once
    settings::a_missing_property_of_every_record_stops_the_destination
    tokens::a_401_of_the_network_is_no_evidence_about_the_token
    tokens::a_new_token_that_is_refused_too_is_tried_once
    tokens::a_rotated_token_is_found_without_a_restart
    tokens::a_secret_that_cannot_be_read_stops_the_destination
    tokens::a_secret_without_a_token_stops_the_destination_until_it_is_repaired
    tokens::a_token_ends_with_its_secret_though_it_is_still_valid
    tokens::a_token_that_stays_refused_stops_the_destination_and_rejects_no_record
    writes::a_contact_is_written_by_both_families_of_paths
    writes::a_stage_that_hubspot_keeps_is_logged_and_counted_as_delivered
    writes::every_value_is_sent_as_a_string
    writes::folded_stages_leave_the_stage_that_separate_writes_leave
}
