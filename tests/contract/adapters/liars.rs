//! The suite itself on trial: an adapter that breaks the contract in one way is caught by the case
//! for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use testkit::system::{Lie, Start, hubspot, lying, salesforce};

use super::trial::Trial;
use super::{rows, settings, transforms, trouble, writes};

/// Whether the case that is named for `lie` fails.
async fn is_caught(start: Start, lie: Lie) -> bool {
    let trial = Trial::new(lying(start, lie).await);
    let case = async {
        match lie {
            Lie::DropsOne => {
                writes::what_is_written_is_there_and_what_is_deleted_is_gone(&trial).await;
            }
            Lie::HidesOwners => {
                rows::a_value_that_another_record_owns_is_rejected_with_its_owner(&trial).await;
            }
            Lie::GoesOn => {
                trouble::a_missing_right_stops_the_destination_and_rejects_nobody(&trial).await;
            }
            Lie::StopsForAFew | Lie::BlamesForSettings => {
                settings::a_field_that_the_system_lacks_fails_the_records_that_have_it_alone(
                    &trial,
                )
                .await;
            }
            Lie::HidesTheQuota => {
                settings::the_quota_that_an_answer_tells_is_noted_and_silence_is_normal(&trial)
                    .await;
            }
            Lie::Gossips => {
                rows::a_refused_value_is_named_by_its_field_and_is_in_no_log(&trial).await;
            }
            Lie::NeverReads => {
                rows::one_bad_row_is_rejected_and_its_neighbours_are_written(&trial).await;
            }
            Lie::AlwaysDelivered | Lie::BlamesRecords | Lie::TriesAgain => {
                trouble::what_is_no_answer_acknowledges_and_rejects_nobody(&trial).await;
            }
            Lie::WritesAnyway => writes::a_dry_run_looks_and_changes_nothing(&trial).await,
            Lie::HidesPauses => trouble::a_pause_that_the_system_asks_for_is_told(&trial).await,
            Lie::TakesTooMuch => {
                writes::a_full_batch_takes_the_calls_that_the_limits_tell(&trial).await;
            }
            Lie::FoldsBackwards => {
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
            Lie::DropsOne,
            Lie::NeverReads,
            Lie::AlwaysDelivered,
            Lie::BlamesRecords,
            Lie::TriesAgain,
            Lie::HidesPauses,
            Lie::WritesAnyway,
            Lie::TakesTooMuch,
            Lie::FoldsBackwards,
            Lie::HidesOwners,
            Lie::GoesOn,
            Lie::StopsForAFew,
            Lie::BlamesForSettings,
            Lie::HidesTheQuota,
            Lie::Gossips,
        ] {
            assert!(is_caught(start, lie).await, "{lie:?}");
        }
    }
}
