//! The adapter contract suite: what every adapter has to do, whatever the system. A new system
//! implements `testkit::system::System`, gets a block below, and is done when its cases pass. A
//! case that the system cannot have fails on it and is left out of its block; what it alone has
//! gets cases of its own, as in `adapters/hubspot`.

mod any_answer;
mod liars;
mod listeners;
mod rows;
mod settings;
mod transforms;
mod trial;
mod trouble;
mod writes;

/// Each case as a test of its own, named after the system.
macro_rules! cases {
    ($system:ident $clock:tt $($room:ident::$case:ident)*) => {$(
        #[tokio::test $clock]
        async fn $case() {
            crate::adapters::trial::run(testkit::system::$system, crate::adapters::$room::$case).await;
        }
    )*};
}

/// The cases that one system alone can have, each with systems of its own.
macro_rules! own_cases {
    ($($room:ident::$case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            $room::$case().await;
        }
    )*};
}

/// The cases that every system can have.
macro_rules! every_system {
    ($system:ident $clock:tt) => {
        cases! { $system $clock
            rows::a_delete_that_fails_spares_its_neighbours_and_is_repeated
            rows::a_poisonous_batch_is_refused_and_passes_without_its_culprit
            rows::a_row_that_fails_for_now_succeeds_when_it_is_repeated
            rows::many_culprits_are_found_delivery_by_delivery
            rows::one_bad_row_is_rejected_and_its_neighbours_are_written
            transforms::an_absent_field_stays_as_it_is
            transforms::folded_changes_leave_what_one_after_the_other_would
            trouble::a_missing_right_stops_the_destination_and_rejects_nobody
            trouble::a_pause_that_the_system_asks_for_is_told
            trouble::a_used_up_quota_stops_the_destination
            trouble::a_write_whose_answer_is_lost_is_repeated_without_harm
            trouble::too_many_calls_at_a_time_slow_down
            writes::a_dry_run_looks_and_changes_nothing
            writes::a_full_batch_takes_the_calls_that_the_limits_tell
            writes::an_empty_payload_hurts_nobody
            writes::contacts_are_told_apart_without_regard_to_letter_case
            writes::repeating_a_call_is_harmless
            writes::what_is_written_is_there_and_what_is_deleted_is_gone
        }
    };
}

/// The cases of a system that is reached over HTTP and has fields of its own, versions of its API,
/// a quota of which its answers tell, and values that only one record may have. A system without
/// one of these lists the others itself.
macro_rules! http_system {
    ($system:ident) => {
        every_system!($system());
        cases! { $system ()
            rows::a_long_answer_rejects_nobody
            rows::a_refused_value_is_named_by_its_field_and_is_in_no_log
            rows::a_short_answer_acknowledges_nobody_that_it_does_not_tell_of
            rows::a_success_that_tells_of_nobody_acknowledges_nobody
            rows::a_value_that_another_record_owns_is_rejected_with_its_owner
            rows::what_an_answer_may_leave_out_is_not_missed
            settings::a_field_that_the_system_lacks_fails_the_records_that_have_it_alone
            settings::a_field_that_the_system_lacks_and_each_of_several_records_has_stops_nobody
            settings::a_version_that_the_system_does_not_have_stops_the_destination
            settings::every_version_of_the_api_is_spoken
            settings::the_quota_that_an_answer_tells_is_noted_and_silence_is_normal
            transforms::a_change_that_can_never_be_written_is_named_and_the_others_go_on
            transforms::a_cleared_field_is_gone
            transforms::no_value_is_too_long_for_the_system
            trouble::a_refused_credential_stops_the_destination
            trouble::an_answer_that_does_not_come_in_time_is_given_up
            trouble::an_ended_credential_is_renewed_and_the_call_repeated_once
            trouble::no_call_is_made_to_a_host_that_is_not_allowed
            trouble::redirects_are_not_followed
            trouble::what_is_no_answer_acknowledges_and_rejects_nobody
        }
    };
}

mod salesforce {
    http_system!(salesforce);
}

mod hubspot;

mod memory {
    // It waits in virtual time.
    every_system!(memory(start_paused = true));
}
