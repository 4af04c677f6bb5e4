//! Settings that the portal refuses: the records that fail, and the refusals that stop the
//! destination.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::adapters::hubspot::Settings;
use contact_sync::model::{Attribute, CallError, ContactChange, ContactType, Field};
use serde_json::json;
use testkit::listener::listen;
use testkit::mock_hubspot::Endpoint;
use testkit::portal::{Portal, person, words};
use testkit::server::Answer;

/// Returns changes of which every fourth has a plan, and every second is a vendor's.
fn people(count: usize) -> Vec<ContactChange> {
    let with = |number: usize| {
        let mut change = person(number);
        if number % 4 == 1 {
            change.contact.attributes.values =
                [("plan".into(), Attribute::Text("team".into()))].into();
        }
        change.contact.kind = Some(if number % 2 == 1 {
            ContactType::Vendor
        } else {
            ContactType::Customer
        });
        change
    };
    (0..count).map(with).collect()
}

fn plan(settings: &mut Settings) {
    settings
        .attributes
        .insert("plan".to_owned(), "plan_name".to_owned());
}

fn unknown_stage_of_vendors(settings: &mut Settings) {
    settings.lifecycle_stage.vendor = "nowhere".into();
}

pub async fn a_missing_property_of_every_record_stops_the_destination() {
    type Edit = fn(&mut Settings);
    let no_edit: Edit = |_| {};
    for (is_unique, edit, expected) in [
        (false, no_edit, "stop configuration VALIDATION_ERROR"),
        (
            true,
            |settings| settings.type_property = "contact_type".into(),
            "stop configuration PROPERTY_DOESNT_EXIST",
        ),
        (
            true,
            |settings| settings.version_property = "source_version".into(),
            "stop configuration PROPERTY_DOESNT_EXIST",
        ),
    ] {
        let portal = Portal::with(|behavior| behavior.is_unique = is_unique, edit).await;
        assert_eq!(
            words(&portal.upsert(&portal.people(1..=3)).await),
            [expected]
        );
        assert_eq!(
            portal.metrics.config_errors(),
            0,
            "the dispatcher reports it"
        );
        let alone = portal.upsert(&portal.people([1])).await;
        if is_unique {
            assert_eq!(
                words(&alone),
                ["failed PROPERTY_DOESNT_EXIST"],
                "one record is no evidence"
            );
            assert_eq!(portal.metrics.config_errors(), 1);
        } else {
            assert_eq!(words(&alone), [expected], "it is about the account");
        }
    }
    let no_such_stage = Portal::with(
        |_| {},
        |settings| settings.lifecycle_stage.customer = "custmer".into(),
    )
    .await;
    let reply = no_such_stage.upsert(&no_such_stage.people([1, 2])).await;
    assert_eq!(
        words(&reply),
        ["failed INVALID_OPTION"; 2],
        "the next record may be of another type"
    );
}

pub async fn an_unknown_stage_of_one_type_fails_only_the_records_of_that_type() {
    let portal = Portal::with(|_| {}, unknown_stage_of_vendors).await;
    let payloads: Vec<_> = people(4)
        .iter()
        .map(|change| portal.payload(change))
        .collect();
    let expected = [
        "delivered",
        "failed INVALID_OPTION",
        "delivered",
        "failed INVALID_OPTION",
    ];
    assert_eq!(words(&portal.upsert(&payloads).await), expected);
    assert_eq!(
        words(&portal.upsert(&payloads[1..2]).await),
        ["failed INVALID_OPTION"],
        "customers may follow"
    );
    assert_eq!(portal.metrics.config_errors(), 2);
}

pub async fn each_missing_property_is_reported_once() {
    let portal = Portal::with(
        |_| {},
        |settings| {
            plan(settings);
            unknown_stage_of_vendors(settings);
        },
    )
    .await;
    let mut people = people(2);
    people.swap(0, 1);
    people[1].contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
    people[0].contact.attributes.values.clear();
    let payloads: Vec<_> = people.iter().map(|change| portal.payload(change)).collect();
    let expected = ["failed INVALID_OPTION", "failed PROPERTY_DOESNT_EXIST"];
    assert_eq!(words(&portal.upsert(&payloads).await), expected);
    assert_eq!(portal.metrics.config_errors(), 2, "one log line for each");
}

/// Checks a portal that refuses the batch as a whole, in spite of the trace ids.
pub async fn a_batch_refused_for_a_property_is_resent_without_the_records_that_have_it() {
    for (edit, code) in [
        (plan as fn(&mut Settings), "PROPERTY_DOESNT_EXIST"),
        (unknown_stage_of_vendors, "INVALID_OPTION"),
    ] {
        let portal = Portal::with(|behavior| behavior.judges_as_one = true, edit).await;
        let payloads: Vec<_> = people(8)
            .iter()
            .map(|change| portal.payload(change))
            .collect();
        let has_property = |number: usize| {
            if code == "INVALID_OPTION" {
                number % 2 == 1
            } else {
                number % 4 == 1
            }
        };
        let word = |number| {
            if has_property(number) {
                format!("failed {code}")
            } else {
                format!("halved {code}")
            }
        };
        assert_eq!(
            words(&portal.upsert(&payloads).await),
            (0..8).map(word).collect::<Vec<_>>()
        );
        let others: Vec<_> = (0..8)
            .filter(|number| !has_property(*number))
            .map(|number| payloads[number].clone())
            .collect();
        assert_eq!(
            words(&portal.upsert(&others).await),
            vec!["delivered"; others.len()]
        );
        assert_eq!(
            words(&portal.upsert(&payloads[1..2]).await),
            [format!("failed {code}")],
            "alone"
        );
        assert_eq!(portal.metrics.config_errors(), 2);
        let all_with_property = [payloads[1].clone(), payloads[5].clone()];
        assert_eq!(
            words(&portal.upsert(&all_with_property).await),
            vec![format!("failed {code}"); 2]
        );
        portal.assert_polite();
    }
}

pub async fn a_refused_property_that_no_row_has_rejects_no_record() {
    let portal = Portal::with(|_| {}, plan).await;
    let errors = json!([{"code": "PROPERTY_DOESNT_EXIST", "in": "plan_name"}]);
    let error = json!({"category": "VALIDATION_ERROR", "errors": errors});
    for (numbers, expected) in [
        (1..=1, "failed PROPERTY_DOESNT_EXIST"),
        (1..=3, "refused PROPERTY_DOESNT_EXIST []"),
    ] {
        portal.mock.next(Answer::json(400, &error));
        assert_eq!(
            words(&portal.upsert(&portal.people(numbers)).await),
            [expected]
        );
    }
    assert_eq!(portal.mock.count(Endpoint::Upsert), 2);
}

pub async fn a_missing_property_of_the_mapping_fails_only_the_records_that_have_it() {
    for judges_as_one in [false, true] {
        let portal = Portal::with(|behavior| behavior.judges_as_one = judges_as_one, |_| {}).await;
        portal.mock.remove_property("mobilephone");
        let mut changes = [person(1), person(2), person(3)];
        changes[1].contact.mobile_phone = Field::Value("+44 20 7946 0001".into());
        let payloads = changes.each_ref().map(|change| portal.payload(change));
        let logs = listen();
        let other = if judges_as_one {
            "halved PROPERTY_DOESNT_EXIST"
        } else {
            "delivered"
        };
        assert_eq!(
            words(&portal.upsert(&payloads).await),
            [other, "failed PROPERTY_DOESNT_EXIST", other]
        );
        assert_eq!(
            words(&portal.upsert(&payloads[1..2]).await),
            ["failed PROPERTY_DOESNT_EXIST"],
            "alone"
        );
        assert_eq!(words(&portal.upsert(&payloads[..1]).await), ["delivered"]);
        let errors = logs.at("ERROR");
        assert_eq!(
            (errors.len(), portal.metrics.config_errors()),
            (2, 2),
            "{errors:?}"
        );
        assert!(
            errors
                .iter()
                .all(|line| line.contains("`mobilephone`") && line.contains("records=1")),
            "{errors:?}"
        );
    }
}

pub async fn a_version_property_of_a_wrong_type_stops_only_where_several_records_meet_it() {
    let versioned = |settings: &mut Settings| settings.version_property = "source_version".into();
    let hidden = json!([{"isValid": false, "error": "INVALID_LONG", "name": "source_version"}]);
    let message = format!("Property values were not valid: {hidden}");
    let error = json!({"category": "VALIDATION_ERROR", "message": message});
    for (count, refused, expected) in [
        (1, 1, vec!["failed INVALID_LONG"]),
        (3, 1, vec!["failed INVALID_LONG", "delivered", "delivered"]),
        (3, 3, vec!["stop configuration INVALID_LONG"]),
    ] {
        let portal = Portal::with(|_| {}, versioned).await;
        portal.mock.create_property("source_version");
        for number in 1..=refused {
            portal
                .mock
                .fail_row(&format!("C-{number}"), error.clone(), 1);
        }
        let reply = portal.upsert(&portal.people(1..=count)).await;
        assert_eq!(words(&reply), expected);
        if let Err(CallError::Stop(stop)) = &reply {
            assert!(
                stop.remedy.contains("hubspot.version_property"),
                "{}",
                stop.remedy
            );
        }
        let portal = Portal::with(|_| {}, versioned).await;
        portal.mock.next(Answer::json(400, &error));
        let whole = if count == 1 {
            "failed INVALID_LONG"
        } else {
            "stop configuration INVALID_LONG"
        };
        assert_eq!(
            words(&portal.upsert(&portal.people(1..=count)).await),
            [whole],
            "as a whole"
        );
    }
}

pub async fn a_missing_right_fails_only_the_records_that_need_it() {
    let lacking = |scope: &str| {
        json!({"status": "error", "category": "MISSING_SCOPES",
            "errors": [{"context": {"requiredGranularScopes": [scope]}}]})
    };
    let portal = Portal::new().await;
    let logs = listen();
    let sensitive = "crm.objects.contacts.sensitive.write";
    portal.mock.fail_row("C-1", lacking(sensitive), 1);
    assert_eq!(
        words(&portal.upsert(&portal.people([1, 2])).await),
        ["failed MISSING_SCOPES", "delivered"]
    );
    portal.mock.next(Answer::json(403, &lacking(sensitive)));
    assert_eq!(
        words(&portal.upsert(&portal.people([1, 2])).await),
        ["refused MISSING_SCOPES []"]
    );
    portal.mock.next(Answer::json(403, &lacking(sensitive)));
    assert_eq!(
        words(&portal.upsert(&portal.people([1])).await),
        ["failed MISSING_SCOPES"]
    );
    assert!(
        logs.at("ERROR").iter().all(|line| line.contains(sensitive)),
        "{:?}",
        logs.lines()
    );
    assert_eq!(portal.metrics.config_errors(), 2);
    portal
        .mock
        .next(Answer::json(403, &lacking("crm.objects.contacts.write")));
    assert_eq!(
        words(&portal.upsert(&portal.people([1])).await),
        ["stop configuration MISSING_SCOPES"]
    );
}

pub async fn a_refused_value_of_an_attribute_rejects_its_record() {
    let portal = Portal::with(|_| {}, plan).await;
    portal.mock.create_property("plan_name");
    let payloads: Vec<_> = people(3)
        .iter()
        .map(|change| portal.payload(change))
        .collect();
    let hidden = json!([{"isValid": false, "error": "INVALID_OPTION", "name": "plan_name"}]);
    let message = format!("Property values were not valid: {hidden}");
    portal.mock.fail_row(
        "C-1",
        json!({"category": "VALIDATION_ERROR", "message": message}),
        1,
    );
    assert_eq!(
        words(&portal.upsert(&payloads).await),
        ["delivered", "rejected INVALID_OPTION", "delivered"]
    );
    assert_eq!(words(&portal.upsert(&payloads).await), ["delivered"; 3]);
    let held = portal
        .mock
        .contact("C-1")
        .and_then(|contact| contact.get("plan_name").cloned());
    assert_eq!(held.as_deref(), Some("team"));
}
