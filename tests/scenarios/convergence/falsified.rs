//! What a function would make of changes that did not keep a rule of the contract: done to the
//! stream before it reaches the function, so that a law can be seen to be broken.

use serde_json::Value;
use testkit::kinesis::Stream;

/// The rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Falsified {
    /// Versions say nothing.
    Versions,
    /// Attributes are left out.
    Attributes,
    /// A delete that does not say of what type goes to one system only.
    UntypedDeletes,
    /// An identity in other letters, or with space around it, is another one.
    Identities,
}

impl Falsified {
    /// The stream, as the function gets it.
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
                    // One that nobody takes for the same.
                    contact["id"] = format!("{id}*").into();
                }
            }
        }
        change
    }
}
