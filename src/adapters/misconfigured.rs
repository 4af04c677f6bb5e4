//! Reports misconfigurations: the account or the settings do not fit some records.

use std::collections::BTreeMap;

use super::Call;
use crate::model::{Destination, Stop};

/// Reports each misconfiguration of a call once, with the number of records that met it. These
/// records fail, and are redelivered until it is corrected. `stops` has one entry for each of them.
pub(super) fn report<'a>(
    destination: Destination,
    stops: impl IntoIterator<Item = &'a Stop>,
    call: Call<'_>,
) {
    let mut by_remedy: BTreeMap<&str, (&Stop, usize)> = BTreeMap::new();
    for stop in stops {
        by_remedy.entry(&stop.remedy).or_insert((stop, 0)).1 += 1;
    }
    for (stop, records) in by_remedy.into_values() {
        call.metrics.config_error();
        tracing::error!(
            %destination, code = %stop.code, remedy = stop.remedy, records,
            "settings or the account do not fit some records: they fail and are redelivered"
        );
    }
}
