use serde_json::{Value, json};

use super::*;
use crate::model::FieldPolicy;

const BASELINE: &str = "Baseline__c";

fn body(value: &Value) -> Body {
    Body::of(value.as_object().cloned().expect("an object"))
}

/// Builds a payload with the value `value` of the field `Title` under a policy.
fn payload(policy: FieldPolicy, value: &Value) -> Payload {
    let title = json!({"Title": value});
    let of = |own| (policy == own).then(|| body(&title));
    let mut record = json!({"Source_Id__c": "C-1", "attributes": {"type": "Lead"}});
    if policy == FieldPolicy::Always {
        record["Title"] = value.clone();
    }
    let conditions = Conditions {
        matching: MatchPolicy::Upsert,
        create: of(FieldPolicy::Create),
        empty: of(FieldPolicy::Empty),
        unedited: of(FieldPolicy::Unedited),
        tracked_defaults: Vec::new(),
        baseline_field: BASELINE.into(),
    };
    Payload {
        id: ContactId::new("c-1").expect("valid"),
        body: Some(body(&record)),
        if_new: None,
        conditions: Some(Box::new(conditions)),
        version: 1,
        guarded: false,
        record: None,
        is_compared: false,
        whole: None,
    }
}

fn held(values: &Value) -> HeldRecord {
    HeldRecord {
        id: None,
        version: None,
        values: body(values)
            .fields()
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect(),
    }
}

fn decided(payload: &Payload, held: Option<&HeldRecord>) -> Decision {
    decide(
        payload,
        payload.conditions.as_ref().expect("conditions"),
        held,
    )
}

/// Returns the field in the record that is written; `None` where none is written.
fn written(decision: &Decision, name: &str) -> Option<Value> {
    match decision {
        Decision::Write(body) => {
            let fields: Value = serde_json::from_str(body.get()).expect("JSON");
            fields.get(name).cloned()
        }
        _ => None,
    }
}

/// Builds the baseline of a record whose title was written last as `title`.
fn baseline(title: &str) -> String {
    let mut baseline = Baseline::default();
    let id = ContactId::new("C-1").expect("valid");
    baseline.set(&id, "Title", title);
    baseline.text()
}

#[test]
fn a_policy_selects_the_fields_that_are_written() {
    use FieldPolicy::{Always, Create, Empty, Never, Unedited};
    let title = |text: &str| {
        held(&json!({"Source_Id__c": "c-1", "Title": text, BASELINE: baseline("Ours")}))
    };
    let (absent, bare) = (None, held(&json!({"Source_Id__c": "c-1", "Title": null})));
    let (ours, edited, same) = (title("Ours"), title("Theirs"), title("New"));
    let cleared = held(&json!({"Source_Id__c": "c-1", "Title": null, BASELINE: baseline("Ours")}));
    let states = [
        absent,
        Some(&bare),
        Some(&ours),
        Some(&edited),
        Some(&same),
        Some(&cleared),
    ];
    for (policy, expected) in [
        // absent, empty, ours, edited, edited to the same, cleared by hand
        (Always, [true, true, true, true, false, true]),
        (Create, [true, false, false, false, false, false]),
        (Empty, [true, true, false, false, false, true]),
        (Unedited, [true, true, true, false, false, false]),
        (Never, [false; 6]),
    ] {
        for (at, (held, is_written)) in states.into_iter().zip(expected).enumerate() {
            let decision = decided(&payload(policy, &json!("New")), held);
            let found = written(&decision, "Title");
            let case = format!("{policy:?}, state {at}: {decision:?}");
            assert_eq!(found, is_written.then(|| json!("New")), "{case}");
            let is_unchanged = held.is_some() && !is_written;
            assert_eq!(decision == Decision::NoChange, is_unchanged, "{case}");
            let is_tracked = is_written && policy == Unedited;
            let hashes = is_tracked.then(|| json!(baseline("New")));
            assert_eq!(written(&decision, BASELINE), hashes, "{case}");
        }
    }
}

#[test]
fn a_cleared_value_is_written_only_where_that_changes_the_field() {
    use FieldPolicy::{Always, Create, Empty, Never, Unedited};
    let title = |text: Value| {
        held(&json!({"Source_Id__c": "c-1", "Title": text, BASELINE: baseline("Ours")}))
    };
    for (policy, ours, edited, bare) in [
        (Always, true, true, false),
        (Create, false, false, false),
        (Empty, false, false, false),
        (Unedited, true, false, false),
        (Never, false, false, false),
    ] {
        for (text, expected) in [
            (json!("Ours"), ours),
            (json!("Theirs"), edited),
            (Value::Null, bare),
        ] {
            let decision = decided(&payload(policy, &Value::Null), Some(&title(text.clone())));
            assert_eq!(
                written(&decision, "Title"),
                expected.then_some(Value::Null),
                "{policy:?} {text}"
            );
        }
    }
}

#[test]
fn a_match_policy_selects_the_contacts_that_are_written() {
    let record = held(&json!({"Source_Id__c": "c-1"}));
    for (matching, found, expected) in [
        (MatchPolicy::UpdateOnly, None, Decision::NoMatch),
        (MatchPolicy::CreateOnly, Some(&record), Decision::Exists),
    ] {
        let mut payload = payload(FieldPolicy::Always, &json!("New"));
        payload.conditions.as_mut().expect("conditions").matching = matching;
        assert_eq!(decided(&payload, found), expected);
        let other = if found.is_some() { None } else { Some(&record) };
        assert_eq!(
            written(&decided(&payload, other), "Title"),
            Some(json!("New"))
        );
    }
}

#[test]
fn a_newer_version_is_a_change_and_the_form_of_a_value_is_none() {
    let with = |sent: Value, found: Value| {
        let mut payload = payload(FieldPolicy::Never, &Value::Null);
        payload.body = Some(body(&json!({"Source_Id__c": "C-1", "X": sent})));
        decided(
            &payload,
            Some(&held(&json!({"Source_Id__c": "c-1", "X": found}))),
        )
    };
    for (sent, found, is_change) in [
        (json!(7), json!(6), true),
        (json!(7), json!(7.0), false),
        (
            json!(1_763_633_702_123_u64),
            json!(1.763_633_702_123E12),
            false,
        ),
        (json!(true), json!(true), false),
        (json!(true), json!(false), true),
        (json!("a\nb "), json!("a\r\nb"), false),
        (json!("a"), json!("A"), true),
        (json!(null), json!(null), false),
        (json!(null), json!(""), false),
        (json!(NOT_PROVIDED), json!(null), false),
        (json!("x"), json!(null), true),
    ] {
        let decision = with(sent.clone(), found.clone());
        assert_eq!(decision != Decision::NoChange, is_change, "{sent} {found}");
    }
    let not_read = decided(
        &payload(FieldPolicy::Always, &json!("x")),
        Some(&HeldRecord::default()),
    );
    assert!(
        matches!(not_read, Decision::Write(_)),
        "a field that is not reported is empty"
    );
}

#[test]
fn a_new_record_gets_its_defaults_with_any_policy() {
    for policy in FieldPolicy::ALL {
        let mut payload = payload(policy, &json!("New"));
        payload.if_new = Some(body(
            &json!({"Company": NOT_PROVIDED, "Title": NOT_PROVIDED}),
        ));
        let decision = decided(&payload, None);
        assert_eq!(written(&decision, "Company"), Some(json!(NOT_PROVIDED)));
        let title = if policy == FieldPolicy::Never {
            NOT_PROVIDED
        } else {
            "New"
        };
        assert_eq!(
            written(&decision, "Title"),
            Some(json!(title)),
            "{policy:?}"
        );
    }
}

#[test]
fn a_default_ranks_before_the_value_of_a_later_change() {
    for (policy, expected, hashes) in [
        (FieldPolicy::Empty, "Default", None),
        (FieldPolicy::Unedited, "New", Some(baseline("New"))),
    ] {
        let mut payload = payload(policy, &json!("New"));
        payload.if_new = Some(body(&json!({"Title": "Default"})));
        let decision = decided(&payload, None);
        assert_eq!(
            written(&decision, "Title"),
            Some(json!(expected)),
            "{policy:?}"
        );
        assert_eq!(
            written(&decision, BASELINE),
            hashes.map(Value::from),
            "{policy:?}"
        );
    }
    let mut payload = payload(FieldPolicy::Never, &Value::Null);
    payload.if_new = Some(body(&json!({"Title": "Default"})));
    payload
        .conditions
        .as_mut()
        .expect("conditions")
        .tracked_defaults = vec!["Title".into()];
    let decision = decided(&payload, None);
    assert_eq!(
        written(&decision, BASELINE),
        Some(json!(baseline("Default")))
    );
}

#[test]
fn a_look_up_reads_the_fields_that_decide() {
    let payload = payload(FieldPolicy::Unedited, &json!("New"));
    let names: Vec<String> = fields_read(&payload).into_iter().collect();
    assert_eq!(names, [BASELINE, "Source_Id__c", "Title"]);
    let plain = Payload {
        conditions: None,
        ..payload
    };
    assert!(fields_read(&plain).is_empty());
}
