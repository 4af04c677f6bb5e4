//! What settings name and HubSpot does not take: the records that have it fail, and the others are written, in this call
//! and in the next one, where those that fail may be among themselves. A stop only for what every record has.

use std::collections::BTreeMap;

use super::HubSpot;
use super::errors::{self, Unfit};
use super::exchange::Answer;
use super::rows::{Row, Rows};
use crate::adapters::{Adapter, Again, Call, CallError, Outcome, Retry, Stop, unfit};

impl HubSpot {
    /// Tells of the rows that fail for it; an error where nothing is to be written at all.
    pub(super) fn check_unfit(&self, rows: &[Row<'_>], call: Call<'_>) -> Result<(), CallError> {
        let of = |row: &Row<'_>| errors::of_settings(row.problem()?, &self.settings);
        let mut by_property: BTreeMap<&str, Vec<Unfit<'_>>> = BTreeMap::new();
        for unfit in rows.iter().filter_map(of) {
            by_property.entry(unfit.property).or_default().push(unfit);
        }
        for unfit in by_property.values() {
            if let Some(unfit) = unfit.iter().find(|unfit| unfit.is_everywhere) {
                return Err(CallError::Stop(unfit.stop.clone()));
            }
        }
        for unfit in by_property.values() {
            self.tell_unfit(&unfit[0].stop, unfit.len(), call);
        }
        Ok(())
    }

    /// The outcomes of a batch that was refused as a whole for what some of its rows have: they fail, and the others go
    /// again without them. `None` where it was not, or where no row has it.
    pub(super) fn without_unfit(&self, answer: &Answer, rows: &Rows<'_>, call: Call<'_>) -> Option<Vec<Outcome>> {
        let problem = answer.problem.as_ref().filter(|_| errors::may_blame_rows(answer.http.status))?;
        let unfit = errors::of_settings(problem, &self.settings).filter(|unfit| !unfit.is_everywhere)?;
        let having = rows.having(unfit.property, problem);
        if having.is_empty() {
            return None;
        }
        self.tell_unfit(&unfit.stop, having.len(), call);
        let code = || unfit.stop.code.clone();
        // In smaller company: in a new batch they might meet others that have it, and be refused once more.
        let again = || Outcome::Retry(Retry { code: code(), after: None, how: Again::Halved });
        let outcome = |row| if having.contains(&row) { Outcome::Failed(code()) } else { again() };
        Some((0..rows.payloads.len()).map(outcome).collect())
    }

    fn tell_unfit(&self, stop: &Stop, records: usize, call: Call<'_>) {
        unfit::tell(self.destination(), stop, records, call);
    }
}
