//! Tests of the suite itself: each violation of the contract fails the case for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::support::system::{Start, Violation, faulty, hubspot, salesforce};
use crate::trial::Trial;
use crate::{failures, rows, settings, transforms, writes};

/// Returns whether the case for `violation` fails.
async fn is_caught(start: Start, violation: Violation) -> bool {
    let trial = Trial::new(faulty(start, violation).await);
    let case = async {
        match violation {
            Violation::DropsOne => {
                writes::written_records_exist_and_deleted_records_are_gone(&trial).await;
            }
            Violation::HidesOwners => {
                rows::a_value_that_another_record_owns_is_rejected_with_its_owner(&trial).await;
            }
            Violation::IgnoresStops => {
                failures::a_missing_right_stops_the_destination_and_rejects_no_record(&trial).await;
            }
            Violation::StopsForSomeRecords | Violation::RejectsForSettings => {
                settings::a_missing_field_fails_only_the_records_that_have_it(&trial).await;
            }
            Violation::HidesQuota => {
                settings::a_reported_quota_is_recorded_and_a_missing_one_is_ignored(&trial).await;
            }
            Violation::LogsBodies => {
                rows::a_refused_value_is_named_by_its_field_and_is_in_no_log(&trial).await;
            }
            Violation::IgnoresRows => {
                rows::one_bad_row_is_rejected_and_its_neighbours_are_written(&trial).await;
            }
            Violation::AlwaysDelivered | Violation::RejectsForCalls | Violation::Retries => {
                failures::an_unusable_response_acknowledges_and_rejects_no_record(&trial).await;
            }
            Violation::WritesInDryRun => {
                writes::a_dry_run_looks_up_and_writes_nothing(&trial).await;
            }
            Violation::HidesPauses => {
                failures::a_pause_that_the_system_asks_for_is_reported(&trial).await;
            }
            Violation::ExceedsLimits => {
                writes::a_full_batch_takes_the_calls_that_the_limits_report(&trial).await;
            }
            Violation::FoldsInReverse => {
                transforms::folded_changes_leave_the_record_that_separate_writes_leave(&trial)
                    .await;
            }
        }
    };
    AssertUnwindSafe(case).catch_unwind().await.is_err()
}

#[tokio::test]
async fn every_contract_violation_is_caught() {
    for start in [salesforce as Start, hubspot] {
        for violation in [
            Violation::DropsOne,
            Violation::IgnoresRows,
            Violation::AlwaysDelivered,
            Violation::RejectsForCalls,
            Violation::Retries,
            Violation::HidesPauses,
            Violation::WritesInDryRun,
            Violation::ExceedsLimits,
            Violation::FoldsInReverse,
            Violation::HidesOwners,
            Violation::IgnoresStops,
            Violation::StopsForSomeRecords,
            Violation::RejectsForSettings,
            Violation::HidesQuota,
            Violation::LogsBodies,
        ] {
            assert!(is_caught(start, violation).await, "{violation:?}");
        }
    }
}
