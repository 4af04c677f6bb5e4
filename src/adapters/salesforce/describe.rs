//! Reads the description of the object, as the integration user sees it.
//!
//! <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-sobject-describe.html>

use futures_util::FutureExt;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::ApiRequest;
use super::lookup::unreadable;
use super::{Salesforce, Settings};
use crate::adapters::Call;
use crate::model::{CallError, FailureCause, MatchPolicy};

/// The user's rights to the object's records, sharing aside.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Rights {
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) deletable: bool,
}

impl Rights {
    /// Returns whether the user may make every write that `matching` allows.
    pub(super) fn allow_writes(self, matching: MatchPolicy) -> bool {
        match matching {
            MatchPolicy::Upsert => self.createable && self.updateable,
            MatchPolicy::UpdateOnly => self.updateable,
            MatchPolicy::CreateOnly => self.createable,
        }
    }
}

impl Salesforce {
    /// Reads the parts of the object's description that `D` contains. The call carries no record:
    /// no error of it is a record's.
    pub(super) async fn describe<D: DeserializeOwned>(
        &self,
        call: Call<'_>,
    ) -> Result<D, CallError> {
        let Settings {
            api_version,
            sobject,
            ..
        } = &self.settings;
        let path = format!("/services/data/{api_version}/sobjects/{sobject}/describe");
        let request = ApiRequest {
            method: Method::GET,
            path,
            query: None,
            body: None,
        };
        // Boxed: the futures around it reach the nesting depth that the compiler supports.
        let response = self
            .request(request, call)
            .boxed()
            .await
            .map_err(|error| match error {
                CallError::Refused { rejection, .. } => {
                    CallError::failed(rejection.code, FailureCause::Destination)
                }
                other => other.without_records(),
            })?;
        serde_json::from_slice(&response.body).map_err(|_| unreadable().without_records())
    }
}
