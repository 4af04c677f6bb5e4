//! Parses one error of HubSpot, as far as possible. Pure.
//!
//! Every field is optional to the parser, and its shape differs between 400, 409, 429 and the
//! errors of a 207. The parser looks for each field and relies on none. Nothing of a message leaves
//! this module: messages quote the offending value, which is a person's data.
//! <https://developers.hubspot.com/docs/api-reference/error-handling>

use serde_json::Value;

use super::model::EMAIL;
use crate::model::Code;

/// Text between a refused value and the options of its property.
const NO_OPTION: &str = " was not one of the allowed options";

fn is_part_of_a_value(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | ' ')
}

/// The parsed parts of one error.
#[derive(Clone, Default)]
pub(super) struct ApiError {
    /// Kind of the error: `category`, or its substitute in some responses (`errorType`, `error`).
    pub(super) category: Option<Code>,
    /// Most exact code: of a nested error, or embedded in the message.
    pub(super) code: Option<Code>,
    /// Limit that was reached: `DAILY`, `SECONDLY`, `TEN_SECONDLY_ROLLING`.
    pub(super) policy: Option<Code>,
    /// Our own trace ids that the error names.
    pub(super) trace_ids: Vec<String>,
    /// Input ids that the error names.
    pub(super) ids: Vec<String>,
    /// Line of our request at which HubSpot's parser failed.
    pub(super) line: Option<usize>,
    /// Scopes that the credential lacks.
    pub(super) scopes: Vec<String>,
    /// Properties that the error names.
    pub(super) properties: Vec<String>,
    /// Another record holds a value that only one may have.
    pub(super) clash: Option<Clash>,
    /// Id under which HubSpot's support finds the error.
    pub(super) correlation_id: Option<String>,
    /// Status of the response, where the error is a whole response.
    pub(super) http_status: Option<u16>,
    /// Id of the record that holds the unique value, where a field of the error names it.
    owner: Option<String>,
    /// Texts of the error, for searches only.
    texts: Vec<String>,
}

/// Another record holds a value that only one may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    /// Property with unique values.
    pub(super) property: String,
    /// Record that holds the value, where the error names it.
    pub(super) owner: Option<String>,
}

impl ApiError {
    /// Parses the body of a response with an error's status; `None` unless it is HubSpot's own.
    ///
    /// A page, an empty body, or JSON of another shape comes from the network in front of HubSpot.
    /// Its status is no evidence about the account, the credential or a record.
    pub(super) fn of_response(status: u16, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        if !is_in_envelope(json.as_object()?, status) {
            return None;
        }
        let mut error = Self {
            http_status: Some(status),
            ..Self::read(&json)?
        };
        if status == 409 && error.code().is_none() {
            error.category = Some(Code::from_system("CONFLICT"));
        }
        Some(error)
    }

    /// Parses one error; `None` where it is not an object.
    pub(super) fn read(json: &Value) -> Option<Self> {
        let json = json.as_object()?;
        let nested = json.get("errors").and_then(Value::as_array);
        let mut error = Self::default();
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        error.category = ["category", "errorType", "error"]
            .into_iter()
            .find_map(text)
            .map(Code::from_system);
        error.policy = text("policyName").map(Code::from_system);
        error.correlation_id = text("correlationId")
            .filter(|id| is_name(id))
            .map(str::to_owned);
        let nested = nested.into_iter().flatten().filter_map(Value::as_object);
        for part in nested.chain([json]) {
            error.read_part(part);
        }
        if error.code.is_none() {
            error.code = text("subCategory").map(Code::from_system);
        }
        error.read_texts();
        error.read_clash(json);
        Some(error)
    }

    /// Returns the most exact code.
    pub(super) fn code(&self) -> Option<&Code> {
        self.code.as_ref().or(self.category.as_ref())
    }

    /// Returns whether the category or the code is `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        [&self.code, &self.category]
            .into_iter()
            .flatten()
            .any(|code| code.as_str() == name)
    }

    /// Returns whether a text of the error begins with `phrase`. The beginning is HubSpot's
    /// wording; a contact's data may follow it.
    pub(super) fn starts_with(&self, phrase: &str) -> bool {
        self.texts.iter().any(|text| text.starts_with(phrase))
    }

    /// Returns whether a text of the error contains `phrase`.
    pub(super) fn contains(&self, phrase: &str) -> bool {
        self.texts.iter().any(|text| text.contains(phrase))
    }

    /// Returns whether the error refuses this value of a property with options. The allowed
    /// options, which it lists too, do not count.
    pub(super) fn refuses_option(&self, value: &str) -> bool {
        let refused = self
            .texts
            .iter()
            .filter_map(|text| text.split_once(NO_OPTION).map(|(before, _)| before));
        refused
            .filter_map(|before| before.strip_suffix(value))
            .any(|before| !before.ends_with(is_part_of_a_value))
    }

    fn read_part(&mut self, part: &serde_json::Map<String, Value>) {
        let text = |name: &str| part.get(name).and_then(Value::as_str);
        self.texts.extend(text("message").map(str::to_owned));
        if self.code.is_none() {
            self.code = text("code").map(Code::from_system);
        }
        self.add_property(text("in"));
        self.add_owner(
            part.get("errorTokens")
                .and_then(|tokens| tokens.get("existingObjectId")),
        );
        let Some(context) = part.get("context") else {
            return;
        };
        self.trace_ids
            .extend(strings(context.get("objectWriteTraceId")));
        self.ids.extend(
            ["ids", "id"]
                .into_iter()
                .flat_map(|name| strings(context.get(name))),
        );
        self.scopes
            .extend(strings(context.get("requiredGranularScopes")).filter(|scope| is_scope(scope)));
        for property in strings(context.get("propertyName")) {
            self.add_property(Some(&property));
        }
        self.add_owner(context.get("existingId"));
    }

    fn read_texts(&mut self) {
        for text in std::mem::take(&mut self.texts) {
            for hidden in hidden_errors(&text).as_array().into_iter().flatten() {
                if let (None, Some(code)) =
                    (&self.code, hidden.get("error").and_then(Value::as_str))
                {
                    self.code = Some(Code::from_system(code));
                }
                self.add_property(hidden.get("name").and_then(Value::as_str));
            }
            self.ids.extend(duplicate_ids(&text));
            self.line = self.line.or_else(|| line_of_input(&text));
            self.texts.push(text);
        }
    }

    /// Reads each form in which HubSpot reports a clash of unique values. Where none names a
    /// property, it is the email address: the one standard property that no two contacts may share.
    /// <https://github.com/HubSpot/hubspot-api-python/issues/51>
    /// <https://community.hubspot.com/t5/APIs-Integrations/Updated-409-Conflict-responses/m-p/951534>
    fn read_clash(&mut self, json: &serde_json::Map<String, Value>) {
        self.add_owner(
            json.get("identityProfile")
                .and_then(|profile| profile.get("vid")),
        );
        let in_texts = self
            .texts
            .iter()
            .find_map(|text| coordinates(text).or_else(|| existing_contact(text)));
        let is_clash =
            self.owner.is_some() || self.is("CONTACT_EXISTS") || self.is("OBJECT_ALREADY_EXISTS");
        let clash = match in_texts {
            Some(clash) => clash,
            None if is_clash => Clash {
                property: self
                    .properties
                    .first()
                    .map_or(EMAIL, String::as_str)
                    .to_owned(),
                owner: self.owner.clone(),
            },
            None => return,
        };
        self.add_property(Some(&clash.property));
        self.clash = Some(clash);
    }

    /// Keeps the first id of the record that holds the value.
    fn add_owner(&mut self, ids: Option<&Value>) {
        if self.owner.is_none() {
            self.owner = strings(ids).find(|id| is_record_id(id));
        }
    }

    fn add_property(&mut self, name: Option<&str>) {
        if let Some(name) =
            name.filter(|name| is_name(name) && !self.properties.iter().any(|p| p == name))
        {
            self.properties.push(name.to_owned());
        }
    }
}

/// Returns whether `error` is in HubSpot's envelope: `status` with the text `error`, or one of the
/// names that only HubSpot's errors have. No field of it is in every recorded body. A conflict is
/// also recorded with nothing but a message.
/// <https://developers.hubspot.com/docs/api-reference/error-handling>
fn is_in_envelope(error: &serde_json::Map<String, Value>, status: u16) -> bool {
    const NAMES: [&str; 5] = [
        "category",
        "subCategory",
        "correlationId",
        "errorType",
        "policyName",
    ];
    let is = |name: &str, text: &str| error.get(name).is_some_and(|value| value == text);
    is("status", "error")
        || NAMES
            .iter()
            .any(|name| error.get(*name).is_some_and(Value::is_string))
        || (status == 409 && is("message", "Conflict"))
}

/// Returns the texts of a text, a number, or a list of them.
pub(super) fn strings(value: Option<&Value>) -> impl Iterator<Item = String> + use<> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let all: Vec<String> = match value {
        Some(Value::Array(values)) => values.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    };
    all.into_iter()
}

/// Returns whether `text` looks like a property's name or a correlation id. Any other text may be a
/// person's data.
fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Returns whether `text` looks like the name of a scope, `crm.objects.contacts.write`.
fn is_scope(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Returns whether `text` looks like HubSpot's own id of a record.
pub(super) fn is_record_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses the list in `Property values were not valid:
/// [{"isValid":false,"error":"INVALID_EMAIL","name":"email",…}]`. Reads no other text, since a
/// contact's own values may look like such a list.
fn hidden_errors(text: &str) -> Value {
    let Some((_, rest)) = text.split_once("Property values were not valid") else {
        return Value::Null;
    };
    let list = &rest[rest.find('[').unwrap_or(rest.len())..];
    match serde_json::Deserializer::from_str(list).into_iter().next() {
        Some(Ok(errors)) => errors,
        Some(Err(_)) | None => Value::Null,
    }
}

/// Returns the ids in "Duplicate IDs found in batch input: [X, Y]. IDs must be unique".
fn duplicate_ids(text: &str) -> Vec<String> {
    let ids = text.strip_prefix("Duplicate IDs found").and_then(|rest| {
        let (_, rest) = rest.split_once('[')?;
        rest.rsplit_once(']').map(|(ids, _)| ids)
    });
    ids.into_iter()
        .flat_map(|ids| ids.split(", "))
        .map(str::to_owned)
        .collect()
}

/// Returns the line in "Invalid input JSON on line 3, column 9: …".
fn line_of_input(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("Invalid input JSON on line ")?;
    rest.split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Parses "Cannot set `PropertyValueCoordinates`{…, propertyName=email, value=x} on 11. 22 already
/// has that value." The second id is the owner's.
fn coordinates(text: &str) -> Option<Clash> {
    let (before, _) = text.rsplit_once(" already has that value")?;
    let (_, coordinates) = before.split_once("propertyName=")?;
    let property = coordinates.split([',', '}']).next()?;
    let owner = before.rsplit(' ').next()?.trim_matches(['<', '>']);
    let owner = is_record_id(owner).then(|| owner.to_owned());
    is_name(property).then(|| Clash {
        property: property.to_owned(),
        owner,
    })
}

/// Parses "Contact already exists. Existing ID: 22".
fn existing_contact(text: &str) -> Option<Clash> {
    let (_, rest) = text.split_once("already exists. Existing ID: ")?;
    let owner = rest
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    let owner = is_record_id(owner).then(|| owner.to_owned());
    Some(Clash {
        property: EMAIL.to_owned(),
        owner,
    })
}

#[cfg(test)]
mod tests;
