//! The registry of codes: for each its stage, the fates that it ends in, its meaning and its
//! remedy.
//!
//! A code stands in dead letters (`reason.code`), audit lines and log lines (`code`). The constants
//! here are the codes of contact-sync itself, and no other file spells one out. The codes that a
//! system sends are listed beside the table that classifies them, as [`CodeEntry`] too.
//! `docs/reference/codes.md` is made from these lists by `make codes`; `tests/contract/codes.rs`
//! holds both.

/// A code, as the reference lists it.
#[derive(Clone, Copy, Debug)]
pub struct CodeEntry {
    /// The code, or the description of a pattern.
    pub code: &'static str,
    /// Where a record meets it: `decode`, `validate`, `route`, `deliver` or `settle`. For a
    /// rejected record this is the dead letter's `reason.stage`.
    pub stage: &'static str,
    /// The fates in which a record with this code may end, joined by `or`.
    pub fate: &'static str,
    /// One sentence that explains the code.
    pub meaning: &'static str,
    /// The operator's next step.
    pub remedy: &'static str,
}

/// Makes a list of [`CodeEntry`] from groups that share a stage and a fate.
macro_rules! entries {
    ($($stage:literal => $fate:literal {
        $($code:ident: $meaning:literal, $remedy:expr;)*
    })*) => {
        &[$($(CodeEntry {
            code: stringify!($code),
            stage: $stage,
            fate: $fate,
            meaning: $meaning,
            remedy: $remedy,
        },)*)*]
    };
}
pub(crate) use entries;

/// Makes a constant of each code, and [`OWN`] of all.
macro_rules! own_codes {
    ($($stage:literal => $fate:literal {
        $($code:ident: $meaning:literal, $remedy:expr;)*
    })*) => {
        $($(
            #[doc = $meaning]
            pub const $code: &str = stringify!($code);
        )*)*

        /// All codes of contact-sync itself.
        pub const OWN: &[CodeEntry] = entries! {
            $($stage => $fate { $($code: $meaning, $remedy;)* })*
        };
    };
}

const CORRECT_PRODUCER: &str = "Correct the producer, and send the change again.";
const NOTHING: &str = "None is needed.";
const WATCH: &str =
    "None. If the alarm `iterator-age` is raised, look at the service's status page.";
const LOOK_AT_RECORD: &str = "Look at the record in the system. Replay once the system is healthy.";
const OPEN_ISSUE: &str = "Open an issue with the record. Replay after the fix.";
const MORE_TIME: &str = "Raise `TimeoutSeconds`, or lower `BatchSize`, if it lasts.";
const SECRET: &str = "Follow the remedy in the log line `destination stopped`.";

own_codes! {
    "decode" => "rejected" {
        MISSING_DATA: "The stream's record has no data.", CORRECT_PRODUCER;
        EMPTY_DATA: "The data of the stream's record is empty.", CORRECT_PRODUCER;
        INVALID_BASE64: "The data of the event's record is not base64.",
            "Look for another caller of the function than the event source mapping.";
        INVALID_UTF8: "The data is not UTF-8 text.", CORRECT_PRODUCER;
        INVALID_JSON: "The data is not JSON. The message names line and column.", CORRECT_PRODUCER;
        NESTED_TOO_DEEPLY: "The JSON is nested deeper than allowed.", CORRECT_PRODUCER;
        DUPLICATE_KEY: "A key of the JSON object stands twice.", CORRECT_PRODUCER;
        UNKNOWN_FORMAT: "The record is not of the format that `source.format` names.",
            "Set `source.format` to the stream's format, or keep other producers out of the \
            stream. Replay.";
        UNREADABLE_SCHEMA: "The record's schema does not describe its row.",
            CORRECT_PRODUCER;
        WRONG_TYPE: "A value has another JSON type than its field allows, or a number is out of \
            range. `fields` names the field.",
            CORRECT_PRODUCER;
        INVALID_AGGREGATE: "The data is a KPL aggregate that cannot be split into its records: a \
            wrong checksum, a broken index, a record without data, no records, or an aggregate \
            within another layer. No record of it is delivered. The message has the reason.",
            "Have the producer send the changes of the aggregate again.";
        TOO_LARGE: "The data has more than 10 MiB once it is decompressed, or the records of its \
            KPL aggregate have more than 48 MiB together.",
            CORRECT_PRODUCER;
        INVALID_COMPRESSION: "The data begins as gzip or zstd, and cannot be decompressed.",
            CORRECT_PRODUCER;
        INVALID_CLOUD_EVENT: "The data is a CloudEvent with an attribute that is not allowed. \
            `fields` names the attribute.",
            CORRECT_PRODUCER;
        SCHEMA_REGISTRY_FRAMING: "The data is Avro or Protobuf in the framing of a schema registry \
            (Confluent, Apicurio or Glue), or is compressed in it.",
            "Kafka: set `SchemaRegistryConfig` with `EventRecordFormat: JSON` on the event source \
            mapping. Else have the producer write JSON.";
    }
    "validate" => "rejected" {
        MISSING_FIELD: "A required field is absent or null.", CORRECT_PRODUCER;
        EMPTY_FIELD: "A required field is empty or blank.", CORRECT_PRODUCER;
        UNKNOWN_OPERATION: "`operation` is none of `create`, `update` and `delete`, or a row's \
            operation is none of its format's.",
            CORRECT_PRODUCER;
        UNKNOWN_TYPE: "`contact.type` is none of `lead`, `prospect`, `customer` and `vendor`.",
            CORRECT_PRODUCER;
        INVALID_TIMESTAMP: "`occurred_at` is no RFC 3339 time, or a row's time is none.",
            CORRECT_PRODUCER;
        COLUMN_UNREADABLE: "The value of a column has no form as the contact's field: a list or \
            an object, a version that is no number, a number that the record's schema does not \
            allow, a value that `source.booleans` or `source.numbers` does not. `fields` names the \
            column.",
            "Map another column, or set the producer as the page of the format in docs/feeds says. \
            Replay.";
        TIME_IN_FUTURE: "`occurred_at` is more than a day after the record's arrival. Each later \
            change of the contact would be stale.",
            "Correct the producer's clock, and send the change again.";
        CONTROL_CHARACTER: "`contact.id` has a control character within.", CORRECT_PRODUCER;
        INVALID_EMAIL: "`contact.email` is no valid address.", CORRECT_PRODUCER;
        TOO_LONG: "A value is longer than its field. Values that may be cut are cut and counted; \
            an identity, email, phone, website, lead source or status is not.",
            "Correct the value at its source, and send the change again.";
        MISSING_VERSION: "The change has no `version`, which `guard.version = \"version\"` \
            requires for a destination with a version field.",
            "Have the producer send `version`, or set `guard.version = \"occurred_at\"`. Replay.";
        VERSION_TOO_LARGE: "The version is above 9,007,199,254,740,991, the largest that a version \
            field holds exactly.",
            "Correct the producer's versions, or set `guard.version = \"occurred_at\"`. Replay.";
    }
    "decode, validate or deliver" => "failed or rejected" {
        INTERNAL_ERROR: "contact-sync panicked on the record. A line `panic inside contact-sync` \
            names the place in the source.",
            OPEN_ISSUE;
    }
    "route" => "filtered" {
        FILTERED_OPERATION: "`filter.operations` leaves the operation out.",
            "None, or change `filter.operations`.";
        FILTERED_TYPE: "`filter.types` leaves the contact's type out.",
            "None, or change `filter.types`.";
        NO_ROUTE: "`[routes]` names no destination for the contact's type.",
            "None, or change `[routes]`.";
        OTHER_DESTINATION: "`pipeline.destinations` leaves the record to another function: one of \
            its destinations, or the function of the first destination for a record that cannot be \
            decoded, validated or routed.",
            NOTHING;
    }
    "decode" => "filtered" {
        OTHER_TABLE: "`source.tables` does not name the row's table.",
            "None, or change `source.tables`.";
        NOT_A_ROW_CHANGE: "The record changes no single row: a tombstone, a heartbeat, a \
            transaction, a truncate, a change of the schema, a control record.",
            "None. After the warning `truncate`, compare the systems with the table: a truncate \
            deletes no contact.";
    }
    "decode or deliver" => "filtered or delivered" {
        NO_CHANGE: "Nothing changes. Filtered: no declared column of the row changed. Delivered: a \
            look-up shows that the write would change nothing, and it was not sent.",
            "None, or set `source.changed_only = false`.";
    }
    "deliver" => "delivered" {
        DRY_RUN: "The write would be sent, were `pipeline.dry_run` off.", NOTHING;
        ALREADY_GONE: "The record to delete does not exist at the destination.", NOTHING;
        LIFECYCLE_STAGE_KEPT: "HubSpot keeps a later lifecycle stage than the one that was sent.",
            "None, or set the stage by hand in HubSpot.";
    }
    "deliver" => "delivered" {
        PARTIAL: "The system refused the fields that the line names, or their values are too \
            long. `salvage` allows to leave them out, and the rest of the contact was written.",
            "Correct the values at their source, and send the change again.";
    }
    "deliver" => "filtered" {
        NO_MATCH: "The destination has no record of the contact, and `match` is `update-only`.",
            "None, or change `match`.";
        EXISTS: "The destination has a record of the contact, and `match` is `create-only`.",
            "None, or change `match`.";
    }
    "deliver" => "superseded" {
        STALE: "The destination, or the batch, holds a newer version of the contact.",
            "None. Where the producer sends changes in the wrong order, set \
            `guard.mode = \"always\"` and a version field.";
    }
    "deliver" => "rejected" {
        EMPTY_PAYLOAD: "The payload holds nothing to write.", OPEN_ISSUE;
        EMAIL_CLASH: "Another contact of HubSpot owns the email address. The message has its id.",
            "Merge the two contacts in HubSpot. Replay.";
        VALUE_CLASH: "Another contact of HubSpot holds a value that must be unique. The message \
            has its id, `fields` the property.",
            "Merge the two contacts in HubSpot, or correct the value. Replay.";
        CREATED_IN_PART: "The contact was deleted in the destination between look-up and write. \
            The write created it from the columns that changed, and the invocation ended before \
            the whole row was sent, too.",
            "Change the row once more with its type, or send a snapshot of it. A replay writes the \
            changed columns only.";
    }
    "deliver" => "failed or rejected" {
        NO_RESULT: "The system's answer does not report the record's outcome. A record that meets \
            this alone and more than once, while others are written, is rejected.",
            LOOK_AT_RECORD;
        NO_CODE: "The system's error has no code.", LOOK_AT_RECORD;
        NO_REASON: "Salesforce reports the row as failed, without an error.", LOOK_AT_RECORD;
        UNREADABLE_CODE: "The system's code has characters that no code has.", LOOK_AT_RECORD;
        UNREADABLE_ANSWER: "The system's answer is not of the documented form.", LOOK_AT_RECORD;
        TIMEOUT: "The system sent no complete answer within `request_timeout_ms`. The write may \
            have taken effect.",
            "Where the warning `batches too large for their time` repeats, lower `batch_size` or \
            raise `request_timeout_ms`.";
        CONNECTION_FAILED: "No connection, or the connection broke before the answer was complete.",
            "Look at the network (NAT gateway, proxy) and at the system's status page.";
        ANSWER_TOO_LONG: "The system's answer is longer than 8 MB.", "Lower `batch_size`.";
    }
    "deliver" => "failed" {
        ASKED_TO_WAIT: "The system asked for a pause that is longer than `retry.max_delay_ms`. No \
            call is made until it is over.",
            "None. If it lasts, lower `rate_limit`.";
        NO_PERMIT_IN_TIME: "The rate limit had no permit for the request before the invocation's \
            deadline.",
            "If it lasts, raise `rate_limit` as far as the account allows, or lower the load.";
        NOT_SENT_IN_TIME: "Too little time was left before the invocation's deadline to send the \
            request.",
            MORE_TIME;
        CUT_BY_DEADLINE: "The invocation's deadline cut the request short, before its own timeout. \
            The write may have taken effect.",
            MORE_TIME;
        HOST_NOT_ALLOWED: "An address leads to a host that is not in `allowed_hosts`. No \
            credential was sent. The destination is stopped.",
            "Correct `login_url` in the secret, or My Domain in the org, or `allowed_hosts`.";
        BASE_URL_INVALID: "`hubspot.base_url` is no URL. The destination is stopped.",
            "Correct `hubspot.base_url`.";
        CONFIGURATION_REFUSED: "HubSpot refuses a property, a value or a right that settings name, \
            without a code.",
            "Follow the remedy in the log line.";
        SECRET_UNREADABLE: "The destination's secret cannot be read. The destination is stopped.",
            SECRET;
        SECRET_MALFORMED: "The destination's secret does not have the required fields. The \
            destination is stopped.",
            SECRET;
        SECRET_TIMEOUT: "The secret was not read before the invocation's deadline.", WATCH;
        TOKEN_TIMEOUT: "Salesforce granted no token before the invocation's deadline.", WATCH;
        UNREADABLE_TOKEN: "The answer of Salesforce's token endpoint holds no usable token.",
            "Check `login_url` in the secret, and the proxy in between.";
        NO_TOKEN: "Salesforce's token endpoint redirects. The destination is stopped.",
            "Set `login_url` in the secret to the org's own My Domain.";
    }
    "settle" => "delivered, filtered, superseded or rejected" {
        SETTLED_EARLIER: "An earlier invocation settled the record, with the fate of this line.",
            NOTHING;
    }
    "settle" => "failed" {
        DEAD_LETTER_WAITS: "The record is rejected. Its dead letter is stored once no record \
            before it fails, so that redeliveries store no copies.",
            "Correct the cause of the failed record before it.";
        DEAD_LETTER_NOT_STORED: "The record is rejected. The queue did not take its dead letter.",
            "Look at the line `dead letters not stored`: the queue's policy, its key.";
        NOT_SETTLED_IN_TIME: "The invocation ended its work before an outcome of the record was \
            recorded: at its deadline, or because the compressed records of the event have more \
            than 48 MiB decompressed. A warning names the cause.",
            MORE_TIME;
    }
}

/// Families of codes.
pub const PATTERNS: &[CodeEntry] = &[
    CodeEntry {
        code: "HTTP_<status>",
        stage: "deliver",
        fate: "failed or rejected",
        meaning: "The system, or a proxy on the way, answered with this status and no readable \
            error. A record whose call fails alone and more than once, while others are written, \
            is rejected.",
        remedy: "Look at the system's status page, and at the proxy in between. Replay.",
    },
    CodeEntry {
        code: "any other code",
        stage: "deliver",
        fate: "failed or rejected",
        meaning: "A code of the system that the tables below do not list. One that Salesforce has \
            published rejects the record. Any other counts in `UnknownCodes`, and isolates the \
            record: it is rejected where it is refused alone and more than once, while others are \
            written.",
        remedy: "Read the message in the dead letter. Open an issue for an unknown code.",
    },
];

/// Former names, which stored dead letters may carry, each with the name in use.
pub const RENAMED: &[(&str, &str)] = &[("UNACCOUNTED", NO_RESULT), ("VALUE_TOO_LONG", TOO_LONG)];

/// Returns the name in use for `code`, which may be a former one in any letter case.
pub fn current(code: &str) -> &str {
    for (former, current) in RENAMED {
        if former.eq_ignore_ascii_case(code) {
            return current;
        }
    }
    code
}

/// Returns the code of an answer that has none but its HTTP status.
pub fn http(status: u16) -> String {
    format!("HTTP_{status}")
}
