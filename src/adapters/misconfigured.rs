//! Where settings or the account do not fit some records.

use super::Call;
use crate::model::{Destination, Stop};

/// Tells the operator that `records` of a call fail for what would be a stop, were it about all:
/// once for each fault of a call, however many they are. They come again, until it is mended.
pub(super) fn tell(destination: Destination, stop: &Stop, records: usize, call: Call<'_>) {
    call.meter.config_error();
    tracing::error!(
        %destination, code = %stop.code, remedy = stop.remedy, records,
        "settings or the account do not fit some records: they fail and come again"
    );
}
