//! Checks the org for the operator's commands `doctor` and `settings --check`: whether the object
//! exists, the key is unique, and every field that is sent may be written.

mod fields;

use serde::Deserialize;

use super::describe::Rights;
use super::{Salesforce, Settings};
use crate::adapters::Call;
use crate::adapters::doctor::{Check, remedy};
use crate::model::{CallError, ContactId, MatchPolicy};

/// Name of the check of the secret.
const SECRET: &str = "salesforce secret";

/// Name of the check of the object.
const OBJECT: &str = "salesforce object";

/// The object as the integration user sees it: a field that is hidden from the user is missing.
#[derive(Debug, Deserialize)]
struct Described {
    #[serde(flatten)]
    rights: Rights,
    queryable: bool,
    fields: Vec<Field>,
}

#[derive(Debug, Deserialize)]
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
    /// Whether a record may have no value; true where the description does not say.
    nillable: bool,
    defaulted_on_create: bool,
    restricted_picklist: bool,
    picklist_values: Vec<PicklistValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PicklistValue {
    value: String,
    active: bool,
}

impl Default for Field {
    fn default() -> Self {
        Self {
            name: String::new(),
            r#type: String::new(),
            length: 0,
            precision: 0,
            scale: 0,
            external_id: false,
            unique: false,
            case_sensitive: false,
            createable: false,
            updateable: false,
            nillable: true,
            defaulted_on_create: false,
            restricted_picklist: false,
            picklist_values: Vec::new(),
        }
    }
}

impl Field {
    /// Returns whether a record is refused without a value of the field.
    fn is_required(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted_on_create
    }
}

impl Salesforce {
    /// Checks everything that a delivery needs. Leaves out each check that depends on a failed one.
    pub(super) async fn checks(&self, call: Call<'_>) -> Vec<Check> {
        let readable = Check::ok(SECRET, "readable, of the right form");
        let token = match self.check_token(call).await {
            Ok(token) => token,
            Err(check) if check.name == SECRET => return vec![check],
            Err(check) => return vec![readable, check],
        };
        let mut checks = vec![readable, token];
        match self.described_checks(call).await {
            Ok(found) => checks.extend(found),
            Err(check) => checks.push(check),
        }
        checks
    }

    /// Compares the settings with the object's description.
    ///
    /// # Errors
    /// Returns the failed check because of which the description is not known.
    pub(super) async fn mapping_checks(&self, call: Call<'_>) -> Result<Vec<Check>, Check> {
        self.check_token(call).await?;
        self.described_checks(call).await
    }

    /// Checks that a token is granted.
    ///
    /// # Errors
    /// Returns the failed check of the secret, or of the token.
    async fn check_token(&self, call: Call<'_>) -> Result<Check, Check> {
        const TOKEN: &str = "salesforce token";
        match self.auth.token(&self.http, call).await {
            Ok(granted) => {
                let host = granted.instance.host_str().unwrap_or_default();
                Ok(Check::ok(TOKEN, format!("granted by {host}")))
            }
            Err(error) if is_about_the_secret(&error) => Err(Check::fail(SECRET, remedy(&error))),
            Err(error) => Err(Check::fail(TOKEN, remedy(&error))),
        }
    }

    /// Compares the settings with the object's description. An object that does not exist is a
    /// finding.
    ///
    /// # Errors
    /// Returns the failed check because of which the description is not known.
    async fn described_checks(&self, call: Call<'_>) -> Result<Vec<Check>, Check> {
        let error = match self.describe::<Described>(call).await {
            Ok(described) => return Ok(check_settings(&described, &self.settings)),
            Err(error) => error,
        };
        let check = Check::fail(OBJECT, remedy(&error));
        if is_missing(&error) {
            Ok(vec![check])
        } else {
            Err(check)
        }
    }
}

/// Returns whether the object does not exist, or is hidden from the user.
fn is_missing(error: &CallError) -> bool {
    matches!(error, CallError::Stop(stop) if stop.code.as_str() == "NOT_FOUND")
}

fn is_about_the_secret(error: &CallError) -> bool {
    matches!(error, CallError::Stop(stop) if stop.code.as_str().starts_with("SECRET_"))
}

/// Compares the description with the settings. Pure.
fn check_settings(described: &Described, settings: &Settings) -> Vec<Check> {
    let mut checks = vec![
        object(described, settings),
        key(described, settings),
        fields::check(described, settings),
    ];
    if !settings.version_field.is_empty() {
        checks.push(version(described, settings));
    }
    if !settings.baseline_field.is_empty() {
        checks.push(fields::baseline(described, settings));
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
    let Rights {
        createable,
        updateable,
        deletable,
    } = described.rights;
    let (creates, updates) = (
        settings.r#match != MatchPolicy::UpdateOnly,
        settings.r#match != MatchPolicy::CreateOnly,
    );
    let needed = [
        (true, described.queryable, ["read", "read"]),
        (creates, createable, ["create", "created"]),
        (updates, updateable, ["edit", "edited"]),
        (true, deletable, ["delete", "deleted"]),
    ];
    let (mut given, mut missing) = (Vec::new(), Vec::new());
    for (is_needed, is_given, [right, participle]) in needed {
        match (is_needed, is_given) {
            (false, _) => {}
            (true, true) => given.push(participle),
            (true, false) => missing.push(right),
        }
    }
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
    let found = format!("{} may be {}", settings.sobject, given.join(", "));
    Check::of(OBJECT, found, &wrong)
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
    let is_number = field.r#type == "double" && field.scale == 0 && field.precision >= 18;
    let fits = is_number && !field.unique;
    let wrong = if is_number {
        format!(
            "{} is unique, and records of one version are refused: allow equal values",
            settings.version_field
        )
    } else {
        format!(
            "{} is a {}({}, {}): make it a Number(18, 0)",
            settings.version_field, field.r#type, field.precision, field.scale
        )
    };
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
    use crate::adapters::salesforce::{mapping, model};
    use crate::adapters::{CountryForm, DESTINATIONS, StateForm};
    use crate::model::Record;
    use crate::settings::{Layer, Preset, load};
    use crate::source::EventConsumer;

    fn settings() -> Settings {
        settings_of(DOCUMENT)
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

    const DOCUMENT: &str = "salesforce.version_field = \"Version__c\"\n\
            salesforce.attributes = { plan = \"Plan__c\" }\n\
            salesforce.baseline_field = \"Baseline__c\"\n\
            salesforce.policy.Title = \"unedited\"\n\
            salesforce.status = { lead = \"Open\" }\n\
            salesforce.constants = { Channel__c = \"Product\", Tags__c = \"A; B\", \
            Rate__c = \"1.5\", Since__c = \"2026-11-20\" }\n\
            salesforce.required = [\"Region__c\"]\n\
            salesforce.salvage = [\"Email\"]";
    fn described() -> Described {
        let field = |name: &str| Field {
            name: name.to_owned(),
            r#type: "string".to_owned(),
            length: 255,
            createable: true,
            updateable: true,
            ..Field::default()
        };
        let settings = settings();
        let mut fields: Vec<Field> = mapping::fields(&settings)
            .into_iter()
            .chain(["Plan__c", "Region__c"])
            .map(field)
            .collect();
        fields.push(Field {
            external_id: true,
            unique: true,
            ..field("source_id__c")
        });
        fields.push(Field {
            r#type: "textarea".to_owned(),
            ..field("Baseline__c")
        });
        let choices = |name: &str, values: &[&str]| Field {
            r#type: "picklist".to_owned(),
            restricted_picklist: true,
            picklist_values: values
                .iter()
                .map(|value| PicklistValue {
                    value: (*value).to_owned(),
                    active: *value != "Retired",
                })
                .collect(),
            ..field(name)
        };
        for (name, values) in [
            ("Status", ["Open", "Retired"]),
            ("Channel__c", ["Product", "Partner"]),
        ] {
            fields.retain(|field| field.name != name);
            fields.push(choices(name, &values));
        }
        fields.push(Field {
            r#type: "double".to_owned(),
            precision: 18,
            ..field("Version__c")
        });
        for (name, kind) in [("Tags__c", "multipicklist"), ("Rate__c", "double")] {
            fields.retain(|field| field.name != name);
            fields.push(Field {
                r#type: kind.to_owned(),
                ..choices(name, &["A", "B"])
            });
        }
        for field in &mut fields {
            field.restricted_picklist &= field.name != "Rate__c";
            if field.name == "Since__c" {
                field.r#type = "date".to_owned();
            }
        }
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
            .consume(&Record::of_data(data), time::OffsetDateTime::now_utc())
            .expect("allowed");
        let body = model::transform(&[&change], &[], &settings())
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
        // Not sent: the type of the record in the JSON. Not in this record: fields under a policy,
        // and the field that only `required` names.
        assert_eq!(sent.len() - 1 + 3, described.fields.len());
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
                &|described| edit(described, "Phone", |field| field.r#type = "double".into()),
                "Phone is of the type double",
            ),
            (
                &|described| edit(described, "Title", |field| field.length = 100),
                "Title takes 100 characters, and up to 128",
            ),
            (
                &|described| {
                    edit(described, "Status", |field| {
                        drop(field.picklist_values.remove(0));
                    });
                },
                "Status does not offer Open",
            ),
            (
                &|described| {
                    edit(described, "Channel__c", |field| {
                        field.picklist_values[0].active = false;
                    });
                },
                "Channel__c does not offer Product",
            ),
            (
                &|described| edit(described, "Channel__c", |field| field.unique = true),
                "Channel__c is unique",
            ),
            (
                &|described| edit(described, "Channel__c", |field| field.length = 3),
                "Channel__c is too short",
            ),
            (
                &|described| {
                    edit(described, "Channel__c", |field| {
                        field.r#type = "boolean".into();
                    });
                },
                "does not take the constant",
            ),
            (
                &|described| {
                    edit(described, "Country", |field| {
                        field.restricted_picklist = true;
                        field.length = 10;
                    });
                },
                "set `salesforce.normalise.country`",
            ),
            (
                &|described| edit(described, "State", |field| field.restricted_picklist = true),
                "set `salesforce.normalise.state`",
            ),
            (
                &|described| edit(described, "Plan__c", |field| field.nillable = false),
                "Lead requires Plan__c",
            ),
            (
                &|described| edit(described, "Baseline__c", |field| field.length = 19),
                "at least 20",
            ),
            (
                &|described| {
                    edit(described, "Baseline__c", |field| {
                        field.r#type = "int".into();
                    });
                },
                "Long Text Area",
            ),
            (
                &|described| described.rights.deletable = false,
                "delete on Lead",
            ),
            (
                &|described| edit(described, "Version__c", |field| field.unique = true),
                "Version__c is unique",
            ),
            (
                &|described| edit(described, "Plan__c", |field| field.createable = false),
                "Plan__c may not be edited",
            ),
            (
                &|described| edit(described, "Region__c", |field| field.createable = false),
                "Region__c may not be edited",
            ),
            (
                &|described| described.fields.retain(|field| field.name != "Region__c"),
                "Region__c is missing",
            ),
            (
                &|described| edit(described, "Region__c", |field| field.unique = true),
                "Region__c does not take the default",
            ),
            (
                &|described| edit(described, "Region__c", |field| field.length = 13),
                "Region__c does not take the default",
            ),
            (
                &|described| {
                    edit(described, "Region__c", |field| {
                        field.restricted_picklist = true;
                    });
                },
                "Region__c does not take the default",
            ),
            (
                &|described| {
                    edit(described, "Tags__c", |field| {
                        drop(field.picklist_values.pop());
                    });
                },
                "Tags__c does not offer B",
            ),
            (
                &|described| edit(described, "Rate__c", |field| field.r#type = "date".into()),
                "Rate__c is of the type date",
            ),
            (
                &|described| {
                    edit(described, "Since__c", |field| {
                        field.r#type = "double".into();
                    });
                },
                "Since__c is of the type double",
            ),
            (
                &|described| {
                    edit(described, "Email", |field| field.nillable = false);
                    edit(described, "Email", |field| {
                        field.defaulted_on_create = false;
                    });
                },
                "remove it from `salesforce.salvage`",
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
        let no_baseline: Edit =
            |described| described.fields.retain(|field| field.name != "Baseline__c");
        for (gone, name) in [
            (no_baseline, "salesforce baseline field"),
            (no_key, "salesforce external id"),
            (no_version, "salesforce version field"),
        ] {
            let failing = failing(&gone);
            assert!(failing.len() == 1 && failing[0].0 == name, "{failing:?}");
        }
    }

    #[test]
    fn a_field_of_codes_is_as_long_as_its_codes() {
        let mut described = described();
        for field in &mut described.fields {
            if ["Country", "State"].contains(&field.name.as_str()) {
                field.restricted_picklist = true;
                field.r#type = "picklist".to_owned();
                field.length = 3;
            }
        }
        let mut settings = settings();
        for (country, is_fit) in [
            (CountryForm::AsIs, false),
            (CountryForm::Iso2, true),
            (CountryForm::Iso3, true),
            (CountryForm::Name, false),
        ] {
            settings.normalise.country = country;
            settings.normalise.state = StateForm::Code;
            let failing = check_settings(&described, &settings)
                .iter()
                .filter(|check| check.finding.is_err())
                .count();
            assert_eq!(failing == 0, is_fit, "{country:?}");
        }
    }

    #[test]
    fn only_the_rights_that_policies_and_match_need_are_checked() {
        for (added, edit, is_fit) in [
            ("policy.City = \"never\"", "City !", true),
            ("policy.City = \"create\"", "City u", true),
            ("policy.City = \"create\"", "City c", false),
            ("policy.City = \"empty\"", "City u", false),
            ("match = \"update-only\"", "City c", true),
            ("match = \"update-only\"", "City u", false),
            ("match = \"update-only\"", "create", true),
            ("match = \"update-only\"", "edit", false),
            ("match = \"update-only\"", "Region__c !", true),
            ("match = \"create-only\"", "City u", true),
            ("match = \"create-only\"", "City c", false),
            ("match = \"create-only\"", "edit", true),
            ("match = \"create-only\"", "create", false),
            ("match = \"upsert\"", "City !", false),
        ] {
            let settings = settings_of(&format!("{DOCUMENT}\nsalesforce.{added}"));
            let mut described = described();
            match edit.split_once(' ') {
                None if edit == "create" => described.rights.createable = false,
                None => described.rights.updateable = false,
                Some((name, "!")) => described.fields.retain(|field| field.name != name),
                Some((name, right)) => {
                    let field = described.fields.iter_mut().find(|field| field.name == name);
                    let field = field.expect("a field");
                    field.createable &= right != "c";
                    field.updateable &= right != "u";
                }
            }
            let checks = check_settings(&described, &settings);
            let failing: Vec<_> = checks
                .iter()
                .filter(|check| check.finding.is_err())
                .collect();
            assert_eq!(failing.is_empty(), is_fit, "{added}, {edit}: {failing:?}");
        }
    }
}
