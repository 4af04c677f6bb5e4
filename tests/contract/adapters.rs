//! The adapter contract suite: the cases that every adapter has to pass, for each system. A new
//! system implements `testkit::system::System`, gets a block below, and is complete when its cases
//! pass. A case that a system cannot have fails on it and is left out of its block. A case that
//! only one system can have is in a folder of that system, as in `adapters/hubspot`.

mod any_response;
mod failures;
mod faulty_adapters;
mod listeners;
mod rows;
mod settings;
mod transforms;
mod trial;
mod writes;

/// Defines each case as a test, named after the system.
macro_rules! cases {
    ($system:ident $clock:tt $($module:ident::$case:ident)*) => {$(
        #[tokio::test $clock]
        async fn $case() {
            use crate::adapters::{$module, trial};
            trial::run(testkit::system::$system, $module::$case).await;
        }
    )*};
}

/// Defines the cases that only one system has, each with systems of its own.
macro_rules! own_cases {
    ($($module:ident::$case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            $module::$case().await;
        }
    )*};
}

/// Defines the cases that every system has.
macro_rules! every_system {
    ($system:ident $clock:tt) => {
        cases! { $system $clock
            rows::a_failed_delete_affects_no_neighbour_and_is_repeated
            rows::a_row_with_a_passing_failure_succeeds_when_repeated
            rows::each_delivery_isolates_another_offending_record
            rows::one_bad_row_is_rejected_and_its_neighbours_are_written
            transforms::an_absent_field_keeps_its_value
            transforms::folded_changes_leave_the_record_that_separate_writes_leave
            failures::a_missing_right_stops_the_destination_and_rejects_no_record
            failures::a_pause_that_the_system_asks_for_is_reported
            failures::a_used_up_quota_stops_the_destination
            failures::a_write_without_a_response_is_harmless_to_repeat
            failures::too_many_calls_at_a_time_are_throttled
            writes::a_dry_run_looks_up_and_writes_nothing
            writes::a_full_batch_takes_the_calls_that_the_limits_report
            writes::an_empty_payload_affects_no_neighbour
            writes::ids_that_differ_in_letter_case_are_one_contact
            writes::repeating_a_call_is_harmless
            writes::written_records_exist_and_deleted_records_are_gone
        }
    };
}

/// Defines the cases of a system that is reached over HTTP and has fields of its own, versions of
/// its API, a reported quota, and unique values. A system without one of these lists its cases
/// itself.
macro_rules! http_system {
    ($system:ident) => {
        every_system!($system());
        refusing_system!($system());
        http_cases!($system);
    };
}

/// Defines the case of a system that refuses a whole call for one record.
macro_rules! refusing_system {
    ($system:ident $clock:tt) => {
        cases! { $system $clock
            rows::a_batch_with_an_offending_record_is_refused_and_passes_without_it
        }
    };
}

/// Defines the cases of a system that is reached over HTTP, without those of [`every_system`].
macro_rules! http_cases {
    ($system:ident) => {
        cases! { $system ()
            rows::a_response_with_too_many_rows_rejects_no_record
            rows::a_refused_value_is_named_by_its_field_and_is_in_no_log
            rows::a_response_with_too_few_rows_acknowledges_no_missing_record
            rows::a_success_without_rows_acknowledges_no_record
            rows::a_value_that_another_record_owns_is_rejected_with_its_owner
            rows::a_response_without_optional_parts_acknowledges_every_record
            settings::a_missing_field_fails_only_the_records_that_have_it
            settings::a_missing_field_of_every_record_of_a_batch_stops_no_destination
            settings::an_unknown_api_version_stops_the_destination
            settings::every_api_version_is_supported
            settings::a_reported_quota_is_recorded_and_a_missing_one_is_ignored
            transforms::a_change_that_can_never_be_written_is_rejected_alone
            transforms::a_cleared_field_is_removed
            transforms::no_transformed_value_is_too_long_for_the_system
            failures::a_refused_credential_stops_the_destination
            failures::a_late_response_is_given_up
            failures::an_expired_credential_is_renewed_and_the_call_repeated_once
            failures::no_call_is_made_to_a_host_that_is_not_allowed
            failures::redirects_are_not_followed
            failures::an_unusable_response_acknowledges_and_rejects_no_record
        }
    };
}

mod salesforce {
    http_system!(salesforce);
}

/// Salesforce with the object Contact, which has other fields.
mod salesforce_contact {
    http_system!(salesforce_contact);
}

/// Salesforce with several collections in a call. It refuses only the collection of an offending
/// record.
mod salesforce_collections {
    every_system!(salesforce_collections());
    http_cases!(salesforce_collections);
}

mod hubspot;

mod tinycrm {
    http_system!(tinycrm);
}

mod memory {
    // The memory system waits in virtual time.
    every_system!(memory(start_paused = true));
    refusing_system!(memory(start_paused = true));
}
