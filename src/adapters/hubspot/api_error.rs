//! One error of HubSpot's, read as far as it can be. Pure.
//!
//! HubSpot: every field is optional to a parser, and their shapes differ between 400, 409, 429 and
//! the errors of a
//! 207. So each is looked for, none is relied on, and nothing of the message itself leaves this
//!      room: it quotes the offending value, which is a person's data.
//!      <https://developers.hubspot.com/docs/api-reference/error-handling>

use serde_json::Value;

use super::model::EMAIL;
use crate::adapters::Code;

/// What HubSpot says between a value and the options that its property has.
const NO_OPTION: &str = " was not one of the allowed options";

fn is_part_of_a_value(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | ' ')
}

/// What is known of one error.
#[derive(Clone, Default)]
pub(super) struct ApiError {
    /// The kind of trouble: `category`, or what an answer has in its place (`errorType`, `error`).
    pub(super) category: Option<Code>,
    /// The most exact code: of a nested error, or hidden in the message.
    pub(super) code: Option<Code>,
    /// Which limit was reached: `DAILY`, `SECONDLY`, `TEN_SECONDLY_ROLLING`.
    pub(super) policy: Option<Code>,
    /// Our own trace ids that it names.
    pub(super) trace_ids: Vec<String>,
    /// The input ids that it names.
    pub(super) ids: Vec<String>,
    /// The line of our request that HubSpot's parser stumbled over.
    pub(super) line: Option<usize>,
    /// The scopes that the credential lacks.
    pub(super) scopes: Vec<String>,
    /// The properties that it is about.
    pub(super) properties: Vec<String>,
    /// Another record holds a value that only one may have.
    pub(super) clash: Option<Clash>,
    /// The id under which HubSpot's support finds it.
    pub(super) correlation_id: Option<String>,
    /// The status of the answer, where the error is a whole answer.
    pub(super) http_status: Option<u16>,
    /// The id of the record that has a unique value already, where a field of the error holds it.
    owner: Option<String>,
    /// All that it says, for looking things up in it only.
    texts: Vec<String>,
}

/// Another record holds a value that only one may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    /// The property.
    pub(super) property: String,
    /// The record that holds the value, where the answer tells.
    pub(super) owner: Option<String>,
}

impl ApiError {
    /// Reads the body of an answer with an error's status; `None` unless it is HubSpot's own.
    ///
    /// A page, an empty body, or JSON of another shape comes from the network in front of HubSpot.
    /// Its status says nothing about the account, the credential or a record.
    pub(super) fn of_answer(status: u16, body: &[u8]) -> Option<Self> {
        let error: Value = serde_json::from_slice(body).ok()?;
        if !is_in_envelope(error.as_object()?, status) {
            return None;
        }
        let mut problem = Self {
            http_status: Some(status),
            ..Self::read(&error)?
        };
        if status == 409 && problem.code().is_none() {
            problem.category = Some(Code::from_system("CONFLICT"));
        }
        Some(problem)
    }

    /// Reads one error; `None` where it is not an object.
    pub(super) fn read(error: &Value) -> Option<Self> {
        let error = error.as_object()?;
        let nested = error
            .get("errors")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let mut problem = Self::default();
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        problem.category = ["category", "errorType", "error"]
            .into_iter()
            .find_map(text)
            .map(Code::from_system);
        problem.policy = text("policyName").map(Code::from_system);
        problem.correlation_id = text("correlationId")
            .filter(|id| is_name(id))
            .map(str::to_owned);
        for part in nested.iter().filter_map(Value::as_object).chain([error]) {
            problem.read_part(part);
        }
        if problem.code.is_none() {
            problem.code = text("subCategory").map(Code::from_system);
        }
        problem.read_texts();
        problem.read_clash(error);
        Some(problem)
    }

    /// The most exact code that it has.
    pub(super) fn code(&self) -> Option<&Code> {
        self.code.as_ref().or(self.category.as_ref())
    }

    /// Whether its category or its code is `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        [&self.code, &self.category]
            .into_iter()
            .flatten()
            .any(|code| code.as_str() == name)
    }

    /// Whether it begins with `phrase`: words of HubSpot's, where further on there may be a
    /// contact's.
    pub(super) fn begins(&self, phrase: &str) -> bool {
        self.texts.iter().any(|text| text.starts_with(phrase))
    }

    /// Whether it says `phrase` anywhere.
    pub(super) fn says(&self, phrase: &str) -> bool {
        self.texts.iter().any(|text| text.contains(phrase))
    }

    /// Whether it refuses this value of a property with options. The options that there are, which
    /// it lists, are not meant.
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

    /// Reads the forms in which HubSpot reports a clash of unique values. Where none names a
    /// property, it is the email address: the one standard property that no two contacts may share.
    /// <https://github.com/HubSpot/hubspot-api-python/issues/51>
    /// <https://community.hubspot.com/t5/APIs-Integrations/Updated-409-Conflict-responses/m-p/951534>
    fn read_clash(&mut self, error: &serde_json::Map<String, Value>) {
        self.add_owner(
            error
                .get("identityProfile")
                .and_then(|profile| profile.get("vid")),
        );
        let in_words = self
            .texts
            .iter()
            .find_map(|text| coordinates(text).or_else(|| existing_contact(text)));
        let is_clash =
            self.owner.is_some() || self.is("CONTACT_EXISTS") || self.is("OBJECT_ALREADY_EXISTS");
        self.clash = in_words.or_else(|| {
            let property = self
                .properties
                .first()
                .map_or(EMAIL, String::as_str)
                .to_owned();
            is_clash.then(|| Clash {
                property,
                owner: self.owner.clone(),
            })
        });
        if let Some(property) = self.clash.as_ref().map(|clash| clash.property.clone()) {
            self.add_property(Some(&property));
        }
    }

    /// Keeps the first id of the record that has the value already.
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

/// A text, a number, or a list of them, as texts.
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

/// Whether `text` looks like a property's name or a correlation id: what does not may be somebody's
/// data.
fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether `text` looks like the name of a scope, `crm.objects.contacts.write`.
fn is_scope(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Whether `text` looks like HubSpot's own id of a record.
pub(super) fn is_record_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The list in `Property values were not valid:
/// [{"isValid":false,"error":"INVALID_EMAIL","name":"email",…}]`, and in no other text: a contact's
/// own values may look like one.
fn hidden_errors(text: &str) -> Value {
    let list = text
        .split_once("Property values were not valid")
        .and_then(|(_, rest)| {
            let list = &rest[rest.find('[')?..];
            serde_json::Deserializer::from_str(list)
                .into_iter::<Value>()
                .next()?
                .ok()
        });
    list.unwrap_or_default()
}

/// The ids in "Duplicate IDs found in batch input: [X, Y]. IDs must be unique".
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

/// The line in "Invalid input JSON on line 3, column 9: …".
fn line_of_input(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("Invalid input JSON on line ")?;
    rest.split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// "Cannot set `PropertyValueCoordinates`{…, propertyName=email, value=x} on 11. 22 already has
/// that value.": the second id is the owner's.
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

/// "Contact already exists. Existing ID: 22"
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
