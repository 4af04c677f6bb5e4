//! Tests of settings as an operator writes them: merging, validation, and the error messages.

mod aws;
mod proxies;
mod refresh;
#[cfg(feature = "schema")]
mod schemas;
mod secrets;
mod starts;

use contact_sync::adapters::{DESTINATIONS, REGISTRY, hubspot, salesforce};
use contact_sync::settings::{
    DocumentSource, Environment, Layer, Preset, Settings, defaults, load,
};

fn with(preset: Preset, document: &str) -> Result<Settings, String> {
    let layer =
        Layer::from_toml("the file settings.toml", document).map_err(|error| error.to_string())?;
    load(preset, &[layer], &DESTINATIONS).map_err(|error| error.to_string())
}

fn refused(document: &str) -> String {
    with(Preset::Test, document).expect_err(document)
}

#[test]
fn each_preset_has_the_settings_of_its_snapshot() {
    for preset in Preset::ALL {
        let queue = "[dead_letter]\n\
            queue_url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters\"";
        let document = if preset.is_for_developers() {
            ""
        } else {
            queue
        };
        let settings = with(preset, document).expect("a good preset");
        insta::assert_snapshot!(
            format!("preset_{}", preset.name()),
            toml::to_string(&settings).expect("TOML")
        );
    }
}

#[test]
fn a_document_with_every_key_sets_every_value() {
    let text = include_str!("../fixtures/kitchen-sink.toml");
    let settings = with(Preset::Production, text).expect("allowed");
    let shown: toml::Table =
        toml::from_str(&toml::to_string(&settings).expect("TOML")).expect("TOML");
    assert_eq!(shown, toml::from_str::<toml::Table>(text).expect("TOML"));
}

#[test]
fn a_source_that_no_row_could_be_read_with_is_refused() {
    for (document, parts) in [
        (
            "[source]\nformat = \"csv\"",
            ["`source.format`", "contact-change, debezium, dms, dynamodb"],
        ),
        (
            "[source]\nformat = \"dms\"",
            ["`source.columns.id`", "which is `dms`"],
        ),
        (
            "[source]\nformat = \"dms\"\ncolumns = { id = \"id\" }",
            ["`source.columns.type`", "which is `dms`"],
        ),
        (
            "[source.columns]\nid = \"id\"",
            ["`source.format`", "debezium, dms, dynamodb"],
        ),
        (
            "[source]\nformat = \"dms\"\ncolumns = { id = \"a\", type = \"b\", mail = \"c\" }",
            ["`source.columns.mail`", "attributes.NAME"],
        ),
        (
            "[source]\nformat = \"dms\"\ncolumns = { id = \"\", type = \"b\" }",
            ["`source.columns.id`", "a column"],
        ),
        (
            "[source]\nformat = \"dms\"\ncolumns = { id = \"a\", type = \"b..c\" }",
            ["`source.columns.type`", "`column.key`"],
        ),
        (
            "[source]\nformat = \"dms\"\ncolumns = { id = 7 }",
            ["`source.columns", "a text"],
        ),
        (
            "[source]\nformat = \"dms\"\ntables = [\"\"]\ncolumns = { id = \"a\", type = \"b\" }",
            ["`source.tables`", "names of tables"],
        ),
        (
            "[source]\nformat = \"dms\"\nnumbers = [\"c.\"]\n\
             columns = { id = \"a\", type = \"b\" }",
            ["`source.numbers`", "`column.key`"],
        ),
        (
            "[source]\nformat = \"dms\"\nbooleans = [\"c\", \"d\"]\nnumbers = [\"d\"]\n\
             columns = { id = \"a\", type = \"b\" }",
            ["`source.numbers` names `d`", "`source.booleans`"],
        ),
        (
            "[source.types]\nL = \"friend\"",
            ["`source.types.L`", "vendor"],
        ),
        (
            "[source]\ntombstones = \"keep\"",
            ["`source.tombstones`", "filter, delete"],
        ),
        (
            "[guard]\nversion = \"version\"\n[source]\nformat = \"dms\"\n\
             columns = { id = \"a\", type = \"b\" }",
            ["`source.version`", "`guard.version`"],
        ),
    ] {
        let error = refused(document);
        assert!(
            parts.iter().all(|part| error.contains(part)),
            "{document}\n{error}"
        );
    }
}

#[test]
fn a_column_of_an_address_may_be_named_with_or_without_quotes() {
    let head = "[source]\nformat = \"dms\"\n[source.columns]\nid = \"a\"\ntype = \"b\"\n";
    for document in [
        "\"address.city\" = \"town\"\n\"attributes.plan\" = \"p\"",
        "address.city = \"town\"\nattributes.plan = \"p\"",
        "address = { city = \"town\" }\nattributes = { plan = \"p\" }",
    ] {
        let settings = with(Preset::Test, &format!("{head}{document}")).expect("allowed");
        let columns: Vec<_> = settings.source.columns.into_iter().collect();
        let expected = [
            ("address.city", "town"),
            ("attributes.plan", "p"),
            ("id", "a"),
            ("type", "b"),
        ];
        assert_eq!(
            columns,
            expected.map(|(field, column)| (field.to_owned(), column.to_owned()))
        );
    }
}

#[test]
fn presets_for_aws_require_a_dead_letter_queue() {
    for preset in [Preset::Production, Preset::Staging, Preset::HighThroughput] {
        let error = with(preset, "").expect_err("no queue");
        assert!(
            error.contains("`dead_letter.queue_url`") && error.contains(preset.name()),
            "{error}"
        );
    }
}

#[test]
fn a_refusal_names_the_source_the_key_and_what_is_allowed() {
    for (document, parts) in [
        (
            "[pipeline]\nspeed = 3",
            ["`pipeline.speed`", "queue_capacity"],
        ),
        (
            "[salesforce.status]\nlaed = \"New\"",
            ["`salesforce.status.laed`", "prospect"],
        ),
        (
            "[pipeline]\nqueue_capacity = \"many\"",
            ["`pipeline.queue_capacity`", "a whole number, 1 to 100000"],
        ),
        (
            "[salesforce]\nbatch_size = 201",
            ["`salesforce.batch_size`", "1 to 200"],
        ),
        (
            "[hubspot]\nbatch_size = 101",
            ["`hubspot.batch_size`", "1 to 100"],
        ),
        (
            "[hubspot]\nbatch_size = 0",
            ["`hubspot.batch_size`", "1 to 100"],
        ),
        (
            "[pipeline]\ndeadline_margin_ms = 10000",
            ["`pipeline.deadline_margin_ms`", "1 to 9999"],
        ),
        (
            "[routes]\nlead = [\"pipedrive\"]",
            ["`routes.lead`", "salesforce, hubspot"],
        ),
        ("[routes]\nlead = []", ["`routes.lead`", "filter.types"]),
        (
            "[routes]\nlead = [\"hubspot\", \"hubspot\"]",
            ["`routes.lead`", "once"],
        ),
        ("[filter]\ntypes = []", ["`filter.types`", "lead"]),
        (
            "[filter]\ntypes = [\"friend\"]",
            ["`filter.types", "vendor"],
        ),
        ("[guard]\nmode = \"sometimes\"", ["`guard.mode`", "replays"]),
        (
            "[hubspot]\nbase_url = \"http://api.hubapi.com\"",
            ["`hubspot.base_url`", "not allowed"],
        ),
        (
            "[hubspot]\nbase_url = \"http://10.0.0.1\"\nallowed_hosts = [\"10.0.0.1\"]",
            ["`hubspot.base_url`", "http to loopback only"],
        ),
        (
            "[hubspot]\nbase_url = \"http://127.0.0.1/crm\"",
            ["`hubspot.base_url`", "scheme, host and port"],
        ),
        (
            "[hubspot]\napi_version = \"v4\"",
            ["`hubspot.api_version`", "YYYY-MM or v3"],
        ),
        (
            "[salesforce]\napi_version = \"67.0\"",
            ["`salesforce.api_version`", "v52.0"],
        ),
        (
            "[salesforce]\nsobject = \"Lead/..\"",
            ["`salesforce.sobject`", "letters"],
        ),
        (
            "[salesforce]\nallowed_hosts = [\"https://a\"]",
            ["`salesforce.allowed_hosts`", "host"],
        ),
        (
            "[salesforce]\nretry = { base_delay_ms = 50, max_delay_ms = 20 }",
            ["`salesforce.retry.base_delay_ms`", "1 to 20"],
        ),
        (
            "[dead_letter]\nqueue_url = \"queue\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"ftp://a/b\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example/1/q/\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example/1/q?a\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.exa\\nmple/1/q\"",
            ["`dead_letter.queue_url`", "SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example/1/a queue\"",
            ["`dead_letter.queue_url`", "SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"arn:aws:sqs:eu-west-1:123456789012:letters\"",
            ["`dead_letter.queue_url`", "URL of an SQS queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example/1/q.fifo\"",
            ["`dead_letter.queue_url`", "a FIFO queue"],
        ),
        (
            "[dead_letter]\nqueue_url = \"https://sqs.example/1/q.fifo \"",
            ["`dead_letter.queue_url`", "a FIFO queue"],
        ),
        (
            "[state]\ntable = \"contact sync\"",
            ["`state.table`", "a table's name or ARN"],
        ),
        (
            "[salesforce]\nsecret_id = \"contact-sync salesforce\"",
            ["`salesforce.secret_id`", "a secret's name or ARN"],
        ),
        (
            "[hubspot]\nsecret_id = \" \"",
            ["`hubspot.secret_id`", "is empty"],
        ),
        (
            "[hubspot]\nbase_url = \"nowhere\"",
            ["`hubspot.base_url`", "scheme, host and port"],
        ),
        (
            "[hubspot]\napi_version = \"2026-13\"",
            ["`hubspot.api_version`", "YYYY-MM"],
        ),
        (
            "[salesforce.attributes]\nplan = \"Plan c\"",
            ["`salesforce.attributes.plan`", "letters"],
        ),
        (
            "[salesforce.attributes]\nplan = \"source_id__C\"",
            ["`salesforce.attributes.plan`", "external_id_field"],
        ),
        (
            "[hubspot.attributes]\na = \"plan\"\nb = \"plan\"",
            ["`hubspot.attributes.b`", "taken by `hubspot.attributes.a`"],
        ),
        (
            "[hubspot.attributes]\na = 3",
            ["`hubspot.attributes.a`", "a text"],
        ),
        ("hubspot = 3", ["`hubspot`", "a table"]),
        ("[log]\naudit = true", ["`log.audit`", "a text"]),
        ("[log]\naudit = \"some\"", ["`log.audit`", "failures"]),
        (
            "refresh_secs = -1",
            ["`refresh_secs` is `-1`", "a whole number, 0 to 86400"],
        ),
        (
            "[hubspot]\nbatch_size = -1",
            ["`hubspot.batch_size` is `-1`", "a whole number, 1 to 100"],
        ),
        (
            "[salesforce]\nrate_limit = { requests = 5_000_000_000 }",
            [
                "`salesforce.rate_limit.requests` is `5000000000`",
                "a whole number, 1 to 1000000",
            ],
        ),
    ] {
        let error = refused(document);
        assert!(
            error.starts_with("the file settings.toml, line "),
            "{error}"
        );
        assert!(
            parts.iter().all(|part| error.contains(part)),
            "{document}\n{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_refusal_of_a_mapping_names_the_key_and_what_is_allowed() {
    for (document, parts) in [
        (
            "[salesforce]\nsobject = \"Account\"",
            [
                "`salesforce.sobject`",
                "any other object with `salesforce.fields`",
            ],
        ),
        (
            "[salesforce.fields]\nfax = \"Fax\"",
            ["`salesforce.fields.fax`", "address.street"],
        ),
        (
            "[salesforce.fields]\nphone = \"Work Phone\"",
            ["`salesforce.fields.phone`", "letters"],
        ),
        (
            "[salesforce.fields]\nphone = \"mobilephone\"",
            ["`salesforce.fields`", "gets two values"],
        ),
        (
            "[salesforce.normalise]\nphone_region = \"de\"",
            ["`salesforce.normalise.phone_region`", "capital letters"],
        ),
        (
            "[hubspot.normalise]\nphone_region = \"XX\"",
            ["`hubspot.normalise.phone_region`", "capital letters"],
        ),
        (
            "[salesforce.normalise]\ncountry = \"iso\"",
            ["`salesforce.normalise.country`", "iso-2"],
        ),
        (
            "[hubspot.normalise]\nstate = \"iso-2\"",
            ["`hubspot.normalise.state`", "code"],
        ),
        (
            "[salesforce.constants]\nChannel__c = \" \"",
            ["`salesforce.constants.Channel__c`", "is empty"],
        ),
        (
            "[salesforce.policy]\nPhon = \"empty\"",
            [
                "`salesforce.policy.Phon`",
                "never written; allowed: LastName",
            ],
        ),
        (
            "[salesforce.policy]\nSource_Id__c = \"never\"",
            ["`salesforce.policy.Source_Id__c`", "never written"],
        ),
        (
            "[salesforce]\nsobject = \"Contact\"\n[salesforce.policy]\nCompany = \"empty\"",
            ["`salesforce.policy.Company`", "MailingStreet"],
        ),
        (
            "[salesforce.policy]\nPhone = \"unedited\"",
            ["`salesforce.policy.Phone`", "`salesforce.baseline_field`"],
        ),
        (
            "[hubspot.policy]\nphone = \"unedited\"",
            ["`hubspot.policy.phone`", "`hubspot.baseline_property`"],
        ),
        (
            "[hubspot.policy]\nphone = \"sometimes\"",
            ["`hubspot.policy.phone`", "unedited"],
        ),
        (
            "[salesforce]\nmatch = \"insert\"",
            ["`salesforce.match`", "update-only"],
        ),
        (
            "[salesforce]\nsalvage = [\"LastName\"]",
            ["`salesforce.salvage`", "which is required"],
        ),
        (
            "[hubspot]\nsalvage = [\"fax\"]",
            ["`hubspot.salvage`", "never written"],
        ),
        (
            "[hubspot]\nsalvage = [\"source_id\"]",
            [
                "`hubspot.salvage`",
                "source_id, whose value is not the contact's own",
            ],
        ),
        (
            "[hubspot]\nsalvage = [\"lifecyclestage\"]",
            [
                "`hubspot.salvage`",
                "lifecyclestage, whose value is not the contact's own",
            ],
        ),
        (
            "[hubspot]\ntype_property = \"kind\"\nsalvage = [\"kind\"]",
            [
                "`hubspot.salvage`",
                "kind, whose value is not the contact's own",
            ],
        ),
        (
            "[hubspot]\nversion_property = \"version\"\nsalvage = [\"version\"]",
            [
                "`hubspot.salvage`",
                "version, whose value is not the contact's own",
            ],
        ),
        (
            "[hubspot]\nbaseline_property = \"baseline\"\nsalvage = [\"baseline\"]",
            [
                "`hubspot.salvage`",
                "baseline, whose value is not the contact's own",
            ],
        ),
        (
            "[hubspot]\nsalvage = [\"plan\"]\n[hubspot.constants]\nplan = \"team\"",
            [
                "`hubspot.salvage`",
                "plan, whose value is not the contact's own",
            ],
        ),
        (
            "[salesforce]\nsalvage = [\"source_id__c\"]",
            [
                "`salesforce.salvage`",
                "source_id__c, whose value is not the contact's own",
            ],
        ),
        (
            "[salesforce]\nsalvage = [\"A__c\"]\n[salesforce.constants]\nA__c = 1",
            [
                "`salesforce.salvage`",
                "A__c, whose value is not the contact's own",
            ],
        ),
        (
            "[salesforce]\nrequired = [\"A B\"]",
            ["`salesforce.required`", "letters"],
        ),
    ] {
        let error = refused(document);
        assert!(
            error.starts_with("the file settings.toml, line "),
            "{error}"
        );
        assert!(
            parts.iter().all(|part| error.contains(part)),
            "{document}\n{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

/// Adds blanks and line ends around each text of a document.
fn pad(value: &mut toml::Value) {
    match value {
        toml::Value::String(text) => *text = format!(" \t\u{a0}{text}\r\n "),
        toml::Value::Array(items) => {
            for item in items {
                pad(item);
            }
        }
        toml::Value::Table(table) => {
            for (_, value) in table {
                pad(value);
            }
        }
        _ => {}
    }
}

#[test]
fn blanks_and_line_ends_around_a_text_are_removed() {
    let text = include_str!("../fixtures/kitchen-sink.toml");
    let expected = with(Preset::Production, text).expect("allowed");
    let mut document = toml::Value::Table(toml::from_str(text).expect("TOML"));
    pad(&mut document);
    let shown = toml::to_string(&document).expect("TOML");
    assert_eq!(with(Preset::Production, &shown).as_ref(), Ok(&expected));

    let base = Layer::from_toml("the file a.toml", text).expect("TOML");
    for (key, value) in [
        (
            "DEAD_LETTER__QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
        ),
        ("HUBSPOT__BASE_URL", "https://eu.api.hubapi.com"),
        ("HUBSPOT__ALLOWED_HOSTS", r#"["eu.api.hubapi.com\n"]"#),
        ("SALESFORCE__SECRET_ID", "crm/salesforce"),
        ("SALESFORCE__SOBJECT", "Lead__c"),
        ("SALESFORCE__BATCH_SIZE", "150"),
        ("STATE__TABLE", "contact-sync"),
        ("LOG__AUDIT", "off"),
        ("PIPELINE__DRY_RUN", "true"),
    ] {
        let variable =
            Layer::from_variable(&format!("CONTACT_SYNC__{key}"), &format!(" {value} \r\n"));
        let layers = [base.clone(), variable.expect("a variable")];
        assert_eq!(
            load(Preset::Production, &layers, &DESTINATIONS).as_ref(),
            Ok(&expected),
            "{key}"
        );
    }
}

#[test]
fn blanks_and_line_ends_around_a_variable_are_removed() {
    let read = |variables: &[(&str, &str)]| {
        Environment::from_variables(
            variables
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
    };
    let found = read(&[
        ("CONTACT_SYNC_PRESET", " test\n"),
        ("CONTACT_SYNC_CONFIG", " ssm: /contact-sync/settings \n"),
    ]);
    let found = found.expect("good variables");
    assert_eq!(found.preset, Preset::Test);
    assert_eq!(
        found.document,
        Some(DocumentSource::Parameter(
            "/contact-sync/settings".to_owned()
        ))
    );
    assert_eq!(
        read(&[("CONTACT_SYNC_CONFIG", " \n")])
            .expect("unset")
            .document,
        None
    );
    assert!(read(&[("CONTACT_SYNC_CONFIG", "ssm: \n")]).is_err());
}

#[test]
fn two_values_in_one_field_are_refused() {
    let own = "taken by the contact's own values";
    for (document, by) in [
        (
            "[salesforce]\nversion_field = \"Source_Id__c\"",
            "taken by `salesforce.external_id_field`",
        ),
        (
            "[salesforce]\nversion_field = \"source_id__C\"",
            "taken by `salesforce.external_id_field`",
        ),
        ("[salesforce]\nversion_field = \"LastName\"", own),
        ("[salesforce]\nexternal_id_field = \"Id\"", own),
        (
            "[hubspot]\nversion_property = \"source_id\"",
            "taken by `hubspot.id_property`",
        ),
        (
            "[hubspot]\ntype_property = \"Source_id\"",
            "taken by `hubspot.id_property`",
        ),
        (
            "[hubspot]\ntype_property = \"kind\"\nversion_property = \"kind\"",
            "taken by `hubspot.type_property`",
        ),
        ("[hubspot]\ntype_property = \"lifecyclestage\"", own),
        ("[hubspot]\nid_property = \"email\"", own),
        ("[salesforce.attributes]\nx = \"attributes\"", own),
        ("[salesforce.attributes]\nx = \"Id\"", own),
        ("[salesforce.attributes]\nx = \"LastName\"", own),
        ("[salesforce.attributes]\nx = \"lastname\"", own),
        ("[salesforce.attributes]\nx = \"Status\"", own),
        ("[hubspot.attributes]\nx = \"lifecyclestage\"", own),
        ("[hubspot.attributes]\nx = \"LastName\"", own),
        ("[hubspot.attributes]\nx = \"zip\"", own),
        ("[hubspot.attributes]\nx = \"hs_object_id\"", own),
        (
            "[hubspot]\ntype_property = \"kind\"\nattributes = { x = \"kind\" }",
            "taken by `hubspot.type_property`",
        ),
    ] {
        let error = refused(document);
        assert!(
            error.contains(by) && error.ends_with("allowed: a field of its own"),
            "{document}\n{error}"
        );
    }
}

#[test]
fn a_guard_of_all_changes_needs_a_version_field_in_each_system_in_use() {
    let field = "[salesforce]\nversion_field = \"Version__c\"";
    let property = "[hubspot]\nversion_property = \"version\"";
    let leads = "[filter]\ntypes = [\"lead\"]";
    let of_hubspot = "[pipeline]\ndestinations = [\"hubspot\"]";
    for (document, key) in [
        (String::new(), Some("salesforce.version_field")),
        (field.to_owned(), Some("hubspot.version_property")),
        (property.to_owned(), Some("salesforce.version_field")),
        (format!("{field}\n{property}"), None),
        (format!("{leads}\n{field}"), None),
        (
            format!("{leads}\n{property}"),
            Some("salesforce.version_field"),
        ),
        (format!("{of_hubspot}\n{property}"), None),
        (
            format!("{of_hubspot}\n{field}"),
            Some("hubspot.version_property"),
        ),
    ] {
        let document = format!("[guard]\nmode = \"always\"\n{document}");
        let Some(key) = key else {
            assert!(with(Preset::Test, &document).is_ok(), "{document}");
            continue;
        };
        let error = refused(&document);
        let expected = format!(
            "`{key}` is empty; allowed: a version field \
             (because of `guard.mode`, which is `always`)"
        );
        assert!(error.contains(&expected), "{document}\n{error}");
    }
}

#[test]
fn systems_without_a_guard_in_force_are_reported() {
    let salesforce = "salesforce: salesforce.version_field is empty";
    let hubspot = "hubspot: hubspot.version_property is empty";
    let off = "[guard]\nmode = \"off\"";
    let property = "[hubspot]\nversion_property = \"version\"";
    for (document, expected) in [
        (String::new(), vec![salesforce, hubspot]),
        (property.to_owned(), vec![salesforce]),
        (
            off.to_owned(),
            vec![
                "salesforce: guard.mode is off",
                "hubspot: guard.mode is off",
            ],
        ),
        (
            format!("[filter]\ntypes = [\"customer\"]\n{property}"),
            vec![],
        ),
    ] {
        let settings = with(Preset::Test, &document).expect("allowed");
        let missing = contact_sync::settings::missing_guards(&settings);
        let found: Vec<String> = missing
            .into_iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect();
        assert_eq!(found, expected, "{document}");
    }
}

#[test]
fn a_syntax_error_is_refused_with_its_line() {
    let error = refused("[pipeline]\ndry_run = \n");
    assert!(
        error.starts_with("the file settings.toml, line 2: not valid TOML"),
        "{error}"
    );
}

#[test]
fn a_refusal_names_the_line_of_the_last_writer() {
    for (document, expected) in [
        (
            "\n\n[hubspot]\n# small\nbatch_size = 0",
            "line 5: `hubspot.batch_size` is 0; allowed: 1 to 100",
        ),
        (
            "[hubspot.retry]\n\nmax_attempts = 21",
            "line 3: `hubspot.retry.max_attempts` is 21; allowed: 1 to 20",
        ),
        (
            "hubspot.retry = {\nmax_attempts = 0 }",
            "line 2: `hubspot.retry.max_attempts` is 0; allowed: 1 to 20",
        ),
        (
            "\n[pipelin]\ndry_run = true",
            "line 2: `pipelin` is unknown; allowed here: ",
        ),
        (
            "[filter]\ntypes = [\n\"lead\",\n\"friend\"]",
            "line 4: `filter.types.1` is `friend`; allowed: ",
        ),
        (
            "\n[pipeline]\nfallback_budget_ms = 50",
            "line 3: `pipeline.deadline_margin_ms` is 100; allowed: 1 to 49 \
             (because of `pipeline.fallback_budget_ms`, which has to be greater)",
        ),
        (
            "[hubspot]\nallowed_hosts = [\"a.example\"]",
            "line 2: `hubspot.base_url` is refused: ",
        ),
    ] {
        let error = refused(document);
        let start = format!("the file settings.toml, {expected}");
        assert!(error.starts_with(&start), "{error}\nexpected {start}");
    }
}

#[test]
fn the_kitchen_sink_sets_every_key_to_another_value_than_its_default() {
    /// Tables whose keys are the user's.
    const NAMES_OF_USERS: [&str; 4] = ["attributes", "fields", "constants", "policy"];
    fn keys(prefix: &str, table: &toml::Table, found: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let path = format!("{prefix}{key}");
            // Tables whose keys the operator chooses.
            let is_free = NAMES_OF_USERS.contains(&key.as_str())
                || ["source.columns", "source.types"].contains(&&*path);
            match value {
                toml::Value::Table(inner) if is_free => {
                    found.push((path, format!("{inner}")));
                }
                toml::Value::Table(inner) => keys(&format!("{path}."), inner, found),
                leaf => found.push((path, leaf.to_string())),
            }
        }
    }
    let all = |text: &str| {
        let mut found = Vec::new();
        keys("", &toml::from_str(text).expect("TOML"), &mut found);
        found
    };
    let defaults = all(&defaults(&REGISTRY));
    let others = all(include_str!("../fixtures/kitchen-sink.toml"));
    assert_eq!(
        defaults.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        others.iter().map(|(key, _)| key).collect::<Vec<_>>()
    );
    for (default, other) in defaults.iter().zip(&others) {
        assert_ne!(default, other);
    }
}

#[test]
fn variables_override_the_document_and_are_named_in_errors() {
    let document = Layer::from_toml("the file a.toml", "[hubspot]\nbatch_size = 10").expect("TOML");
    let variable = |name, value| Layer::from_variable(name, value).expect("a variable");
    let load = |layers: &[Layer]| {
        load(Preset::Test, layers, &DESTINATIONS).map_err(|error| error.to_string())
    };
    let layers = [
        document,
        variable("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "20"),
        variable("CONTACT_SYNC__HUBSPOT__ALLOWED_HOSTS", r#"["127.0.0.1"]"#),
        variable("CONTACT_SYNC__HUBSPOT__BASE_URL", "http://127.0.0.1:8080"),
        variable(
            "CONTACT_SYNC__SALESFORCE__ATTRIBUTES",
            r#"{ Plan = "Plan__c" }"#,
        ),
    ];
    let settings = load(&layers).expect("allowed");
    let hubspot = settings
        .systems
        .of::<hubspot::Settings>()
        .expect("a section");
    assert_eq!(
        (hubspot.batch_size, hubspot.base_url.as_str()),
        (20, "http://127.0.0.1:8080")
    );
    assert_eq!(hubspot.allowed_hosts, ["127.0.0.1"]);
    let salesforce = settings
        .systems
        .of::<salesforce::Settings>()
        .expect("a section");
    assert_eq!(salesforce.attributes["Plan"], "Plan__c");
    let error =
        load(&[variable("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "500")]).expect_err("too large");
    assert!(
        error.starts_with(
            "the variable CONTACT_SYNC__HUBSPOT__BATCH_SIZE: `hubspot.batch_size` is 500"
        ),
        "{error}"
    );
}

#[test]
fn errors_of_all_sections_are_reported_in_the_order_of_their_names() {
    let error = refused(
        "[salesforce]\nbatch_size = true\n[hubspot]\nspeed = 1\n[filter]\ntypes = 3\n\
         [speeds]\na = 1\n[guard]\nmode = \"maybe\"",
    );
    let keys: Vec<&str> = error.split('`').skip(1).step_by(2).collect();
    let named = keys
        .iter()
        .filter(|key| error.contains(&format!(": `{key}` is ")));
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            &"filter.types",
            &"guard.mode",
            &"hubspot.speed",
            &"salesforce.batch_size",
            &"speeds"
        ],
        "{error}"
    );
    let sections = "salesforce, hubspot, dead_letter";
    assert!(error.contains(sections), "{error}");
}

#[test]
fn secrets_may_be_files_only_in_the_presets_for_developers() {
    let document = "[salesforce]\nsecret_id = \"file:secret.json\"\n\
        [dead_letter]\nqueue_url = \"https://sqs.example/q\"";
    assert!(with(Preset::Local, document).is_ok());
    let error = with(Preset::Production, document).expect_err("a file");
    assert!(error.contains("`salesforce.secret_id`"), "{error}");
}
