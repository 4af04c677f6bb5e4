//! Checks the portal for the operator's commands `doctor` and `settings --check`: whether the key
//! is unique, every property that is sent exists and may be written, and the credential has its
//! scopes.
//!
//! <https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide>

use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::json;

use super::client::{Endpoint, Response};
use super::model::{self, LONGEST_TEXT, STAGE};
use super::{HubSpot, Settings};
use crate::adapters::doctor::{Check, remedy};
use crate::adapters::http::HttpError;
use crate::adapters::text_fit::Excess;
use crate::adapters::{Call, Constant};
use crate::model::codes;
use crate::model::{CallError, Code, FailureCause, FieldPolicy, MatchPolicy};

/// Name of the check of the secret.
const SECRET: &str = "hubspot secret";

/// Name of the check of the credential.
const CREDENTIAL: &str = "hubspot credential";

/// Name of the check of the property that holds our id.
const ID_PROPERTY: &str = "hubspot id property";

/// An id that no contact has.
const UNKNOWN_ID: &str = "contact-sync-doctor";

#[derive(Debug, Deserialize)]
struct Properties {
    results: Vec<Property>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Property {
    name: String,
    r#type: String,
    has_unique_value: bool,
    options: Vec<Choice>,
    modification_metadata: Modification,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Modification {
    read_only_value: bool,
}

impl HubSpot {
    /// Checks everything that a delivery needs. Leaves out each check that depends on a failed one.
    pub(super) async fn checks(&self, call: Call<'_>) -> Vec<Check> {
        let readable = Check::ok(SECRET, "readable, of the right form");
        let found = match self.mapping_checks(call).await {
            Ok(found) => found,
            Err(check) if check.name == SECRET => return vec![check],
            Err(check) => return vec![readable, check],
        };
        let mut checks = vec![readable, Check::ok(CREDENTIAL, "accepted")];
        let has_key = found
            .iter()
            .all(|check| check.name != ID_PROPERTY || check.finding.is_ok());
        checks.extend(found);
        // The call looks up by the id property: without one it fails for that reason, whether or
        // not it has the scope.
        if has_key {
            checks.push(self.check_read_scope(call).await);
        }
        checks.push(self.check_write_scope(call).await);
        checks
    }

    /// Compares the settings with the portal's properties.
    ///
    /// # Errors
    /// Returns the failed check because of which the properties are not known.
    pub(super) async fn mapping_checks(&self, call: Call<'_>) -> Result<Vec<Check>, Check> {
        if let Err(error) = self.auth.token(call).await {
            return Err(Check::fail(SECRET, remedy(&error)));
        }
        match self.properties(call).await {
            Ok(properties) => Ok(check_settings(&properties, &self.settings)),
            Err(error) => Err(Check::fail(CREDENTIAL, remedy(&error))),
        }
    }

    async fn properties(&self, call: Call<'_>) -> Result<Vec<Property>, CallError> {
        let base = self.settings.base();
        let url = match self.settings.api_version.as_str() {
            "v3" => format!("{base}/crm/v3/properties/contacts"),
            version => format!("{base}/crm/properties/{version}/contacts"),
        };
        let token = self.auth.token(call).await?;
        let request = self
            .http
            .client()
            .get(url)
            .header(AUTHORIZATION, token.header)
            .build();
        let request = request.map_err(|error| HttpError::Connection(error).into_call_error())?;
        let response = Response::new(
            self.http
                .send(request, call)
                .await
                .map_err(HttpError::into_call_error)?,
        );
        self.accept(&response)?;
        let properties: Properties = serde_json::from_slice(&response.http.body).map_err(|_| {
            let code = Code::new(codes::UNREADABLE_ANSWER);
            CallError::failed(code, FailureCause::Destination)
        })?;
        Ok(properties.results)
    }

    /// Looks up an id that no contact has: the call needs the scope, and reads no data.
    async fn check_read_scope(&self, call: Call<'_>) -> Check {
        let name = "hubspot scope to read";
        let id_property = &self.settings.id_property;
        let inputs = [json!({"id": UNKNOWN_ID})];
        let body =
            json!({"idProperty": id_property, "properties": [id_property], "inputs": inputs});
        match self
            .send(Endpoint::Read, body.to_string().into_bytes(), call)
            .await
        {
            Ok(response) if response.not_found().is_some() => {
                Check::ok(name, "crm.objects.contacts.read")
            }
            response => self.check_scope(name, "crm.objects.contacts.read", response),
        }
    }

    /// Sends an upsert without contacts. HubSpot checks the scope before it accepts or refuses the
    /// empty list.
    async fn check_write_scope(&self, call: Call<'_>) -> Check {
        let name = "hubspot scope to write";
        match self
            .send(Endpoint::Upsert, br#"{"inputs":[]}"#.to_vec(), call)
            .await
        {
            Ok(response) if response.http.status == 400 && response.error.is_some() => {
                Check::ok(name, "crm.objects.contacts.write")
            }
            response => self.check_scope(name, "crm.objects.contacts.write", response),
        }
    }

    fn check_scope(
        &self,
        name: &'static str,
        scope: &str,
        response: Result<Response, CallError>,
    ) -> Check {
        match response.and_then(|response| self.accept(&response)) {
            Ok(()) => Check::ok(name, scope),
            Err(error) => Check::fail(name, format!("{}; the scope is {scope}", remedy(&error))),
        }
    }
}

/// Compares the portal's properties with the settings. Pure.
fn check_settings(properties: &[Property], settings: &Settings) -> Vec<Check> {
    let mut checks = vec![
        key(properties, settings),
        writable(properties, settings),
        stages(properties, settings),
    ];
    if !settings.version_property.is_empty() {
        checks.push(version(properties, settings));
    }
    if !settings.baseline_property.is_empty() {
        checks.push(baseline(properties, settings));
    }
    checks
}

fn find<'a>(properties: &'a [Property], name: &str) -> Option<&'a Property> {
    properties.iter().find(|property| property.name == name)
}

fn key(properties: &[Property], settings: &Settings) -> Check {
    let (name, id) = (ID_PROPERTY, &settings.id_property);
    let Some(property) = find(properties, id) else {
        return Check::fail(
            name,
            format!("{id} is missing: create it, a text with unique values (hasUniqueValue)"),
        );
    };
    let not_unique = format!(
        "{id} has no unique values, and cannot get them later: create another property that has"
    );
    let no_text = format!(
        "{id} is of the type {}: create another one, a text",
        property.r#type
    );
    let wrong = [
        (!property.has_unique_value, not_unique),
        (property.r#type != "string", no_text),
    ];
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter_map(|(is_wrong, text)| is_wrong.then_some(text))
        .collect();
    Check::of(name, format!("{id} has unique values"), &wrong)
}

/// Checks that every property that is sent may be written. A missing id or version property has a
/// check of its own.
fn writable(properties: &[Property], settings: &Settings) -> Check {
    let checked = [
        &settings.id_property,
        &settings.version_property,
        &settings.baseline_property,
    ]
    .map(String::as_str);
    let checked = checked
        .into_iter()
        .filter(|name| find(properties, name).is_some());
    let attributes = settings.attributes.values().map(String::as_str);
    let others = model::properties(settings)
        .into_iter()
        .chain([settings.type_property.as_str()])
        .chain(attributes);
    let sent: Vec<&str> = others
        .filter(|name| !name.is_empty() && is_sent(settings, name))
        .chain(checked)
        .collect();
    let remedy = |name: &&str| match find(properties, name) {
        None => Some(format!(
            "{name} is missing: create it, or correct the setting"
        )),
        Some(property) if property.modification_metadata.read_only_value => {
            Some(format!("{name} may not be written"))
        }
        Some(property) if **name == settings.type_property => unfit_type(property),
        Some(_) => None,
    };
    let mut wrong: Vec<String> = sent.iter().filter_map(remedy).collect();
    for (_, name) in model::texts(settings) {
        if is_sent(settings, name) {
            wrong.extend(find(properties, name).and_then(unfit));
        }
    }
    for (name, constant) in &settings.constants {
        if let (true, Some(property)) = (is_sent(settings, name), find(properties, name)) {
            wrong.extend(unfit_constant(property, constant));
        }
    }
    Check::of(
        "hubspot properties",
        format!("all {} may be written", sent.len()),
        &wrong,
    )
}

/// Returns whether some record gets a value of the property, by its policy and by `match`.
fn is_sent(settings: &Settings, name: &str) -> bool {
    match settings.policies().of(name) {
        FieldPolicy::Never => false,
        FieldPolicy::Create => settings.r#match != MatchPolicy::UpdateOnly,
        FieldPolicy::Always | FieldPolicy::Empty | FieldPolicy::Unedited => true,
    }
}

/// Returns the remedy of a property that does not take the type of a contact.
fn unfit_type(property: &Property) -> Option<String> {
    if property.has_unique_value {
        let name = &property.name;
        return Some(format!(
            "{name} has unique values, and a second contact of a type is refused: use another \
             property"
        ));
    }
    unfit(property).or_else(|| missing_options(property, &["customer", "vendor"]))
}

/// Returns the remedy where a property with options lacks one of `values`. Properties of other
/// types accept any text.
fn missing_options(property: &Property, values: &[&str]) -> Option<String> {
    let offers = |value: &str| property.options.iter().any(|choice| choice.value == value);
    let missing: Vec<&str> = values
        .iter()
        .copied()
        .filter(|value| !offers(value))
        .collect();
    let is_list = property.r#type == "enumeration";
    (is_list && !missing.is_empty()).then(|| {
        format!(
            "{} does not offer {}: add it to its options",
            property.name,
            missing.join(", ")
        )
    })
}

/// Returns the remedy of a property that takes no text.
fn unfit(property: &Property) -> Option<String> {
    let is_text = ["string", "phone_number", "enumeration"].contains(&property.r#type.as_str());
    (!is_text).then(|| {
        format!(
            "{} is of the type {}: map the text to another property",
            property.name, property.r#type
        )
    })
}

/// Returns the remedy of a property that does not take a constant.
fn unfit_constant(property: &Property, constant: &Constant) -> Option<String> {
    let (name, text) = (&property.name, constant.text());
    if property.has_unique_value {
        return Some(format!(
            "{name} has unique values, and a second contact with the constant is refused: use \
             another property"
        ));
    }
    let takes = match property.r#type.as_str() {
        "number" => constant.is_number(),
        "bool" => ["true", "false"].contains(&&*text),
        // Also milliseconds since 1970.
        "date" | "datetime" => constant.is_number() || constant.is_date(),
        _ => true,
    };
    if !takes {
        return Some(format!(
            "{name} is of the type {}, which does not take the constant",
            property.r#type
        ));
    }
    if Excess::Reject.fit(&text, LONGEST_TEXT).is_none() {
        return Some(format!("{name} is too short for the constant"));
    }
    // Several options of one property are separated by semicolons.
    let values: Vec<&str> = text.split(';').collect();
    missing_options(property, &values)
}

fn baseline(properties: &[Property], settings: &Settings) -> Check {
    let (name, baseline) = ("hubspot baseline property", &settings.baseline_property);
    match find(properties, baseline) {
        None => Check::fail(
            name,
            format!("{baseline} is missing: create it, a multi-line text"),
        ),
        Some(property) if property.r#type == "string" && !property.has_unique_value => {
            Check::ok(name, format!("{baseline} takes the hashes"))
        }
        Some(property) => Check::fail(
            name,
            format!(
                "{baseline} is of the type {}, or has unique values: make it a multi-line text",
                property.r#type
            ),
        ),
    }
}

fn stages(properties: &[Property], settings: &Settings) -> Check {
    let stages = [
        &settings.lifecycle_stage.customer,
        &settings.lifecycle_stage.vendor,
    ]
    .map(String::as_str);
    let stages: Vec<&str> = stages
        .into_iter()
        .filter(|stage| !stage.is_empty() && is_sent(settings, STAGE))
        .collect();
    let missing = find(properties, STAGE).and_then(|property| missing_options(property, &stages));
    let found = if stages.is_empty() {
        "none is set".to_owned()
    } else {
        format!("{} exist", stages.join(", "))
    };
    Check::of("hubspot lifecycle stages", found, missing.as_slice())
}

fn version(properties: &[Property], settings: &Settings) -> Check {
    let (name, version) = ("hubspot version property", &settings.version_property);
    match find(properties, version) {
        None => Check::fail(name, format!("{version} is missing: create it, a number")),
        Some(property) if property.has_unique_value => Check::fail(
            name,
            format!("{version} has unique values: create another number, without that rule"),
        ),
        Some(property) if property.r#type == "number" => {
            Check::ok(name, format!("{version} is a number"))
        }
        Some(property) => Check::fail(
            name,
            format!(
                "{version} is of the type {}: make it a number",
                property.r#type
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::DESTINATIONS;
    use crate::adapters::hubspot::model;
    use crate::model::Record;
    use crate::settings::{Layer, Preset, load};
    use crate::source::EventConsumer;

    fn settings() -> Settings {
        let document = "hubspot.version_property = \"version\"\nhubspot.type_property = \"kind\"\n\
            hubspot.attributes = { plan = \"plan\" }\n\
            hubspot.baseline_property = \"baseline\"\n\
            hubspot.constants = { channel = \"product\", tags = \"a;b\" }";
        settings_of(document)
    }

    fn settings_of(document: &str) -> Settings {
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        settings
            .systems
            .of::<Settings>()
            .expect("a section")
            .clone()
    }

    fn properties() -> Vec<Property> {
        let of = |name: &str, kind: &str, values: &[&str]| Property {
            name: name.to_owned(),
            r#type: kind.to_owned(),
            options: values
                .iter()
                .map(|value| Choice {
                    value: (*value).to_owned(),
                })
                .collect(),
            ..Property::default()
        };
        let settings = settings();
        let texts = model::properties(&settings)
            .into_iter()
            .filter(|name| *name != STAGE)
            .filter(|name| !["channel", "tags"].contains(name))
            .chain(["plan", "baseline"]);
        let mut properties: Vec<Property> = texts.map(|name| of(name, "string", &[])).collect();
        properties.push(of(STAGE, "enumeration", &["lead", "customer", "other"]));
        properties.push(of("kind", "enumeration", &["customer", "vendor"]));
        properties.push(of("channel", "enumeration", &["product"]));
        properties.push(of("tags", "enumeration", &["a", "b"]));
        properties.push(of("version", "number", &[]));
        properties.push(Property {
            has_unique_value: true,
            ..of("source_id", "string", &[])
        });
        properties
    }

    #[test]
    fn every_property_that_a_contact_may_have_is_checked() {
        let text = |name: &str| format!("\"{name}\":\"x\"");
        let texts = [
            "first_name",
            "last_name",
            "company",
            "job_title",
            "phone",
            "mobile_phone",
            "website",
        ];
        let address = ["street", "city", "state", "postal_code", "country"]
            .map(text)
            .join(",");
        let event = format!(
            r#"{{"event_id":"e","operation":"create","occurred_at":"2026-11-20T10:15:00Z","contact":
            {{"id":"c","type":"customer","email":"a@b.example",{},"address":{{{address}}},
            "attributes":{{"plan":"x"}}}}}}"#,
            texts.map(text).join(",")
        );
        let data = base64_simd::STANDARD.encode_to_string(event);
        let change = EventConsumer
            .consume(&Record::of_data(data), time::OffsetDateTime::now_utc())
            .expect("allowed");
        let body = model::transform(&[&change], &[], &settings())
            .body
            .expect("a record");
        let sent: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(body.get()).expect("an object");
        let properties = properties();
        assert!(
            sent.keys().all(|name| find(&properties, name).is_some()),
            "{sent:?}"
        );
        // Not sent: the baseline, without a property under a policy.
        assert_eq!(sent.len() + 1, properties.len());
    }

    #[test]
    fn each_fault_of_the_portal_is_reported_with_its_remedy() {
        let edit = |name: &'static str, change: fn(&mut Property)| {
            let mut properties = properties();
            change(
                properties
                    .iter_mut()
                    .find(|property| property.name == name)
                    .expect("a property"),
            );
            properties
        };
        let without = |name: &str| {
            properties()
                .into_iter()
                .filter(|property| property.name != name)
                .collect()
        };
        let failing = |properties: &[Property]| -> Vec<String> {
            check_settings(properties, &settings())
                .into_iter()
                .filter_map(|check| check.finding.err())
                .collect()
        };
        assert!(failing(&properties()).is_empty());
        for (properties, part) in [
            (
                edit("source_id", |property| property.has_unique_value = false),
                "no unique values",
            ),
            (
                edit("source_id", |property| property.r#type = "number".into()),
                "of the type number",
            ),
            (
                edit("version", |property| property.r#type = "string".into()),
                "make it a number",
            ),
            (
                edit("kind", |property| drop(property.options.pop())),
                "kind does not offer vendor",
            ),
            (
                edit(STAGE, |property| drop(property.options.pop())),
                "lifecyclestage does not offer other",
            ),
            (
                edit("email", |property| {
                    property.modification_metadata.read_only_value = true;
                }),
                "email may not be written",
            ),
            (without("plan"), "plan is missing"),
            (
                edit("phone", |property| property.r#type = "number".into()),
                "phone is of the type number",
            ),
            (
                edit("channel", |property| drop(property.options.pop())),
                "channel does not offer product",
            ),
            (
                edit("channel", |property| property.has_unique_value = true),
                "channel has unique values",
            ),
            (
                edit("channel", |property| property.r#type = "number".into()),
                "channel is of the type number",
            ),
            (
                edit("baseline", |property| property.r#type = "number".into()),
                "multi-line text",
            ),
            (
                edit("version", |property| property.has_unique_value = true),
                "version has unique values",
            ),
            (
                edit("baseline", |property| property.has_unique_value = true),
                "has unique values",
            ),
            (
                edit("kind", |property| property.has_unique_value = true),
                "kind has unique values",
            ),
            (
                edit("kind", |property| property.r#type = "number".into()),
                "kind is of the type number",
            ),
            (
                edit("channel", |property| property.r#type = "bool".into()),
                "channel is of the type bool",
            ),
            (
                edit("channel", |property| property.r#type = "date".into()),
                "channel is of the type date",
            ),
            (
                edit("tags", |property| drop(property.options.pop())),
                "tags does not offer b",
            ),
        ] {
            let failing = failing(&properties);
            assert!(
                failing.len() == 1 && failing[0].contains(part),
                "{part}: {failing:?}"
            );
        }
        for name in ["source_id", "version", "baseline"] {
            let failing = failing(&without(name));
            assert!(
                failing.len() == 1 && failing[0].contains(&format!("{name} is missing")),
                "{failing:?}"
            );
        }
    }

    #[test]
    fn properties_that_no_record_gets_are_not_checked() {
        let without = |name: &str| -> Vec<Property> {
            let mut properties = properties();
            properties.retain(|property| property.name != name);
            properties
        };
        for (document, is_fit) in [
            ("policy.city = \"never\"", true),
            ("policy.city = \"create\"", false),
            (
                "policy.city = \"create\"\nhubspot.match = \"update-only\"",
                true,
            ),
            ("match = \"update-only\"", false),
        ] {
            let settings = settings_of(&format!("hubspot.{document}"));
            let checks = check_settings(&without("city"), &settings);
            let is_failing = checks.iter().any(|check| check.finding.is_err());
            assert_eq!(!is_failing, is_fit, "{document}: {checks:?}");
        }
    }
}
