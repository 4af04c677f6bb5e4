//! Replies of adapters as texts, and contacts of the tests.

use contact_sync::adapters::Adapter;
use contact_sync::model::{
    CallError, Cause, Contact, ContactChange, ContactId, ContactType, Field, Held, HeldRecord,
    Operation, Outcome, Payload, Rejection, Reply, Retry, RetryMode, Stop, Transformed,
    VersionSource,
};

/// Describes a reply by one text for each payload: the outcome and its code.
pub fn words(reply: &Reply) -> Vec<String> {
    match reply {
        Ok(outcomes) => outcomes.iter().map(describe_outcome).collect(),
        Err(error) => vec![describe_error(error)],
    }
}

/// Describes the look-up of each payload by a text.
pub fn held_words(reply: &Result<Vec<Held>, CallError>) -> Vec<String> {
    let held = |held: &Held| match held {
        Held::Record(HeldRecord {
            version: Some(version),
            ..
        }) => format!("version {version}"),
        Held::Record(_) => "no version".to_owned(),
        Held::Nowhere => "nowhere".to_owned(),
        Held::Unknown(outcome) => describe_outcome(outcome),
    };
    match reply {
        Ok(found) => found.iter().map(held).collect(),
        Err(error) => vec![describe_error(error)],
    }
}

fn describe_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(None) => "delivered".to_owned(),
        Outcome::Delivered(Some(code)) => format!("delivered {code}"),
        Outcome::Skipped(code) => format!("skipped {code}"),
        Outcome::Stale => "stale".to_owned(),
        Outcome::Rejected(Rejection { code, .. }) => format!("rejected {code}"),
        Outcome::Failed(code) => format!("failed {code}"),
        Outcome::Retry(Retry { code, how, .. }) => match how {
            RetryMode::Same => format!("again {code}"),
            RetryMode::SplitBatch => format!("halved {code}"),
            RetryMode::Isolate(_) => format!("isolated {code}"),
            RetryMode::Last(_) => format!("last {code}"),
            RetryMode::Without(fields, _) => format!("without {} {code}", fields.join(",")),
            RetryMode::Whole(_) => format!("whole {code}"),
            RetryMode::OnceMore(None, _) => format!("once {code}"),
            RetryMode::OnceMore(Some(_), _) => format!("once otherwise {code}"),
        },
    }
}

fn describe_error(error: &CallError) -> String {
    match error {
        CallError::Retry { code, after, .. } => {
            let after = after
                .map(|after| format!(" after {after:?}"))
                .unwrap_or_default();
            format!("retry {code}{after}")
        }
        CallError::Throttled { code, after } => {
            let after = after
                .map(|after| format!(" after {after:?}"))
                .unwrap_or_default();
            format!("throttled {code}{after}")
        }
        CallError::Refused {
            rejection,
            suspects,
        } => format!("refused {} {suspects:?}", rejection.code),
        CallError::Stop(Stop { cause, code, .. }) => format!("stop {} {code}", cause_name(*cause)),
    }
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Quota => "quota",
        Cause::Credential => "credential",
        Cause::Configuration => "configuration",
        Cause::Unavailable => "unavailable",
    }
}

/// Returns the remedy of a stop.
pub fn remedy(reply: &Reply) -> String {
    match reply {
        Err(CallError::Stop(stop)) => stop.remedy.clone(),
        other => panic!("no stop: {:?}", words(other)),
    }
}

pub fn id(text: &str) -> ContactId {
    ContactId::new(text).expect("a valid id")
}

/// Builds creates of `count` leads with a name, an address and a company.
pub fn newcomers(count: usize) -> Vec<ContactChange> {
    (0..count)
        .map(|number| newcomer(number, ContactType::Lead))
        .collect()
}

/// Builds a create of a contact with a name, an address and a company. An adapter ignores `kind`.
pub fn newcomer(number: usize, kind: ContactType) -> ContactChange {
    let mut contact = Contact::bare(id(&format!("C-{number}")), Some(kind));
    contact.email = Field::Value(format!("p{number}@example.com").into());
    contact.first_name = Field::Value("Ada".into());
    contact.last_name = Field::Value(format!("Person {number}").into());
    contact.company = Field::Value("Engines".into());
    contact.job_title = Field::Value("Engineer".into());
    ContactChange {
        event_id: "event".into(),
        operation: Operation::Create,
        occurred_at: time::OffsetDateTime::UNIX_EPOCH,
        version: Some(10),
        version_source: VersionSource::Version,
        is_load: false,
        replay: false,
        previous_type: None,
        whole: None,
        contact,
    }
}

/// Transforms these changes of one contact by `adapter`.
pub fn payload_of(adapter: &dyn Adapter, changes: &[&ContactChange]) -> Payload {
    let last = changes.last().expect("a change");
    let Transformed {
        body,
        if_new,
        conditions,
        ..
    } = adapter.transform(changes);
    Payload {
        id: last.contact.id.clone(),
        body,
        if_new,
        conditions,
        version: last.guard_version().unwrap_or_default(),
        guarded: false,
        record: None,
        is_compared: false,
        whole: None,
    }
}

pub fn deletion(text: &str) -> Payload {
    Payload {
        id: id(text),
        body: None,
        if_new: None,
        conditions: None,
        version: 10,
        guarded: false,
        record: None,
        is_compared: false,
        whole: None,
    }
}
