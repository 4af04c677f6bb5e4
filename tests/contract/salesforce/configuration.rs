//! Faults of the settings or of the org, which reject no record.

use contact_sync::model::ContactType;
use testkit::mock_salesforce::{Endpoint, row_error};
use testkit::org::{Org, words};
use testkit::server::Answer;
use testkit::words::newcomer;

#[tokio::test]
async fn a_missing_field_of_an_attribute_fails_only_the_records_that_have_it() {
    let plan = |settings: &mut contact_sync::adapters::salesforce::Settings| {
        settings
            .attributes
            .insert("plan".to_owned(), "Nowhere__c".to_owned());
    };
    let org = Org::with(|_| {}, plan).await;
    let changes: Vec<_> = (1..=3)
        .map(|number| {
            let mut change = newcomer(number, ContactType::Lead);
            let value = contact_sync::model::Attribute::Bool(true);
            change.contact.attributes.values = [("plan".into(), value)].into();
            change
        })
        .collect();
    let mut payloads: Vec<_> = changes.iter().map(|change| org.payload(change)).collect();
    assert_eq!(
        words(&org.upsert(&payloads).await),
        ["failed INVALID_FIELD"; 3],
        "the next record may lack the field"
    );
    payloads[0] = org.payload(&newcomer(1, ContactType::Lead));
    let reply = words(&org.upsert(&payloads).await);
    assert_eq!(
        reply,
        ["delivered", "failed INVALID_FIELD", "failed INVALID_FIELD"],
        "only the records that have it"
    );
    assert_eq!(org.metrics.config_errors(), 2);
}

#[tokio::test]
async fn an_error_about_the_account_in_every_row_stops_the_destination() {
    for (error, cause) in [
        (
            row_error("INVALID_TYPE", "sObject type 'Lead' is not supported", &[]),
            "configuration",
        ),
        (
            row_error(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "entity type cannot be inserted: Lead",
                &[],
            ),
            "configuration",
        ),
        (
            row_error("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", &[]),
            "quota",
        ),
    ] {
        let org = Org::new().await;
        for number in 1..=3 {
            org.mock.fail_row(&format!("C-{number}"), error.clone(), 1);
        }
        let code = error["statusCode"].as_str().unwrap_or_default();
        assert_eq!(
            words(&org.upsert(&org.leads(1..=3)).await),
            [format!("stop {cause} {code}")]
        );
        assert_eq!(org.mock.leads().len(), 0);
    }
}

/// Checks both cases: where no row was written, other calls show whether the right is missing for
/// these records or for all.
#[tokio::test]
async fn a_row_that_lacks_a_right_is_rejected_where_another_is_written_and_isolated_where_none_is()
{
    let not_ours = row_error(
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "insufficient access rights on object id",
        &[],
    );
    let isolated = "isolated INSUFFICIENT_ACCESS_OR_READONLY";
    let stopped = "stop configuration INSUFFICIENT_ACCESS_OR_READONLY";
    for (may_write, neighbour, expected) in [
        (true, None, vec![isolated]),
        (
            true,
            Some("good"),
            vec!["rejected INSUFFICIENT_ACCESS_OR_READONLY", "delivered"],
        ),
        (
            true,
            Some("too long"),
            vec![isolated, "rejected STRING_TOO_LONG"],
        ),
        (true, Some("not ours"), vec![isolated, isolated]),
        (false, None, vec![stopped]),
        (false, Some("too long"), vec![stopped]),
        (false, Some("not ours"), vec![stopped]),
    ] {
        let org = Org::with(|behavior| behavior.may_write = may_write, |_| {}).await;
        org.mock.fail_row("C-1", not_ours.clone(), 1);
        match neighbour {
            Some("too long") => org
                .mock
                .fail_row("C-2", row_error("STRING_TOO_LONG", "", &[]), 1),
            Some("not ours") => org.mock.fail_row("C-2", not_ours.clone(), 1),
            _ => {}
        }
        let numbers = if neighbour.is_some() { 1..=2 } else { 1..=1 };
        assert_eq!(
            words(&org.upsert(&org.leads(numbers)).await),
            expected,
            "{may_write} {neighbour:?}"
        );
        org.assert_polite();
    }
    let org = Org::with(|behavior| behavior.may_write = false, |_| {}).await;
    let expected = ["stop configuration CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"];
    assert_eq!(
        words(&org.upsert(&org.leads([1])).await),
        expected,
        "the message itself names the object"
    );
}

#[tokio::test]
async fn rights_that_cannot_be_read_reject_no_record() {
    let org = Org::new().await;
    org.mock.fail_row(
        "C-1",
        row_error("INSUFFICIENT_ACCESS_OR_READONLY", "", &[]),
        1,
    );
    org.mock.next_of(Endpoint::Describe, Answer::empty(503));
    assert_eq!(
        words(&org.upsert(&org.leads([1])).await),
        ["retry HTTP_503"]
    );
    assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
}

#[tokio::test]
async fn settings_that_name_a_missing_resource_stop_the_destination() {
    type Edit = fn(&mut contact_sync::adapters::salesforce::Settings);
    for (edit, code, part) in [
        (
            (|settings| settings.sobject = "Nothing__c".to_owned()) as Edit,
            "NOT_FOUND",
            "`salesforce.sobject`",
        ),
        (
            |settings| settings.external_id_field = "Other__c".to_owned(),
            "NOT_FOUND",
            "`salesforce.external_id_field`",
        ),
        (
            |settings| settings.api_version = "v30.0".to_owned(),
            "UNSUPPORTED_API_VERSION",
            "`salesforce.api_version`",
        ),
        (
            |settings| settings.api_version = "v45.0".to_owned(),
            "NOT_FOUND",
            "`salesforce.api_version`",
        ),
    ] {
        let org = Org::with(|_| {}, edit).await;
        let reply = org.upsert(&org.leads([1, 2])).await;
        assert_eq!(words(&reply), [format!("stop configuration {code}")]);
        assert!(testkit::org::remedy(&reply).contains(part), "{part}");
    }
}
