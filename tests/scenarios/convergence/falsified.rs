//! Simulates a function that breaks a rule of the contract. The changes of the stream are falsified
//! before the function receives them, so that a law must detect it.

use serde_json::Value;
use testkit::kinesis::Stream;

/// The broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Falsified {
    /// Versions are ignored.
    Versions,
    /// Attributes are ignored.
    Attributes,
    /// A delete without a type is sent to one system only.
    UntypedDeletes,
    /// Ids that differ in letter case or surrounding space name different contacts.
    Identities,
}

impl Falsified {
    /// Returns the stream as the function receives it.
    pub(crate) fn stream(self, put: &Stream) -> Stream {
        put.mapped(|data| match serde_json::from_slice::<Value>(data) {
            Ok(change) if change["contact"]["id"].is_string() => {
                self.change(change).to_string().into_bytes()
            }
            _ => data.to_vec(),
        })
    }

    fn change(self, mut change: Value) -> Value {
        let contact = change["contact"].as_object_mut().expect("an object");
        match self {
            Self::Versions => drop(change.as_object_mut().expect("an object").remove("version")),
            Self::Attributes => drop(contact.remove("attributes")),
            Self::UntypedDeletes => drop(contact.entry("type").or_insert_with(|| "lead".into())),
            Self::Identities => {
                let id = contact["id"].as_str().expect("a text");
                if id.trim() != id || id.to_lowercase() != id {
                    // An id of another contact.
                    contact["id"] = format!("{id}*").into();
                }
            }
        }
        change
    }
}
