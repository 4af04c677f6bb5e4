//! The suite itself on trial: an adapter that breaks the contract in one way is caught by the case
//! for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::support::system::{Defect, Start, hubspot, salesforce, with_defect};
use crate::trial::Trial;
use crate::{rows, settings, transforms, trouble, writes};

/// Whether the case that is named for `lie` fails.
async fn is_caught(start: Start, lie: Defect) -> bool {
    let trial = Trial::new(with_defect(start, lie).await);
    let case = async {
        match lie {
            Defect::OmitsOutcome => {
                writes::what_is_written_is_there_and_what_is_deleted_is_gone(&trial).await;
            }
            Defect::OmitsOwners => {
                rows::a_value_that_another_record_owns_is_rejected_with_its_owner(&trial).await;
            }
            Defect::RetriesStops => {
                trouble::a_missing_right_stops_the_destination_and_rejects_nobody(&trial).await;
            }
            Defect::StopsForRecords | Defect::RejectsForSettings => {
                settings::a_field_that_the_system_lacks_fails_the_records_that_have_it_alone(
                    &trial,
                )
                .await;
            }
            Defect::OmitsQuota => {
                settings::the_quota_that_an_answer_tells_is_noted_and_silence_is_normal(&trial)
                    .await;
            }
            Defect::LogsPayloads => {
                rows::a_refused_value_is_named_by_its_field_and_is_in_no_log(&trial).await;
            }
            Defect::IgnoresRows => {
                rows::one_bad_row_is_rejected_and_its_neighbours_are_written(&trial).await;
            }
            Defect::AlwaysDelivered | Defect::RejectsRecords | Defect::RetriesItself => {
                trouble::what_is_no_answer_acknowledges_and_rejects_nobody(&trial).await;
            }
            Defect::WritesInDryRun => writes::a_dry_run_looks_and_changes_nothing(&trial).await,
            Defect::OmitsPauses => trouble::a_pause_that_the_system_asks_for_is_told(&trial).await,
            Defect::ExceedsLimits => {
                writes::a_full_batch_takes_the_calls_that_the_limits_tell(&trial).await;
            }
            Defect::FoldsInReverse => {
                transforms::folded_changes_leave_what_one_after_the_other_would(&trial).await;
            }
        }
    };
    AssertUnwindSafe(case).catch_unwind().await.is_err()
}

#[tokio::test]
async fn every_lie_is_caught() {
    for start in [salesforce as Start, hubspot] {
        for lie in [
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
            assert!(is_caught(start, lie).await, "{lie:?}");
        }
    }
}
