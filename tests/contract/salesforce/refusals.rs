//! Refusals of one record, one value or one setting, behind the real dispatcher: they affect no
//! other record.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::dispatch::ApiDispatcher;
use contact_sync::model::{Attribute, ContactChange, ContactId, ContactType, Field, Operation};
use serde_json::json;
use testkit::dispatching::{count, dispatcher_of, fates, fates_by};
use testkit::listener::listen;
use testkit::mock_salesforce::{Endpoint, refusal, row_error};
use testkit::org::{Org, words};
use testkit::server::Answer;
use testkit::words::{newcomer, newcomers};

fn dispatcher(org: &Org) -> ApiDispatcher {
    let adapter: Arc<dyn Adapter> = Arc::clone(&org.salesforce) as _;
    dispatcher_of(&adapter)
}

/// Returns the fates of one invocation.
async fn fates_in(org: &Org, dispatcher: &ApiDispatcher, changes: &[ContactChange]) -> Vec<String> {
    fates_by(dispatcher, &org.metrics, changes, Duration::from_mins(1)).await
}

fn with_mobile(mut change: ContactChange) -> ContactChange {
    change.contact.mobile_phone = Field::Value("+44 20 7946 0001".into());
    change
}

fn with_news(mut change: ContactChange, news: Attribute) -> ContactChange {
    change.contact.attributes.values = [("news".into(), news)].into();
    change
}

#[tokio::test]
async fn a_record_with_a_closed_field_fails_without_affecting_others() {
    let org = Org::with(
        |behavior| behavior.read_only_fields = vec!["MobilePhone".to_owned()],
        |_| {},
    )
    .await;
    let dispatcher = dispatcher(&org);
    let logs = listen();
    let bad = with_mobile(newcomer(0, ContactType::Lead));
    for round in 1..=10 {
        let ended = fates_in(&org, &dispatcher, std::slice::from_ref(&bad)).await;
        assert_eq!(
            ended,
            ["failed INVALID_FIELD_FOR_INSERT_UPDATE"],
            "nothing is rejected for it"
        );
        let good = newcomer(round, ContactType::Lead);
        assert_eq!(
            fates_in(&org, &dispatcher, &[good]).await,
            ["delivered"],
            "round {round}"
        );
    }
    let several = [bad.clone(), with_mobile(newcomer(20, ContactType::Lead))];
    fates_in(&org, &dispatcher, &several).await;
    assert_eq!(
        fates_in(&org, &dispatcher, &[newcomer(21, ContactType::Lead)]).await,
        ["delivered"]
    );
    let errors = logs.at("ERROR");
    assert_eq!(
        (errors.len(), org.metrics.config_errors()),
        (11, 11),
        "a log line for each call, and no stop: {errors:?}"
    );
    assert!(
        errors
            .iter()
            .all(|line| line.contains("the field MobilePhone of Lead")),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_closed_field_that_every_record_has_stops_the_destination_once_two_were_refused_for_it() {
    for (field, stops) in [
        ("Source_Id__c", true),
        ("Version__c", true),
        ("Company", false),
    ] {
        let closed = |behavior: &mut testkit::mock_salesforce::Behavior| {
            behavior.read_only_fields = vec![field.to_owned()];
        };
        let org = Org::with(closed, |settings| {
            settings.version_field = "Version__c".to_owned();
        })
        .await;
        let code = "INVALID_FIELD_FOR_INSERT_UPDATE";
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            [format!("failed {code}")],
            "{field}"
        );
        let several = words(&org.upsert(&org.leads([1, 2])).await);
        let expected = if stops {
            vec![format!("stop configuration {code}")]
        } else {
            vec![format!("failed {code}"); 2]
        };
        assert_eq!(several, expected, "{field}");
    }
}

#[tokio::test]
async fn a_call_refused_for_a_field_fails_the_records_that_have_it_and_delivers_the_others() {
    let org = Org::new().await;
    let dispatcher = dispatcher(&org);
    let mut changes = newcomers(6);
    changes[2] = with_mobile(changes[2].clone());
    let message = "No such column 'MobilePhone' on sobject of type Lead";
    org.mock
        .next_of(Endpoint::Upsert, refusal(400, "INVALID_FIELD", message));
    let logs = listen();
    let ended = fates_in(&org, &dispatcher, &changes).await;
    assert_eq!(
        count(&ended),
        fates([("delivered", 5), ("failed INVALID_FIELD", 1)])
    );
    assert_eq!(ended[2], "failed INVALID_FIELD");
    assert_eq!(
        (logs.at("ERROR").len(), org.metrics.config_errors()),
        (1, 1)
    );
    let alone = org.payload(&changes[2]);
    org.mock
        .next_of(Endpoint::Upsert, refusal(400, "INVALID_FIELD", message));
    assert_eq!(words(&org.upsert(&[alone]).await), ["failed INVALID_FIELD"]);
    org.mock.next_of(
        Endpoint::Upsert,
        refusal(400, "INVALID_FIELD", "No such column 'Source_Id__c'"),
    );
    assert_eq!(
        words(&org.upsert(&org.leads([1, 2])).await),
        ["stop configuration INVALID_FIELD"]
    );
}

#[tokio::test]
async fn a_refused_status_of_the_settings_rejects_no_record_and_is_reported() {
    let statuses = Some(
        ["Neu", "In Arbeit", "Geschlossen"]
            .map(str::to_owned)
            .into(),
    );
    let org = Org::with(
        |behavior| behavior.statuses = statuses,
        |settings| settings.status.lead = "Open - Not Contacted".to_owned(),
    )
    .await;
    let dispatcher = dispatcher(&org);
    let picklist = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
    let logs = listen();
    let mut changes = newcomers(23);
    changes[20].contact.status = Field::Value("Of the event".into());
    changes[21].contact.status = Field::Value("Neu".into());
    org.mock
        .put("C-22", &json!({"LastName": "x", "Company": "y"}));
    changes[22].operation = Operation::Update;
    let ended = fates_in(&org, &dispatcher, &changes).await;
    let failed = format!("failed {picklist}");
    assert_eq!(ended[..20], vec![failed; 20]);
    assert_eq!(
        ended[20..],
        [
            format!("rejected {picklist}"),
            "delivered".to_owned(),
            "delivered".to_owned()
        ]
    );
    let errors = logs.at("ERROR");
    assert_eq!(
        (errors.len(), org.metrics.config_errors()),
        (1, 1),
        "{errors:?}"
    );
    assert!(
        errors[0].contains("salesforce.status.lead") && errors[0].contains("records=20"),
        "{errors:?}"
    );
    let all = fates_in(&org, &dispatcher, &newcomers(20)).await;
    assert_eq!(count(&all), fates([(&*format!("failed {picklist}"), 20)]));
    assert_eq!(
        fates_in(&org, &dispatcher, &changes[21..22]).await,
        ["delivered"],
        "nothing is stopped"
    );
}

#[tokio::test]
async fn a_version_field_of_another_type_rejects_no_record() {
    let org = Org::with(
        |_| {},
        |settings| settings.version_field = "Version__c".to_owned(),
    )
    .await;
    let dispatcher = dispatcher(&org);
    for code in [
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "NUMBER_OUTSIDE_VALID_RANGE",
    ] {
        for number in 0..3 {
            org.mock.fail_row(
                &format!("C-{number}"),
                row_error(code, "", &["Version__c"]),
                1,
            );
        }
        let reply = org.upsert(&org.leads([0, 1, 2])).await;
        assert_eq!(words(&reply), [format!("stop configuration {code}")]);
        assert!(testkit::org::remedy(&reply).contains("`salesforce.version_field`"));
    }
    let column = |body: usize| {
        format!(
            "Cannot deserialize instance of date from VALUE_NUMBER_INT value 10 or request may be \
             missing a required field at [line:1, column:{body}]"
        )
    };
    let record = org.leads([1])[0]
        .body
        .as_ref()
        .map_or(0, |body| body.get().find(":10,").expect("a version"));
    let at = r#"{"allOrNone":false,"records":["#.len() + record + 2;
    org.mock.next_of(
        Endpoint::Upsert,
        refusal(400, "JSON_PARSER_ERROR", &column(at)),
    );
    assert_eq!(
        words(&org.upsert(&org.leads([1, 2])).await),
        ["stop configuration JSON_PARSER_ERROR"]
    );
    org.mock.next_of(
        Endpoint::Upsert,
        refusal(400, "JSON_PARSER_ERROR", &column(at)),
    );
    let ended = fates_in(&org, &dispatcher, &[newcomer(1, ContactType::Lead)]).await;
    assert_eq!(
        ended,
        ["failed JSON_PARSER_ERROR"],
        "one record alone stops no destination"
    );
}

#[tokio::test]
async fn a_lock_within_a_trigger_delays_its_record_and_rejects_none() {
    let org = Org::new().await;
    let message = "LeadTrigger: execution of BeforeUpdate caused by: System.QueryException: Record \
        Currently Unavailable: (being modified by another user)";
    org.mock.fail_row(
        "C-3",
        row_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]),
        2,
    );
    let ended = fates_in(&org, &dispatcher(&org), &newcomers(6)).await;
    assert_eq!(count(&ended), fates([("delivered", 6)]));
    assert_eq!(org.mock.leads().len(), 6);
}

#[tokio::test]
async fn values_of_a_wrong_type_are_found_in_proportionally_many_calls() {
    let with_checkbox = |behavior: &mut testkit::mock_salesforce::Behavior| {
        behavior.checkboxes = vec!["News__c".to_owned()];
        behavior.custom_fields.push("News__c".to_owned());
    };
    let texts = ["yes", "nö", "🚀", "maybe"];
    for (every, kinds, most_calls) in [(1, 1, 1), (1, 4, 20), (10, 1, 5), (10, 4, 30), (199, 2, 5)]
    {
        let org = Org::with(with_checkbox, |settings| {
            drop(settings.attributes.insert("news".into(), "News__c".into()));
        })
        .await;
        let changes: Vec<_> = newcomers(200)
            .into_iter()
            .enumerate()
            .map(|(number, change)| match number % every {
                0 => with_news(
                    change,
                    Attribute::Text(texts[number / every % kinds].into()),
                ),
                _ => with_news(change, Attribute::Bool(true)),
            })
            .collect();
        let ended = fates_in(&org, &dispatcher(&org), &changes).await;
        let bad = 200_usize.div_ceil(every);
        let mut expected = fates([("rejected JSON_PARSER_ERROR", bad)]);
        expected.extend((bad < 200).then(|| ("delivered".to_owned(), 200 - bad)));
        assert_eq!(count(&ended), expected, "one in {every} of {kinds} kinds");
        let calls = org.mock.count(Endpoint::Upsert);
        assert!(
            calls <= most_calls,
            "one in {every} of {kinds} kinds: {calls} calls"
        );
    }
}

#[tokio::test]
async fn a_look_up_that_is_too_long_is_split_and_deletes_every_record() {
    for answer in [
        Answer::empty(431),
        Answer::html(414, "URI too long"),
        Answer::empty(413),
    ] {
        let status = answer.status;
        let org = Org::with(
            |behavior| behavior.longest_uri = Some((3_500, answer)),
            |_| {},
        )
        .await;
        let mut changes = newcomers(80);
        for (number, change) in changes.iter_mut().enumerate() {
            let id = format!(
                "{number}-{}",
                "x".repeat(if number == 7 { 250 } else { 120 })
            );
            change.contact.id = ContactId::new(&id).expect("valid");
        }
        let dispatcher = dispatcher(&org);
        fates_in(&org, &dispatcher, &changes).await;
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
        let ended = fates_in(&org, &dispatcher, &changes).await;
        assert_eq!(count(&ended), fates([("delivered", 80)]), "{status}");
        assert!(org.mock.leads().is_empty());
    }
}

#[tokio::test]
async fn an_id_that_is_too_long_for_any_look_up_rejects_its_record_only() {
    let org = Org::with(
        |behavior| behavior.longest_uri = Some((300, Answer::empty(431))),
        |_| {},
    )
    .await;
    let dispatcher = dispatcher(&org);
    let long = ContactId::new(&"x".repeat(255)).expect("valid");
    let mut fate = String::new();
    for _ in 0..30 {
        let mut changes = newcomers(40);
        fates_in(&org, &dispatcher, &changes).await;
        changes[1].contact.id = long.clone();
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
        let mut ended = fates_in(&org, &dispatcher, &changes).await;
        fate = ended.remove(1);
        assert_eq!(count(&ended), fates([("delivered", 39)]));
        if fate != "failed HTTP_431" {
            break;
        }
    }
    assert_eq!(fate, "rejected HTTP_431");
}

#[tokio::test]
async fn a_page_of_the_network_is_no_response_of_salesforce_s() {
    let page = "<html><head><title>403 Forbidden</title></head></html>";
    let gateway = json!({"error": "forbidden", "message": "no"});
    for status in [
        300, 400, 401, 403, 404, 405, 409, 410, 412, 413, 414, 415, 428, 431,
    ] {
        for answer in [
            Answer::html(status, page),
            Answer::empty(status),
            Answer::json(status, &gateway),
        ] {
            let org = Org::new().await;
            let dispatcher = dispatcher(&org);
            fates_in(&org, &dispatcher, &newcomers(1)).await;
            let logs = listen();
            org.mock.next_of(Endpoint::Upsert, answer.clone());
            let ended = fates_in(&org, &dispatcher, &newcomers(5)).await;
            assert_eq!(count(&ended), fates([("delivered", 5)]), "{answer:?}");
            assert_eq!(
                (logs.at("ERROR"), org.metrics.config_errors()),
                (Vec::<String>::new(), 0),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_row_without_a_list_belongs_to_the_single_record() {
    let org = Org::new().await;
    org.upsert(&org.leads([0])).await.expect("a token");
    let failed = json!({"success": false, "errors": [row_error("STRING_TOO_LONG", "", &[])]});
    for (row, expected) in [
        (
            json!({"id": "00Q1", "success": true, "errors": []}),
            "delivered",
        ),
        (failed, "rejected STRING_TOO_LONG"),
        (json!({"hasErrors": false}), "retry UNREADABLE_ANSWER"),
    ] {
        org.mock.next(Answer::json(200, &row));
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            [expected],
            "{row}"
        );
        org.mock.next(Answer::json(200, &row));
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2])).await),
            ["retry UNREADABLE_ANSWER"],
            "{row}"
        );
    }
}
