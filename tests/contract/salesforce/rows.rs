//! Outcomes of the rows of a response.

use contact_sync::adapters::Adapter;
use contact_sync::adapters::salesforce::ConvertedLeads;
use contact_sync::model::{Contact, ContactType, Field, Operation, Outcome};
use serde_json::{Value, json};
use testkit::listener::listen;
use testkit::mock_salesforce::row_error;
use testkit::org::{Org, words};
use testkit::server::{Answer, Mangle};
use testkit::words::newcomer;

#[tokio::test]
async fn success_alone_decides() {
    for created_on_failures in [true, false] {
        let org = Org::with(
            |behavior| behavior.created_on_failures = created_on_failures,
            |_| {},
        )
        .await;
        let mut payloads = org.leads([1, 2, 3]);
        let mut bad = newcomer(2, ContactType::Lead);
        bad.contact.email = Field::Value("nobody".into());
        payloads[1] = org.payload(&bad);
        let reply = org.upsert(&payloads).await;
        assert_eq!(
            words(&reply),
            ["delivered", "rejected INVALID_EMAIL_ADDRESS", "delivered"]
        );
        let outcomes = reply.expect("outcomes");
        let Outcome::Rejected(rejection) = &outcomes[1] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(rejection.fields, ["Email"]);
        assert_eq!(org.mock.leads().len(), 2);
    }
}

#[tokio::test]
async fn a_record_that_the_response_leaves_out_has_failed() {
    let good = json!({"id": "00Q1", "success": true, "errors": [], "created": true});
    let without_reason = json!({"success": false, "errors": []});
    let errors = json!([{"statusCode": "STRING_TOO_LONG", "fields": "x"}]);
    let odd_reason = json!({"id": null, "success": false, "errors": errors});
    for (answer, expected) in [
        (json!([]), vec!["isolated NO_RESULT", "isolated NO_RESULT"]),
        (json!([good]), vec!["delivered", "isolated NO_RESULT"]),
        (json!([null, good]), vec!["isolated NO_RESULT", "delivered"]),
        (
            json!([{"success": "true"}, {"id": "00Q1"}]),
            vec!["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
        (
            json!([without_reason, odd_reason]),
            vec!["isolated NO_REASON", "rejected STRING_TOO_LONG"],
        ),
        (
            json!([{"success": false, "errors": null}, {"success": false}]),
            vec!["isolated NO_REASON", "isolated NO_REASON"],
        ),
        (json!([good, good, good]), vec!["retry UNREADABLE_ANSWER"]),
        (json!({"hasErrors": false}), vec!["retry UNREADABLE_ANSWER"]),
    ] {
        let org = Org::new().await;
        org.upsert(&org.leads([0])).await.expect("a token");
        org.mock.next(Answer::json(200, &answer));
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2])).await),
            expected,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_lock_fails_the_whole_batch_which_is_split() {
    let org = Org::new().await;
    org.mock.lock("C-2", 1);
    let payloads = org.leads([1, 2, 3]);
    assert_eq!(
        words(&org.upsert(&payloads).await),
        ["halved UNABLE_TO_LOCK_ROW"; 3]
    );
    assert_eq!(org.mock.leads().len(), 0);
    assert_eq!(words(&org.upsert(&payloads).await), ["delivered"; 3]);
}

#[tokio::test]
async fn the_message_of_a_trigger_decides() {
    let trigger = |message: &str| row_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]);
    let lock = "LeadTrigger: execution of AfterUpdate caused by: UNABLE_TO_LOCK_ROW, unable to \
        obtain exclusive access";
    let limit = "LeadTrigger: System.LimitException: Too many SOQL queries: 101";
    let task = "LeadTrigger: execution of AfterInsert caused by: System.DmlException: Insert \
        failed. First exception on row 0; first error: CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY, \
        entity type cannot be inserted: Task: []";
    for (error, in_batch, alone) in [
        (trigger(lock), "halved", "halved"),
        (trigger(limit), "halved", "isolated"),
        (
            trigger("LeadTrigger: Apex CPU time limit exceeded"),
            "halved",
            "isolated",
        ),
        (
            trigger("LeadTrigger: we do not like it"),
            "rejected",
            "rejected",
        ),
        (trigger(task), "rejected", "rejected"),
        (
            row_error("UNKNOWN_EXCEPTION", "An unexpected error occurred", &[]),
            "isolated",
            "isolated",
        ),
        (
            row_error("TOO_MANY_APEX_REQUESTS", "", &[]),
            "halved",
            "halved",
        ),
    ] {
        let org = Org::new().await;
        org.mock.fail_row("C-2", error.clone(), 2);
        let code = error["statusCode"].as_str().unwrap_or_default();
        let reply = words(&org.upsert(&org.leads([1, 2])).await);
        assert_eq!(
            reply,
            ["delivered".to_owned(), format!("{in_batch} {code}")],
            "{error}"
        );
        assert_eq!(
            words(&org.upsert(&org.leads([2])).await),
            [format!("{alone} {code}")],
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_value_of_another_record_is_retried_once_and_last() {
    let org = Org::new().await;
    let race = row_error(
        "DUPLICATE_VALUE",
        "duplicate value found: Source_Id__c duplicates value on record with id: 00Q1",
        &[],
    );
    let other = row_error(
        "DUPLICATE_VALUE",
        "duplicate value found: Tax__c duplicates value on record with id: 00Q1",
        &[],
    );
    org.mock.fail_row("C-1", race, 1);
    org.mock.fail_row("C-2", other, 1);
    org.mock.fail_row(
        "C-3",
        row_error("DUPLICATE_VALUE", "a localized message", &["Source_Id__c"]),
        1,
    );
    let rule = row_error("DUPLICATES_DETECTED", "Use one of these records?", &[]);
    let reply = org.upsert(&org.leads([1, 2, 3])).await;
    assert_eq!(words(&reply), ["last DUPLICATE_VALUE"; 3]);
    org.mock.fail_row("C-2", rule, 1);
    assert_eq!(
        words(&org.upsert(&org.leads([2])).await),
        ["last DUPLICATES_DETECTED"]
    );
    assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
}

#[tokio::test]
async fn an_update_before_its_create_is_resent_with_the_required_fields() {
    let org = Org::new().await;
    let mut update = newcomer(1, ContactType::Lead);
    update.operation = Operation::Update;
    update.contact = Contact {
        first_name: Field::Value("Ada".into()),
        ..Contact::bare(update.contact.id, None)
    };
    let mut payload = org.payload(&update);
    let reply = org.upsert(std::slice::from_ref(&payload)).await;
    assert_eq!(words(&reply), ["once otherwise REQUIRED_FIELD_MISSING"]);
    let outcomes = reply.expect("outcomes");
    let Outcome::Retry(retry) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    let contact_sync::model::RetryMode::OnceMore(body, _) = &retry.how else {
        panic!("{retry:?}")
    };
    payload.body.clone_from(body);
    assert_eq!(words(&org.upsert(&[payload]).await), ["delivered"]);
    let lead = org.mock.lead("C-1").expect("it is there");
    assert_eq!(
        (&lead["LastName"], &lead["Company"], &lead["FirstName"]),
        (
            &json!("[not provided]"),
            &json!("[not provided]"),
            &json!("Ada")
        )
    );
}

#[tokio::test]
async fn converted_leads_are_treated_by_the_policy() {
    for (policy, expected) in [
        (ConvertedLeads::Skip, "skipped CANNOT_UPDATE_CONVERTED_LEAD"),
        (
            ConvertedLeads::DeadLetter,
            "rejected CANNOT_UPDATE_CONVERTED_LEAD",
        ),
    ] {
        let org = Org::with(|_| {}, |settings| settings.converted_leads = policy).await;
        org.upsert(&org.leads([1])).await.expect("written");
        org.mock.convert("C-1");
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2])).await),
            [expected, "delivered"]
        );
        let reply = org.delete(&[testkit::org::deletion("C-1")]).await;
        assert_eq!(
            words(&reply),
            ["delivered"],
            "a converted lead can be deleted"
        );
    }
}

#[tokio::test]
async fn an_unknown_code_isolates_its_row_and_is_counted() {
    let org = Org::new().await;
    org.mock
        .fail_row("C-1", row_error("A_CODE_OF_TOMORROW", "", &[]), 1);
    org.mock
        .fail_row("C-2", row_error("p2@example.com", "", &[]), 1);
    let reply = org.upsert(&org.leads([1, 2, 3])).await;
    assert_eq!(
        words(&reply),
        [
            "isolated A_CODE_OF_TOMORROW",
            "isolated UNREADABLE_CODE",
            "delivered"
        ]
    );
    assert_eq!(org.metrics.unknown_codes(), 2);
}

/// Updates may pass while the org accepts no new record.
#[tokio::test]
async fn an_error_about_the_account_stops_no_destination_that_writes_other_rows() {
    for code in ["STORAGE_LIMIT_EXCEEDED", "API_DISABLED_FOR_ORG"] {
        let org = Org::new().await;
        let logs = listen();
        org.mock.fail_row("C-1", row_error(code, "", &[]), 2);
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2, 3])).await),
            [&format!("failed {code}"), "delivered", "delivered"]
        );
        assert_eq!(logs.at("ERROR").len(), 1, "the operator gets one line");
        let reply = words(&org.upsert(&org.leads([1])).await);
        assert!(reply[0].starts_with("stop "), "{reply:?}");
    }
}

#[tokio::test]
async fn two_records_of_one_key_are_retried_last() {
    let org = Org::new().await;
    for _ in 0..2 {
        org.mock
            .put("C-1", &json!({"LastName": "x", "Company": "y"}));
    }
    assert_eq!(
        words(&org.upsert(&org.leads([1, 2])).await),
        ["last DUPLICATE_EXTERNAL_ID", "delivered"]
    );
}

#[tokio::test]
async fn the_final_one_of_several_errors_decides() {
    let org = Org::new().await;
    let errors =
        json!([{"statusCode": "UNABLE_TO_LOCK_ROW"}, {"statusCode": "STRING_TOO_LONG"}, null, 7]);
    org.mock.mangle(Mangle::json(move |rows: &mut Value| {
        rows[1] = json!({"success": false, "errors": errors});
    }));
    assert_eq!(
        words(&org.upsert(&org.leads([1, 2])).await),
        ["delivered", "rejected STRING_TOO_LONG"]
    );
    assert_eq!(org.salesforce.limits().upsert, 200);
}
