//! Checks the org for the operator's command `doctor`: whether the object exists, the key is
//! unique, and every field that is sent may be written.

use serde::Deserialize;

use super::describe::Rights;
use super::{Salesforce, Settings, model};
use crate::adapters::Call;
use crate::adapters::doctor::{Check, remedy};
use crate::model::{CallError, ContactId};

/// The object as the integration user sees it: a field that is hidden from the user is missing.
#[derive(Debug, Deserialize)]
struct Described {
    #[serde(flatten)]
    rights: Rights,
    queryable: bool,
    fields: Vec<Field>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the field's properties as Salesforce names them"
)]
struct Field {
    name: String,
    r#type: String,
    length: usize,
    precision: u32,
    scale: u32,
    external_id: bool,
    unique: bool,
    case_sensitive: bool,
    createable: bool,
    updateable: bool,
}

impl Salesforce {
    /// Checks everything that a delivery needs. Leaves out each check that depends on a failed one.
    pub(super) async fn checks(&self, call: Call<'_>) -> Vec<Check> {
        let (secret, token) = ("salesforce secret", "salesforce token");
        let mut checks = match self.auth.token(&self.http, call).await {
            Ok(granted) => {
                let host = granted.instance.host_str().unwrap_or_default().to_owned();
                vec![
                    Check::ok(secret, "readable, of the right form"),
                    Check::ok(token, format!("granted by {host}")),
                ]
            }
            Err(error) if is_about_the_secret(&error) => {
                return vec![Check::fail(secret, remedy(&error))];
            }
            Err(error) => {
                return vec![
                    Check::ok(secret, "readable, of the right form"),
                    Check::fail(token, remedy(&error)),
                ];
            }
        };
        match self.describe::<Described>(call).await {
            Ok(described) => checks.extend(check_settings(&described, &self.settings)),
            Err(error) => checks.push(Check::fail("salesforce object", remedy(&error))),
        }
        checks
    }
}

fn is_about_the_secret(error: &CallError) -> bool {
    matches!(error, CallError::Stop(stop) if stop.code.as_str().starts_with("SECRET_"))
}

/// Compares the description with the settings. Pure.
fn check_settings(described: &Described, settings: &Settings) -> Vec<Check> {
    let mut checks = vec![
        object(described, settings),
        key(described, settings),
        fields(described, settings),
    ];
    if !settings.version_field.is_empty() {
        checks.push(version(described, settings));
    }
    checks
}

/// Finds a field; Salesforce's names have no letter case.
fn find<'a>(described: &'a Described, name: &str) -> Option<&'a Field> {
    described
        .fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))
}

fn object(described: &Described, settings: &Settings) -> Check {
    let needed = [
        (described.queryable, "read"),
        (described.rights.createable, "create"),
        (described.rights.updateable, "edit"),
        (described.rights.deletable, "delete"),
    ];
    let missing: Vec<&str> = needed
        .into_iter()
        .filter(|(given, _)| !given)
        .map(|(_, right)| right)
        .collect();
    let wrong = format!(
        "give the run-as user's permission set {} on {}",
        missing.join(", "),
        settings.sobject
    );
    let wrong = if missing.is_empty() {
        vec![]
    } else {
        vec![wrong]
    };
    Check::of(
        "salesforce object",
        format!("{} may be read, created, edited, deleted", settings.sobject),
        &wrong,
    )
}

fn key(described: &Described, settings: &Settings) -> Check {
    let name = "salesforce external id";
    let Some(field) = find(described, &settings.external_id_field) else {
        let remedy = format!(
            "{} is missing or hidden: create it (text of 255, External ID, unique, \
             case-insensitive), and give the run-as user edit access",
            settings.external_id_field
        );
        return Check::fail(name, remedy);
    };
    let of = |is_wrong: bool, fault: &str| {
        is_wrong.then(|| format!("{} {fault}", settings.external_id_field))
    };
    let wrong = [
        of(
            !field.external_id,
            "is no External ID: select External ID in the field's definition",
        ),
        of(
            !field.unique,
            "is not unique: make it unique, or one contact may get two records",
        ),
        of(
            field.case_sensitive,
            "distinguishes letter cases: make its values unique case-insensitively",
        ),
        of(field.r#type != "string", "is no text: make it one"),
        of(
            field.r#type == "string" && field.length < ContactId::LONGEST,
            "is too short: give it 255 characters",
        ),
    ];
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    let found = format!(
        "{} is a unique, case-insensitive External ID",
        settings.external_id_field
    );
    Check::of(name, found, &wrong)
}

/// Checks that every field that is sent may be written. A missing key or version field has a check
/// of its own.
fn fields(described: &Described, settings: &Settings) -> Check {
    let checked = [
        settings.external_id_field.as_str(),
        settings.version_field.as_str(),
    ];
    let checked = checked
        .into_iter()
        .filter(|name| find(described, name).is_some());
    let attributes = settings.attributes.values().map(String::as_str);
    let sent: Vec<&str> = model::fields()
        .into_iter()
        .chain(attributes)
        .chain(checked)
        .collect();
    let remedy = |name: &&str| match find(described, name) {
        None => Some(format!("{name} is missing, or hidden from the run-as user")),
        Some(field) if !field.createable || !field.updateable => {
            Some(format!("{name} may not be edited"))
        }
        Some(_) => None,
    };
    let mut wrong: Vec<String> = sent.iter().filter_map(remedy).collect();
    if !wrong.is_empty() {
        wrong.push(
            "give the permission set edit access to these fields (field-level security)".to_owned(),
        );
    }
    Check::of(
        "salesforce fields",
        format!("all {} may be written", sent.len()),
        &wrong,
    )
}

fn version(described: &Described, settings: &Settings) -> Check {
    let name = "salesforce version field";
    let Some(field) = find(described, &settings.version_field) else {
        let remedy = format!(
            "{} is missing or hidden: create it, a Number(18, 0), and give the run-as user edit \
             access",
            settings.version_field
        );
        return Check::fail(name, remedy);
    };
    let fits = field.r#type == "double" && field.scale == 0 && field.precision >= 18;
    let wrong = format!(
        "{} is a {}({}, {}): make it a Number(18, 0)",
        settings.version_field, field.r#type, field.precision, field.scale
    );
    let wrong = if fits { vec![] } else { vec![wrong] };
    Check::of(
        name,
        format!("{} is a Number(18, 0)", settings.version_field),
        &wrong,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::DESTINATIONS;
    use crate::adapters::salesforce::model;
    use crate::settings::{Layer, Preset, load};
    use crate::source::EventConsumer;

    fn settings() -> Settings {
        let document = "salesforce.version_field = \"Version__c\"\n\
            salesforce.attributes = { plan = \"Plan__c\" }";
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        settings
            .systems
            .of::<Settings>()
            .expect("a section")
            .clone()
    }

    fn described() -> Described {
        let field = |name: &str| Field {
            name: name.to_owned(),
            r#type: "string".to_owned(),
            length: 255,
            createable: true,
            updateable: true,
            ..Field::default()
        };
        let mut fields: Vec<Field> = model::fields()
            .into_iter()
            .chain(["Plan__c"])
            .map(field)
            .collect();
        fields.push(Field {
            external_id: true,
            unique: true,
            ..field("source_id__c")
        });
        fields.push(Field {
            r#type: "double".to_owned(),
            precision: 18,
            ..field("Version__c")
        });
        let rights = Rights {
            createable: true,
            updateable: true,
            deletable: true,
        };
        Described {
            rights,
            queryable: true,
            fields,
        }
    }

    #[test]
    fn every_field_that_a_contact_may_have_is_checked() {
        let text = |name: &str| format!("\"{name}\":\"x\"");
        let texts = [
            "first_name",
            "last_name",
            "company",
            "job_title",
            "phone",
            "mobile_phone",
            "website",
            "status",
        ];
        let address = ["street", "city", "state", "postal_code", "country"]
            .map(text)
            .join(",");
        let event = format!(
            r#"{{"event_id":"e","operation":"create","occurred_at":"2026-11-20T10:15:00Z","contact":
            {{"id":"c","type":"lead","email":"a@b.example","lead_source":"Web",{},
            "address":{{{address}}},"attributes":{{"plan":"x"}}}}}}"#,
            texts.map(text).join(",")
        );
        let data = base64_simd::STANDARD.encode_to_string(event);
        let change = EventConsumer
            .consume(Some(&data), time::OffsetDateTime::now_utc())
            .expect("allowed");
        let body = model::transform(&[&change], &settings())
            .body
            .expect("a record");
        let sent: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(body.get()).expect("an object");
        let described = described();
        let unknown: Vec<&String> = sent
            .keys()
            .filter(|name| *name != "attributes" && find(&described, name).is_none())
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(sent.len() - 1, described.fields.len());
    }

    #[test]
    fn each_fault_of_the_org_is_reported_with_its_remedy() {
        type Edit = fn(&mut Described);
        let edit = |described: &mut Described, name: &str, edit: fn(&mut Field)| {
            let field = described
                .fields
                .iter_mut()
                .find(|field| field.name.eq_ignore_ascii_case(name));
            edit(field.expect("a field"));
        };
        let key = |change: fn(&mut Field)| {
            move |described: &mut Described| edit(described, "Source_Id__c", change)
        };
        let failing = |change: &dyn Fn(&mut Described)| {
            let mut described = described();
            change(&mut described);
            let checks = check_settings(&described, &settings());
            checks
                .into_iter()
                .filter_map(|check| Some((check.name, check.finding.err()?)))
                .collect::<Vec<_>>()
        };
        assert!(failing(&|_| {}).is_empty());
        for (change, parts) in [
            (
                &key(|field| field.external_id = false) as &dyn Fn(&mut Described),
                "no External ID",
            ),
            (&key(|field| field.unique = false), "not unique"),
            (
                &key(|field| field.case_sensitive = true),
                "case-insensitively",
            ),
            (&key(|field| field.length = 80), "255"),
            (&key(|field| field.r#type = "double".into()), "no text"),
            (
                &|described| edit(described, "Version__c", |field| field.scale = 2),
                "Number(18, 0)",
            ),
            (
                &|described| edit(described, "Email", |field| field.updateable = false),
                "Email may not be edited",
            ),
            (
                &|described| described.fields.retain(|field| field.name != "Plan__c"),
                "Plan__c is missing",
            ),
            (
                &|described| described.rights.deletable = false,
                "delete on Lead",
            ),
        ] {
            let failing = failing(change);
            assert!(
                failing.len() == 1 && failing[0].1.contains(parts),
                "{parts}: {failing:?}"
            );
        }
        let no_key: Edit = |described| described.fields.retain(|field| !field.external_id);
        let no_version: Edit =
            |described| described.fields.retain(|field| field.name != "Version__c");
        for (gone, name) in [
            (no_key, "salesforce external id"),
            (no_version, "salesforce version field"),
        ] {
            let failing = failing(&gone);
            assert!(failing.len() == 1 && failing[0].0 == name, "{failing:?}");
        }
    }
}
