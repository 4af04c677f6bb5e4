//! Decides how to respond to the failure of a whole call. Pure.
//!
//! A call without a usable answer has one of four causes: the destination is unavailable, one
//! record makes its call fail, the batch is too large for its time, or the failure is transient. A
//! single call does not distinguish these causes. So the first failure of a batch repeats it, the
//! second one bisects it, and while no call succeeds, single records are sent as probes.
//!
//! Bounds for a destination with at most `n` calls in flight and batches of `b` payloads:
//! - an outage costs one invocation at most `n + 4` calls: those in flight, one repeated batch,
//!   three probes. Then the circuit breaker opens. An invocation of fewer than three payloads
//!   repeats each of them as often as settings allow, and later invocations hold them back
//!   ([`super::suspects`]).
//! - each offending record of a batch costs at most `2 * log2(b) + 5` calls to isolate, the
//!   repeated batch and a probe among them. Then it is sent alone until its failures are no
//!   coincidence: three calls where 250 others succeeded, ten where two did, more where others fail
//!   too ([`super::suspects`]). Where the answer names the record, as many calls alone as settings
//!   allow attempts are enough, two at least. A call that settles a payload renews the limit of
//!   calls, so that only time limits the number of offending records.

use crate::model::FailureCause;

/// A call that failed as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedCall {
    pub(super) cause: FailureCause,
    /// Number of payloads in the call.
    pub(super) payloads: usize,
    /// Calls of this batch that failed as a whole, including this one.
    pub(super) failures: u32,
    /// Whether the batch is a part of one that failed.
    pub(super) is_part: bool,
    /// Whether this and another call failed and none has succeeded since.
    pub(super) in_doubt: bool,
}

/// Response to a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// Send the same batch again after a wait.
    Repeat,
    /// Bisect the batch: the destination answers other calls.
    Bisect,
    /// Put the batch back, and send single records as probes until one succeeds or the breaker
    /// opens.
    Probe,
    /// Count the failure of a record alone, and repeat or reject the record.
    CountAlone,
}

/// Decides the response to the failure of a whole call. `may_repeat` is whether settings allow
/// another attempt.
pub(super) fn respond(call: FailedCall, may_repeat: bool) -> Response {
    match call {
        FailedCall {
            cause: FailureCause::Destination,
            ..
        } => Response::Repeat,
        FailedCall { payloads: ..=1, .. } => Response::CountAlone,
        FailedCall { in_doubt: true, .. } => Response::Probe,
        FailedCall {
            cause: FailureCause::Size,
            ..
        }
        | FailedCall { is_part: true, .. } => Response::Bisect,
        FailedCall { failures: ..=1, .. } if may_repeat => Response::Repeat,
        FailedCall { .. } => Response::Bisect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_to_a_failed_call_depends_on_the_other_calls() {
        use FailureCause::{Destination, Record, Size};
        for (cause, payloads, failures, is_part, in_doubt, expected) in [
            // No record reached the destination.
            (Destination, 100, 1, false, false, Response::Repeat),
            (Destination, 100, 3, true, true, Response::Repeat),
            (Destination, 1, 1, false, true, Response::Repeat),
            // Possibly transient.
            (Record, 100, 1, false, false, Response::Repeat),
            // A second failure, while other calls are answered.
            (Record, 100, 2, false, false, Response::Bisect),
            (Record, 50, 1, true, false, Response::Bisect),
            // A smaller batch may succeed at once.
            (Size, 100, 1, false, false, Response::Bisect),
            // No call succeeds.
            (Record, 100, 1, false, true, Response::Probe),
            (Record, 100, 2, false, true, Response::Probe),
            (Size, 50, 1, true, true, Response::Probe),
            // A record alone.
            (Record, 1, 1, false, false, Response::CountAlone),
            (Record, 1, 3, true, true, Response::CountAlone),
            (Size, 1, 1, true, false, Response::CountAlone),
        ] {
            let call = FailedCall {
                cause,
                payloads,
                failures,
                is_part,
                in_doubt,
            };
            assert_eq!(respond(call, true), expected, "{call:?}");
        }
        let once = FailedCall {
            cause: Record,
            payloads: 2,
            failures: 1,
            is_part: false,
            in_doubt: false,
        };
        assert_eq!(
            respond(once, false),
            Response::Bisect,
            "settings allow one attempt"
        );
    }
}
