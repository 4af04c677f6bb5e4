//! Writing contacts, and what becomes of each of them.

use contact_sync::adapters::{Adapter, Outcome};
use contact_sync::contact::{Attribute, ContactType, Field};
use serde_json::{Value, json};

use crate::portal::{Portal, person, words};
use crate::support::mock_hubspot::Endpoint;
use crate::support::server::Answer;

#[tokio::test]
async fn a_contact_arrives_over_both_families_of_paths() {
    for (api_version, path) in
        [("2026-09", "/crm/objects/2026-09/contacts/batch/upsert"), ("v3", "/crm/v3/objects/contacts/batch/upsert")]
    {
        let portal = Portal::with(|_| {}, |settings| settings.api_version = api_version.to_owned()).await;
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(words(&reply), ["delivered"]);
        assert_eq!(portal.mock.seen()[0].path, path);
        let contact = portal.mock.contact("c-1").expect("it is there");
        let held: Vec<_> = contact.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            held,
            [
                ("email", "p1@example.com"),
                ("firstname", "Person 1"),
                ("lifecyclestage", "customer"),
                ("source_id", "C-1"),
            ]
        );
        portal.assert_polite();
    }
}

#[tokio::test]
async fn a_cleared_field_is_cleared_and_an_absent_one_is_left_alone() {
    let portal = Portal::new().await;
    portal.mock.put(Some("C-1"), &[("email", "p1@example.com"), ("city", "London"), ("phone", "1")]);
    let mut change = person(1);
    change.contact.phone = Field::Null;
    let reply = portal.upsert(&[portal.payload(&change)]).await;
    assert_eq!(words(&reply), ["delivered"]);
    let contact = portal.mock.contact("C-1").expect("it is there");
    assert_eq!((contact.get("city").map(String::as_str), contact.get("phone")), (Some("London"), None));
}

#[tokio::test]
async fn one_bad_row_does_not_sink_the_rest() {
    for errors_with_200 in [false, true] {
        let portal = Portal::with(|habits| habits.errors_with_200 = errors_with_200, |_| {}).await;
        let mut bad = person(2);
        bad.contact.email = Field::Value("ada@example.con".into());
        let mut payloads = portal.people([1, 2, 3]);
        payloads[1] = portal.payload(&bad);
        let reply = portal.upsert(&payloads).await;
        assert_eq!(words(&reply), ["delivered", "rejected INVALID_EMAIL", "delivered"]);
        let outcomes = reply.expect("outcomes");
        let Outcome::Rejected(rejection) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!(rejection.fields, ["email"]);
        assert!(!rejection.message.contains("ada"), "{}", rejection.message);
        assert_eq!(portal.mock.contacts().len(), 2);
        portal.assert_polite();
    }
}

#[tokio::test]
async fn results_find_their_rows_by_echo_by_key_or_by_their_number() {
    for (echo_trace_ids, hide_properties) in [(false, false), (true, false), (true, true), (false, true)] {
        let habits = |habits: &mut crate::support::mock_hubspot::Habits| {
            habits.echo_trace_ids = echo_trace_ids;
            habits.hide_properties = hide_properties;
        };
        let portal = Portal::with(habits, |_| {}).await;
        portal.mock.fail_row("C-2", json!({"category": "VALIDATION_ERROR"}), 1);
        let reply = portal.upsert(&portal.people([1, 2, 3])).await;
        assert_eq!(words(&reply), ["delivered", "rejected VALIDATION_ERROR", "delivered"]);
    }
}

#[tokio::test]
async fn what_a_2xx_does_not_account_for_has_failed() {
    let keyed = |id: &str| json!({"id": "1", "properties": {"source_id": id, "email": null}});
    for (answer, expected) in [
        (json!({"status": "COMPLETE", "results": []}), ["again UNACCOUNTED", "again UNACCOUNTED"]),
        (json!({"status": "COMPLETE"}), ["again UNACCOUNTED", "again UNACCOUNTED"]),
        (json!({"status": "PENDING", "results": null, "errors": null}), ["again UNACCOUNTED", "again UNACCOUNTED"]),
        (json!({"results": [keyed("c-2")]}), ["again UNACCOUNTED", "delivered"]),
        (json!({"results": [keyed("C-9"), keyed("C-8")]}), ["again UNACCOUNTED", "again UNACCOUNTED"]),
        (
            json!({"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}),
            ["halved UNACCOUNTED", "halved UNACCOUNTED"],
        ),
        (
            json!({"results": [keyed("C-1")], "errors": [{"category": "VALIDATION_ERROR"}]}),
            ["delivered", "rejected VALIDATION_ERROR"],
        ),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(Answer::json(200, &answer));
        let reply = portal.upsert(&portal.people([1, 2])).await;
        assert_eq!(words(&reply), expected, "{answer}");
    }
}

#[tokio::test]
async fn an_address_that_another_record_owns_is_told_with_the_owner() {
    let portal = Portal::new().await;
    let owner = portal.mock.put(None, &[("email", "p1@example.com")]);
    portal.mock.put(Some("C-2"), &[("email", "old@example.com")]);
    let mut known = person(2);
    known.contact.email = Field::Value("p1@example.com".into());
    let reply = portal.upsert(&[portal.payload(&person(1)), portal.payload(&known)]).await;
    assert_eq!(words(&reply), ["rejected EMAIL_CLASH", "rejected EMAIL_CLASH"]);
    for outcome in reply.expect("outcomes") {
        let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?}") };
        assert!(rejection.message.contains(&format!("record {owner} ")), "{}", rejection.message);
        assert!(!rejection.message.contains("example.com"), "{}", rejection.message);
        assert_eq!(rejection.fields, ["email"]);
    }
}

#[tokio::test]
async fn a_row_that_was_bad_luck_is_delivered_the_second_time() {
    for (error, expected) in [
        (json!({"category": "RATE_LIMITS"}), "again RATE_LIMITS"),
        (json!({"category": "MISSING_SCOPES"}), "again MISSING_SCOPES"),
        (json!({"category": "EXPIRED_AUTHENTICATION"}), "again EXPIRED_AUTHENTICATION"),
        (json!({"category": "OBJECT_NOT_FOUND"}), "once OBJECT_NOT_FOUND"),
        (json!({}), "once NO_CODE"),
    ] {
        let portal = Portal::new().await;
        portal.mock.fail_row("c-1", error, 1);
        let payloads = portal.people([1, 2]);
        assert_eq!(words(&portal.upsert(&payloads).await), [expected, "delivered"]);
        assert_eq!(words(&portal.upsert(&payloads).await), ["delivered", "delivered"]);
        assert_eq!(portal.meter.unknown_codes(), 0, "nobody was rejected for it");
    }
}

#[tokio::test]
async fn a_row_that_is_refused_alone_ends_as_it_would_among_others() {
    let key_clash = "Cannot set PropertyValueCoordinates{portalId=1, propertyName=source_id, value=c-1} on 11. 22 \
        already has that value.";
    for (status, error, expected, unknown) in [
        (409, json!({"category": "CONFLICT"}), "rejected CONFLICT", 0),
        (409, json!({"category": "CONFLICT", "message": key_clash}), "once VALUE_CLASH", 0),
        (400, json!({"category": "VALIDATION_ERROR", "message": key_clash}), "once VALUE_CLASH", 0),
        (400, json!({"message": key_clash}), "once VALUE_CLASH", 0),
        (404, json!({"category": "OBJECT_NOT_FOUND"}), "once OBJECT_NOT_FOUND", 0),
        (400, json!({"category": "RATE_LIMITS"}), "again RATE_LIMITS", 0),
        (400, json!({"category": "BRAND_NEW"}), "rejected BRAND_NEW", 1),
    ] {
        for whole in [false, true] {
            let portal = Portal::new().await;
            if whole {
                portal.mock.next(Answer::json(status, &error));
            } else if error.get("category").is_some() {
                portal.mock.fail_row("C-1", error.clone(), 1);
            } else {
                continue;
            }
            assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected], "{whole} {error}");
            assert_eq!(portal.meter.unknown_codes(), unknown, "{whole} {error}");
        }
    }
    for (answer, expected) in [
        (Answer::json(400, &json!({"message": "Invalid input JSON on line 2, column 9"})), "refused HTTP_400 [0]"),
        (Answer::empty(413), "refused HTTP_413 []"),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(answer);
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
}

#[tokio::test]
async fn a_refused_batch_names_its_suspects() {
    let duplicate = json!({"category": "VALIDATION_ERROR", "context": {"ids": ["c-2"]},
        "message": "Duplicate IDs found in batch input: [c-2]. IDs must be unique"});
    let traced = json!({"category": "VALIDATION_ERROR",
        "errors": [{"code": "INVALID_DATE", "context": {"objectWriteTraceId": ["0"]}}]});
    let quoted = json!({"category": "VALIDATION_ERROR", "message": "Email address p3@example.com is invalid"});
    let line = json!({"message": "Invalid input JSON on line 3, column 9: Cannot deserialize value of type"});
    for (status, body, expected) in [
        (400, duplicate, "refused VALIDATION_ERROR [1]"),
        (400, traced, "refused INVALID_DATE [0]"),
        (400, quoted, "refused VALIDATION_ERROR [2]"),
        (400, line, "refused HTTP_400 [1]"),
        (409, json!({"category": "CONFLICT"}), "refused CONFLICT []"),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(Answer::json(status, &body));
        let reply = portal.upsert(&portal.people([1, 2, 3])).await;
        assert_eq!(words(&reply), [expected]);
        assert!(!format!("{reply:?}").contains("example.com"));
    }
}

#[tokio::test]
async fn a_batch_with_poison_in_it_is_refused_and_passes_without() {
    let portal = Portal::new().await;
    portal.mock.poison("C-2");
    assert_eq!(words(&portal.upsert(&portal.people([1, 2, 3])).await), ["refused CONFLICT []"]);
    assert_eq!(words(&portal.upsert(&portal.people([1, 3])).await), ["delivered", "delivered"]);
}

#[tokio::test]
async fn settings_that_the_portal_refuses_stop_the_destination() {
    let not_unique = Portal::with(|habits| habits.is_unique = false, |_| {}).await;
    let reply = not_unique.upsert(&not_unique.people([1])).await;
    assert_eq!(words(&reply), ["stop configuration VALIDATION_ERROR"]);

    let no_such_type = Portal::with(|_| {}, |settings| settings.type_property = "contact_type".to_owned()).await;
    let reply = no_such_type.upsert(&no_such_type.people([1, 2])).await;
    assert_eq!(words(&reply), ["stop configuration PROPERTY_DOESNT_EXIST"]);

    let edit = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.lifecycle_stage.customer = "custmer".to_owned();
    };
    let no_such_stage = Portal::with(|_| {}, edit).await;
    let reply = no_such_stage.upsert(&no_such_stage.people([1])).await;
    assert_eq!(words(&reply), ["stop configuration INVALID_OPTION"]);
}

#[tokio::test]
async fn an_attribute_without_its_property_is_our_settings_fault_and_a_wrong_value_the_rows_own() {
    let edit = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.attributes.insert("plan".to_owned(), "plan_name".to_owned());
    };
    let portal = Portal::with(|_| {}, edit).await;
    let mut change = person(1);
    change.contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
    let payloads = [portal.payload(&change), portal.payload(&person(2))];
    assert_eq!(words(&portal.upsert(&payloads).await), ["stop configuration PROPERTY_DOESNT_EXIST"]);
    portal.mock.create_property("plan_name");
    let hidden = json!([{"isValid": false, "error": "INVALID_OPTION", "name": "plan_name"}]);
    let message = format!("Property values were not valid: {hidden}");
    portal.mock.fail_row("C-1", json!({"category": "VALIDATION_ERROR", "message": message}), 1);
    assert_eq!(words(&portal.upsert(&payloads).await), ["rejected INVALID_OPTION", "delivered"]);
    assert_eq!(words(&portal.upsert(&payloads).await), ["delivered", "delivered"]);
    assert_eq!(
        portal.mock.contact("C-1").and_then(|contact| contact.get("plan_name").cloned()).as_deref(),
        Some("team")
    );
}

#[tokio::test]
async fn a_stage_that_hubspot_keeps_is_told_and_is_no_failure() {
    let portal = Portal::new().await;
    portal.mock.put(Some("C-1"), &[("lifecyclestage", "evangelist")]);
    portal.mock.put(Some("C-2"), &[("lifecyclestage", "opportunity")]);
    let reply = portal.upsert(&portal.people([1, 2, 3])).await;
    assert_eq!(words(&reply), ["delivered LIFECYCLE_STAGE_KEPT", "delivered", "delivered"]);
    let stage = |id| portal.mock.contact(id).and_then(|contact| contact.get("lifecyclestage").cloned());
    assert_eq!(stage("C-1").as_deref(), Some("evangelist"));
    assert_eq!(stage("C-2").as_deref(), Some("customer"));
}

#[tokio::test]
async fn folded_changes_leave_what_one_after_the_other_would() {
    let kinds = [ContactType::Vendor, ContactType::Customer, ContactType::Lead];
    for first in kinds {
        for second in kinds {
            let portal = Portal::new().await;
            let mut changes = [person(1), person(1)];
            changes[0].contact.kind = Some(first);
            changes[1].contact.kind = Some(second);
            changes[1].contact.first_name = Field::Null;
            for change in &changes {
                words(&portal.upsert(&[portal.payload(change)]).await);
            }
            let one_by_one = portal.mock.contacts();
            let folded = Portal::new().await;
            let mut payload = folded.payload(&changes[0]);
            payload.body = folded.hubspot.transform(&[&changes[0], &changes[1]]).body;
            words(&folded.upsert(&[payload]).await);
            assert_eq!(folded.mock.contacts(), one_by_one, "{first:?} {second:?}");
        }
    }
}

#[tokio::test]
async fn a_guarded_change_does_not_overwrite_newer_data() {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.version_property = "source_version".to_owned();
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.create_property("source_version");
    for (id, version) in [("C-1", "11"), ("C-2", "10"), ("C-3", "9.0"), ("C-4", "soon")] {
        portal.mock.put(Some(id), &[("source_version", version)]);
    }
    portal.mock.put(Some("C-6"), &[("source_version", "11")]);
    let mut payloads = portal.people(1..=6);
    payloads.iter_mut().take(5).for_each(|payload| payload.guarded = true);
    let reply = portal.upsert(&payloads).await;
    assert_eq!(words(&reply), ["stale", "delivered", "delivered", "delivered", "delivered", "delivered"]);
    assert_eq!((portal.mock.count(Endpoint::Read), portal.mock.count(Endpoint::Upsert)), (1, 1));
    let version = |id| portal.mock.contact(id).and_then(|contact| contact.get("source_version").cloned());
    assert_eq!((version("C-1").as_deref(), version("C-6").as_deref()), (Some("11"), Some("10")));

    let stale = &payloads[..1];
    assert_eq!(words(&portal.upsert(stale).await), ["stale"]);
    assert_eq!(portal.mock.count(Endpoint::Upsert), 1, "nothing is left to write");
    portal.assert_polite();
}

#[tokio::test]
async fn a_guard_that_gets_no_answer_writes_nothing() {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.version_property = "source_version".to_owned();
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.create_property("source_version");
    let mut payloads = portal.people([1, 2, 3]);
    payloads[1].guarded = true;
    payloads[2].guarded = true;
    portal.mock.next(Answer::json(200, &json!({"status": "COMPLETE", "results": []})));
    let reply = portal.upsert(&payloads).await;
    assert_eq!(words(&reply), ["delivered", "again UNACCOUNTED", "again UNACCOUNTED"]);
    assert_eq!(portal.mock.contacts().len(), 1);

    let body = json!({"category": "VALIDATION_ERROR", "context": {"ids": ["c-3"]}});
    portal.mock.next(Answer::json(400, &body));
    assert_eq!(words(&portal.upsert(&payloads).await), ["refused VALIDATION_ERROR [2]"]);
}

#[tokio::test]
async fn the_quota_is_read_from_headers_and_their_absence_is_normal() {
    let portal = Portal::new().await;
    portal.mock.limit(190, std::time::Duration::from_secs(10));
    words(&portal.upsert(&portal.people([1])).await);
    let quota = portal.meter.quota();
    assert_eq!(quota.window, Some((190, std::time::Duration::from_secs(10))));
    assert_eq!((quota.window_remaining, quota.daily_used, quota.daily_max), (Some(189), Some(1), Some(1_000_000)));
    let silent = json!({"status": "COMPLETE", "results": []});
    portal.mock.next(Answer::json(200, &silent));
    words(&portal.upsert(&portal.people([1])).await);
    assert_eq!(portal.meter.quota(), quota);
}

#[tokio::test]
async fn ten_thousand_contacts_take_a_hundred_calls() {
    let portal = Portal::new().await;
    let payloads = portal.people(0..10_000);
    for batch in payloads.chunks(portal.hubspot.limits().upsert) {
        let reply = portal.upsert(batch).await.expect("outcomes");
        assert!(reply.iter().all(|outcome| matches!(outcome, Outcome::Delivered(None))));
    }
    assert_eq!((portal.mock.count(Endpoint::Upsert), portal.mock.seen().len()), (100, 100));
    assert_eq!((portal.mock.contacts().len(), portal.meter.api_calls()), (10_000, 100));
    portal.assert_polite();
}

#[tokio::test]
async fn an_odd_payload_hurts_nobody() {
    let portal = Portal::new().await;
    let mut payloads = portal.people([1, 2]);
    payloads[0].body = None;
    assert_eq!(words(&portal.upsert(&payloads).await), ["rejected EMPTY_PAYLOAD", "delivered"]);
    payloads[0].body = serde_json::value::to_raw_value(&json!({"email": 7})).ok();
    assert_eq!(words(&portal.upsert(&payloads).await), ["refused HTTP_400 [0]"]);
    payloads[0].body = serde_json::value::to_raw_value(&Value::Null).ok();
    assert_eq!(words(&portal.upsert(&payloads).await), ["refused HTTP_400 [0]"]);
}
