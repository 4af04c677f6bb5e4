//! What is the settings' fault or the org's, and no record's.

use contact_sync::contact::ContactType;

use crate::org::{Org, words};
use crate::support::mock_salesforce::row_error;
use crate::support::words::newcomer;

#[tokio::test]
async fn the_same_error_of_settings_on_every_row_stops_the_destination() {
    let plan = |settings: &mut contact_sync::adapters::salesforce::Settings| {
        settings.attributes.insert("plan".to_owned(), "Nowhere__c".to_owned());
    };
    let org = Org::with(|_| {}, plan).await;
    let changes: Vec<_> = (1..=3)
        .map(|number| {
            let mut change = newcomer(number, ContactType::Lead);
            let value = contact_sync::contact::Attribute::Bool(true);
            change.contact.attributes.values = [("plan".into(), value)].into();
            change
        })
        .collect();
    let mut payloads: Vec<_> = changes.iter().map(|change| org.payload(change)).collect();
    assert_eq!(words(&org.upsert(&payloads).await), ["stop configuration INVALID_FIELD"]);
    payloads[0] = org.payload(&newcomer(1, ContactType::Lead));
    let reply = words(&org.upsert(&payloads).await);
    assert_eq!(reply, ["delivered", "rejected INVALID_FIELD", "rejected INVALID_FIELD"], "some rows: theirs alone");
    for (error, cause) in [
        (
            row_error("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Phone", &["Phone"]),
            "configuration",
        ),
        (row_error("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", &[]), "configuration"),
        (
            row_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Lead", &[]),
            "configuration",
        ),
        (row_error("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", &[]), "quota"),
    ] {
        let org = Org::new().await;
        (1..=3).for_each(|number| org.mock.fail_row(&format!("C-{number}"), error.clone(), 1));
        let code = error["statusCode"].as_str().unwrap_or_default();
        assert_eq!(words(&org.upsert(&org.leads(1..=3)).await), [format!("stop {cause} {code}")]);
        assert_eq!(org.mock.leads().len(), 0);
    }
}

#[tokio::test]
async fn settings_that_name_what_the_org_lacks_stop_the_destination() {
    type Edit = fn(&mut contact_sync::adapters::salesforce::Settings);
    for (edit, expected) in [
        ((|settings| settings.sobject = "Nothing__c".to_owned()) as Edit, "stop configuration NOT_FOUND"),
        (|settings| settings.external_id_field = "Other__c".to_owned(), "stop configuration NOT_FOUND"),
        (|settings| settings.api_version = "v30.0".to_owned(), "stop configuration UNSUPPORTED_API_VERSION"),
        (|settings| settings.api_version = "v45.0".to_owned(), "stop configuration NOT_FOUND"),
    ] {
        let org = Org::with(|_| {}, edit).await;
        let reply = org.upsert(&org.leads([1, 2])).await;
        assert_eq!(words(&reply), [expected]);
        assert!(crate::org::remedy(&reply).contains("External ID"));
    }
}
