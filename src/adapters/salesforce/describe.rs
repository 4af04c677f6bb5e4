//! What the integration user sees of the object.
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
use crate::model::{CallError, FailureCause};

/// What the user may do to the object's records, sharing aside.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Rights {
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) deletable: bool,
}

impl Salesforce {
    /// The object's description, as far as `D` reads it. The call carries no record: no error of it
    /// is a record's.
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
        let ask = ApiRequest {
            method: Method::GET,
            path,
            query: None,
            body: None,
        };
        // Boxed: the futures around it are nested as deep as the compiler follows.
        let answer = self
            .ask(ask, call)
            .boxed()
            .await
            .map_err(|error| match error {
                CallError::Refused { rejection, .. } => {
                    CallError::failed(rejection.code, FailureCause::Destination)
                }
                other => other.without_records(),
            })?;
        serde_json::from_slice(&answer.body).map_err(|_| unreadable().without_records())
    }
}
