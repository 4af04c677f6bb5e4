//! What settings name and HubSpot does not take: the records that have it fail, and the others are written, in this call
//! and in the next one, where those that fail may be among themselves. A stop only for what every record has.

use std::collections::BTreeMap;

use super::HubSpot;
use super::errors::{self, Unfit};
use super::exchange::Answer;
use super::rows::{Row, Rows};
use crate::adapters::{Adapter, Call, CallError, Outcome, Retry, RetryMode, Stop, unfit};

impl HubSpot {
    /// What each row fails for, if it does, of which the operator is told; an error where nothing is to be written at all.
    pub(super) fn unfit_rows(&self, rows: &[Row<'_>], call: Call<'_>) -> Result<Vec<Option<Unfit<'_>>>, CallError> {
        let of = |row: &Row<'_>| errors::of_settings(row.problem()?, &self.settings);
        let unfit: Vec<_> = rows.iter().map(of).collect();
        let mut by_property: BTreeMap<&str, (&Stop, usize)> = BTreeMap::new();
        for Unfit { property, is_everywhere, stop } in unfit.iter().flatten() {
            if *is_everywhere {
                return Err(CallError::Stop(stop.clone()));
            }
            by_property.entry(property).or_insert((stop, 0)).1 += 1;
        }
        by_property.into_values().for_each(|(stop, records)| self.tell_unfit(stop, records, call));
        Ok(unfit)
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
        let again = || Outcome::Retry(Retry { code: code(), after: None, how: RetryMode::SplitBatch });
        let outcome = |row| if having.contains(&row) { Outcome::Failed(code()) } else { again() };
        Some((0..rows.payloads.len()).map(outcome).collect())
    }

    fn tell_unfit(&self, stop: &Stop, records: usize, call: Call<'_>) {
        unfit::tell(self.destination(), stop, records, call);
    }
}
