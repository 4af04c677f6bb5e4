//! Other fields and other objects.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::stream::{failures, invoke};

use super::Place;

async fn org(sobject: &str, fields: &[&str]) -> Mocks {
    let sobject = sobject.to_owned();
    let fields: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
    let behavior = |behavior: &mut testkit::mock_salesforce::Behavior| {
        behavior.sobject = sobject;
        behavior.custom_fields.extend(fields);
    };
    Mocks::start_with(behavior, |_| {}).await
}

async fn deliver(mocks: &Mocks, document: &str, changes: &[Value]) {
    let handler = mocks.handler(Preset::Test, document);
    assert!(failures(&invoke(&handler, &batch(changes), "r").await).is_empty());
    assert_eq!(mocks.violations(), [""; 0]);
}

fn whole(id: &str) -> Value {
    let fields = json!({
        "email": "a@example.com", "first_name": "Ada", "phone": "1", "mobile_phone": "2",
        "website": "https://example.com", "lead_source": "Web", "status": "Open",
        "address": {"street": "1 Road", "city": "London", "country": "UK"},
    });
    Place::Salesforce.change("create", id, &fields)
}

#[tokio::test]
async fn a_salesforce_contact_has_an_address_of_its_own_and_no_company() {
    let mocks = org("Contact", &[]).await;
    let document = "[salesforce]\nsobject = \"Contact\"";
    let mut nameless = Place::Salesforce.change("create", "c-2", &json!({}));
    nameless["contact"]["last_name"] = Value::Null;
    let gone = Place::Salesforce.change("create", "c-3", &json!({}));
    deliver(&mocks, document, &[whole("c-1"), nameless, gone]).await;
    let contact = mocks.salesforce.lead("c-1").expect("a contact");
    let names: Vec<&str> = contact.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "Email",
            "FirstName",
            "LastName",
            "LeadSource",
            "MailingCity",
            "MailingCountry",
            "MailingStreet",
            "MobilePhone",
            "Phone",
            "Source_Id__c",
        ]
    );
    let nameless = mocks.salesforce.lead("c-2").expect("a contact");
    assert_eq!(nameless["LastName"], "[not provided]");
    let delete = Place::Salesforce.change("delete", "c-3", &json!({}));
    deliver(&mocks, document, &[delete]).await;
    assert!(mocks.salesforce.lead("c-3").is_none());
}

#[tokio::test]
async fn any_object_is_written_through_fields_constants_and_required() {
    let fields = [
        "Name__c",
        "Phone__c",
        "Region__c",
        "Channel__c",
        "Synced__c",
        "Rank__c",
    ];
    let mocks = org("Person__c", &fields).await;
    let logs = Logs::listen();
    let document = "[salesforce]\nsobject = \"Person__c\"\nrequired = [\"Region__c\"]\n\
        [salesforce.fields]\nlast_name = \"Name__c\"\nphone = \"Phone__c\"\n\
        [salesforce.constants]\nChannel__c = \"Product\"\nSynced__c = true\nRank__c = 7\n\
        [salesforce.policy]\nChannel__c = \"create\"";
    deliver(&mocks, document, &[whole("c-1")]).await;
    let expected = json!({
        "Source_Id__c": "c-1", "Name__c": "Arlo", "Phone__c": "1", "Region__c": "[not provided]",
        "Channel__c": "Product", "Synced__c": true, "Rank__c": 7,
    });
    assert_eq!(
        Value::from(mocks.salesforce.lead("c-1").expect("a record")),
        expected
    );
    mocks.salesforce.edit(
        "c-1",
        &json!({"Channel__c": "Partner", "Rank__c": 1, "Region__c": "EU"}),
    );
    deliver(&mocks, document, &[whole("c-1")]).await;
    let record = mocks.salesforce.lead("c-1").expect("a record");
    assert_eq!(
        [
            &record["Channel__c"],
            &record["Rank__c"],
            &record["Region__c"]
        ],
        [&json!("Partner"), &json!(7), &json!("EU")]
    );
    assert_eq!(logs.fates(), ["delivered"; 2]);
}

#[tokio::test]
async fn a_field_is_sent_to_another_one_or_not_at_all() {
    let mocks = org("Lead", &["Work_Phone__c"]).await;
    mocks.hubspot.create_property("hs_lead_status");
    let document = "[salesforce.fields]\nphone = \"Work_Phone__c\"\nwebsite = \"\"\nstatus = \"\"\n\
        [hubspot.fields]\nstatus = \"hs_lead_status\"\nwebsite = \"\"\n\
        [hubspot.constants]\nplan = \"team\"";
    let mut customer = whole("c-2");
    customer["contact"]["type"] = "customer".into();
    customer["contact"]["email"] = "b@example.com".into();
    deliver(&mocks, document, &[whole("c-1"), customer]).await;
    let lead = mocks.salesforce.lead("c-1").expect("a lead");
    assert_eq!(lead["Work_Phone__c"], "1");
    for name in ["Phone", "Website", "Status"] {
        assert!(!lead.contains_key(name), "{name}");
    }
    let contact = mocks.hubspot.contact("c-2").expect("a contact");
    assert_eq!(
        (contact["hs_lead_status"].as_str(), contact["plan"].as_str()),
        ("Open", "team")
    );
    assert!(!contact.contains_key("website"));
}
