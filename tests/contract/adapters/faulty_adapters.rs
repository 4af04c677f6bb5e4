//! Tests of the suite itself: each violation of the contract fails the case for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use testkit::system::{Defect, Start, hubspot, salesforce, tinycrm, with_defect};

use super::trial::Trial;
use super::{failures, rows, settings, transforms, writes};

/// Returns whether the case for `violation` fails.
async fn is_caught(start: Start, violation: Defect) -> bool {
    let trial = Trial::new(with_defect(start, violation).await);
    let case = async {
        match violation {
            Defect::OmitsOutcome => {
                writes::written_records_exist_and_deleted_records_are_gone(&trial).await;
            }
            Defect::OmitsOwners => {
                rows::a_value_that_another_record_owns_is_rejected_with_its_owner(&trial).await;
            }
            Defect::RetriesStops => {
                failures::a_missing_right_stops_the_destination_and_rejects_no_record(&trial).await;
            }
            Defect::StopsForRecords | Defect::RejectsForSettings => {
                settings::a_missing_field_fails_only_the_records_that_have_it(&trial).await;
            }
            Defect::OmitsQuota => {
                settings::a_reported_quota_is_recorded_and_a_missing_one_is_ignored(&trial).await;
            }
            Defect::LogsPayloads => {
                rows::a_refused_value_is_named_by_its_field_and_is_in_no_log(&trial).await;
            }
            Defect::IgnoresRows => {
                rows::one_bad_row_is_rejected_and_its_neighbours_are_written(&trial).await;
            }
            Defect::AlwaysDelivered | Defect::RejectsRecords | Defect::RetriesItself => {
                failures::an_unusable_response_acknowledges_and_rejects_no_record(&trial).await;
            }
            Defect::WritesInDryRun => {
                writes::a_dry_run_looks_up_and_writes_nothing(&trial).await;
            }
            Defect::OmitsPauses => {
                failures::a_pause_that_the_system_asks_for_is_reported(&trial).await;
            }
            Defect::ExceedsLimits => {
                writes::a_full_batch_takes_the_calls_that_the_limits_report(&trial).await;
            }
            Defect::FoldsInReverse => {
                transforms::folded_changes_leave_the_record_that_separate_writes_leave(&trial)
                    .await;
            }
        }
    };
    AssertUnwindSafe(case).catch_unwind().await.is_err()
}

#[tokio::test]
async fn every_contract_violation_is_caught() {
    for start in [salesforce as Start, hubspot, tinycrm] {
        for violation in [
            Defect::OmitsOutcome,
            Defect::IgnoresRows,
            Defect::AlwaysDelivered,
            Defect::RejectsRecords,
            Defect::RetriesItself,
            Defect::OmitsPauses,
            Defect::WritesInDryRun,
            Defect::ExceedsLimits,
            Defect::FoldsInReverse,
            Defect::OmitsOwners,
            Defect::RetriesStops,
            Defect::StopsForRecords,
            Defect::RejectsForSettings,
            Defect::OmitsQuota,
            Defect::LogsPayloads,
        ] {
            assert!(is_caught(start, violation).await, "{violation:?}");
        }
    }
}
