//! `MockStreamGenerator`: an event generator that replaces the contact database. One seed always
//! gives the same stream.

use serde_json::{Map, Value, json};

/// Generated record.
#[derive(Clone, Debug)]
pub struct Generated {
    pub partition_key: String,
    pub data: Vec<u8>,
    /// Change of the record; `None` for an invalid record.
    pub change: Option<Value>,
}

/// Parameters of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub records: usize,
    pub contacts: usize,
    /// One of so many records is invalid; 0: none.
    pub one_bad_in: usize,
    /// One of so many changes is overtaken by the next change of its contact, which has a higher
    /// version; 0: none.
    pub one_late_in: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            records: 20_000,
            contacts: 5_000,
            one_bad_in: 500,
            one_late_in: 100,
        }
    }
}

/// Generator of contacts of all four types, with creates, full and partial updates, deletes with
/// and without a type, bursts of changes of one contact, changes of the type, missing and reordered
/// versions, ids in other letter case, attributes, texts in many scripts, and invalid records.
#[derive(Debug)]
pub struct MockStreamGenerator {
    random: fastrand::Rng,
    plan: Plan,
    made: usize,
    /// Number of changes so far, including those that are held back.
    changes: usize,
    contacts: Vec<ContactState>,
    /// Contact of the last change: changes come in bursts.
    last: usize,
}

/// State of a contact in the contact database.
#[derive(Debug)]
struct ContactState {
    kind: &'static str,
    version: u64,
    exists: bool,
    /// Change that was overtaken, and is the next one of the contact.
    late: Option<Value>,
    /// Whether a delete was overtaken by the following create: the destinations may have deleted
    /// the contact last.
    is_doubtful: bool,
}

/// Lead fields of the generated attributes.
pub const LEAD_FIELDS: [(&str, &str); 3] = [
    ("plan", "Plan__c"),
    ("seats", "Seats__c"),
    ("newsletter", "Newsletter__c"),
];
/// Contact properties of the generated attributes.
pub const CONTACT_PROPERTIES: [(&str, &str); 3] = [
    ("plan", "plan"),
    ("seats", "seats"),
    ("newsletter", "newsletter"),
];

/// Status of a new lead. A new prospect has none.
pub const NEW_STATUS: &str = "Open - Not Contacted";

/// Returns the settings of the attributes and of the status as a document.
pub fn attribute_settings() -> String {
    let lines = |fields: [(&str, &str); 3]| {
        fields
            .map(|(name, field)| format!("{name} = \"{field}\"\n"))
            .concat()
    };
    let (leads, contacts) = (lines(LEAD_FIELDS), lines(CONTACT_PROPERTIES));
    let status = format!("[salesforce.status]\nlead = \"{NEW_STATUS}\"\n");
    format!("{status}[salesforce.attributes]\n{leads}[hubspot.attributes]\n{contacts}")
}

/// Returns the settings of the attributes and of the status as variables.
pub fn attribute_variables() -> Vec<(String, String)> {
    let mut variables = vec![(
        "CONTACT_SYNC__SALESFORCE__STATUS__LEAD".to_owned(),
        NEW_STATUS.to_owned(),
    )];
    for (section, fields) in [("SALESFORCE", LEAD_FIELDS), ("HUBSPOT", CONTACT_PROPERTIES)] {
        let fields = fields
            .map(|(name, field)| format!("{name} = \"{field}\""))
            .join(", ");
        variables.push((
            format!("CONTACT_SYNC__{section}__ATTRIBUTES"),
            format!("{{ {fields} }}"),
        ));
    }
    variables
}

const TYPES: [&str; 4] = ["lead", "prospect", "customer", "vendor"];
const FIRST: [&str; 10] = [
    "Ada",
    "Grace",
    "Zoë",
    "Łukasz",
    "Νίκος",
    "Ольга",
    "美咲",
    "علي",
    "O'Brien",
    "Bo\\b \"B\"",
];
const LAST: [&str; 8] = [
    "Lovelace",
    "Hopper",
    "Müller",
    "Żak",
    "Παπάς",
    "Иванова",
    "山田",
    "d'Arc-Şahin",
];
const COMPANY: [&str; 6] = [
    "Analytical Engines",
    "Ünï & Söhne",
    "日本商事",
    "Acme <Ltd>",
    "Éire 🚀 Labs",
    "x",
];
const CITY: [&str; 5] = ["London", "Zürich", "大阪", "São Paulo", "Kraków"];
const STATUS: [&str; 3] = ["Open - Not Contacted", "Contacted", "Qualified"];
const PLAN: [&str; 3] = ["team", "Größe \"L\"", "プラン"];
const TITLE: [&str; 4] = ["Engineer", "Head of \"Everything\"", "Büroleitung", "課長"];

impl MockStreamGenerator {
    pub fn new(plan: Plan) -> Self {
        let contact = |number: usize| ContactState {
            kind: TYPES[number % TYPES.len()],
            version: 0,
            exists: false,
            late: None,
            is_doubtful: false,
        };
        let contacts = (0..plan.contacts.max(1)).map(contact).collect();
        Self {
            random: fastrand::Rng::with_seed(plan.seed),
            plan,
            made: 0,
            changes: 0,
            contacts,
            last: 0,
        }
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.random.usize(..texts.len())]
    }

    fn maybe(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    /// Generates the optional fields. A field is part of the change with this probability in
    /// percent, and is cleared or set.
    fn fields(&mut self, contact: usize, mentioned: u32) -> Map<String, Value> {
        let mut fields = Map::new();
        let phone = format!("+44 20 7946 {:04}", self.random.u32(..10_000));
        let address = json!({
            "street": format!("{} High St", self.random.u32(1..200)),
            "city": self.pick(&CITY),
            "state": null,
            "postal_code": format!("{:05}", self.random.u32(..99_999)),
            "country": "United Kingdom",
        });
        let round = self.random.u32(..1000);
        for (name, value) in [
            (
                "email",
                json!(format!("Contact{contact}.{round}@Example.com")),
            ),
            ("first_name", json!(self.pick(&FIRST))),
            ("last_name", json!(self.pick(&LAST))),
            ("company", json!(self.pick(&COMPANY))),
            ("job_title", json!(self.pick(&TITLE))),
            ("phone", json!(phone)),
            ("mobile_phone", json!(phone)),
            ("website", json!(format!("https://example.com/{round}"))),
            ("address", address),
            ("lead_source", json!("Web")),
            ("status", json!(self.pick(&STATUS))),
        ] {
            if self.maybe(mentioned) {
                let cleared = self.maybe(10);
                fields.insert(name.to_owned(), if cleared { Value::Null } else { value });
            }
        }
        if self.maybe(mentioned) {
            fields.insert("attributes".to_owned(), self.attributes());
        }
        fields
    }

    /// Generates some of the attributes, one of them without a field in any destination. Sometimes
    /// clears all attributes at once.
    fn attributes(&mut self) -> Value {
        if self.maybe(5) {
            return Value::Null;
        }
        let mut attributes = Map::new();
        let seats = [
            json!(self.random.u32(..500)),
            json!(2.5),
            json!(-1),
            json!(1e21),
        ][self.random.usize(..4)]
        .clone();
        for (name, value) in [
            ("plan", json!(self.pick(&PLAN))),
            ("seats", seats),
            ("newsletter", json!(self.random.bool())),
            ("unknown", json!("no destination has a field for it")),
        ] {
            if self.maybe(60) {
                let cleared = self.maybe(15);
                attributes.insert(name.to_owned(), if cleared { Value::Null } else { value });
            }
        }
        attributes.into()
    }

    /// Generates the next change, with the number of its contact.
    fn next_change(&mut self) -> (usize, Value) {
        // A quarter of the changes concern the contact of the last change.
        let contact = if self.maybe(25) {
            self.last
        } else {
            self.random.usize(..self.contacts.len())
        };
        self.last = contact;
        if let Some(late) = self.contacts[contact].late.take() {
            return (contact, late);
        }
        let is_overtaken =
            self.plan.one_late_in > 0 && self.random.usize(..self.plan.one_late_in) == 0;
        if !is_overtaken {
            return (contact, self.change(contact, false));
        }
        let late = self.change(contact, true);
        let change = self.change(contact, true);
        self.contacts[contact].is_doubtful = late["operation"] == "delete";
        self.contacts[contact].late = Some(late);
        (contact, change)
    }

    /// Generates a change of the contact. A change of a pair whose order is swapped has a version,
    /// and its contact may not exist.
    fn change(&mut self, contact: usize, is_of_a_pair: bool) -> Value {
        let ContactState {
            mut kind,
            version,
            exists,
            is_doubtful,
            ..
        } = self.contacts[contact];
        let operation = match exists {
            false => "create",
            true if self.maybe(6) => "delete",
            true => "update",
        };
        let changes_type = operation == "update" && self.maybe(2);
        if changes_type {
            kind = self.pick(&TYPES);
        }
        let mut fields = match operation {
            "create" => self.fields(contact, 85),
            "update" => self.fields(contact, 30),
            _ => Map::new(),
        };
        let is_perhaps_new = operation == "create" || changes_type || is_of_a_pair || is_doubtful;
        if is_perhaps_new && operation != "delete" {
            // HubSpot accepts no new contact without a name or an address.
            fields
                .entry("email")
                .and_modify(|email| *email = format!("new{contact}.{version}@example.com").into());
            fields.entry("last_name").or_insert_with(|| "Nobody".into());
            if fields["last_name"].is_null() {
                fields.insert("last_name".into(), "Nobody".into());
            }
        }
        fields.insert("id".into(), self.id(contact).into());
        // A delete without a type is sent to every destination.
        if operation != "delete" || self.maybe(70) {
            let name = if self.maybe(10) {
                kind.to_uppercase()
            } else {
                kind.to_owned()
            };
            fields.insert("type".into(), name.into());
        }
        let second = self.changes / 100;
        let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
        let (second, milli) = (second % 60, self.changes % 1000);
        let mut change = json!({
            "event_id": format!("e-{:08}", self.changes),
            "operation": operation,
            "occurred_at": format!("2026-11-20T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"),
            "contact": fields,
        });
        if is_of_a_pair || self.maybe(90) {
            change["version"] = (version + 1).into();
        }
        self.changes += 1;
        let state = &mut self.contacts[contact];
        (state.kind, state.version, state.exists) = (kind, version + 1, operation != "delete");
        state.is_doubtful = false;
        change
    }

    /// Generates a form of the contact's id. Letter case and surrounding space do not matter.
    fn id(&mut self, contact: usize) -> String {
        match self.random.u32(..20) {
            0 => format!("C-{contact:06}"),
            1 => format!("  c-{contact:06}\t"),
            2 => format!("\u{a0}C-{contact:06} "),
            _ => format!("c-{contact:06}"),
        }
    }

    /// Generates an invalid record: text that is not JSON, JSON without the required fields, or an
    /// invalid value.
    fn bad(&mut self) -> Vec<u8> {
        let valid = json!({
            "event_id": "x",
            "operation": "create",
            "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": "bad", "type": "lead"},
        });
        let with = |path: &str, value: Value| {
            let mut change = valid.clone();
            *change.pointer_mut(path).expect("it is there") = value;
            change.to_string()
        };
        let text = match self.random.u32(..14) {
            0 => return b"\xff\xfe\x00".to_vec(),
            1 => String::new(),
            2 => "not json".to_owned(),
            3 => valid.to_string()[..60].to_owned(),
            4 => "[".repeat(200),
            5 => r#"{"event_id":"x"}"#.to_owned(),
            6 => valid
                .to_string()
                .replacen("\"id\"", "\"id\":\"bad\",\"id\"", 1),
            7 => with("/operation", "merge".into()),
            8 => with("/occurred_at", "yesterday".into()),
            9 => with("/event_id", "x".repeat(129).into()),
            10 => with("/contact/type", "friend".into()),
            11 => with("/contact/id", " \t".into()),
            12 => with(
                "/contact",
                json!({"id": "bad", "type": "lead", "email": "nobody"}),
            ),
            _ => with(
                "/contact",
                json!({"id": "bad", "type": "lead", "attributes": {"plan": ["team"]}}),
            ),
        };
        text.into_bytes()
    }
}

impl Iterator for MockStreamGenerator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        if self.made >= self.plan.records {
            return None;
        }
        self.made += 1;
        if self.plan.one_bad_in > 0 && self.random.usize(..self.plan.one_bad_in) == 0 {
            return Some(Generated {
                partition_key: "bad".into(),
                data: self.bad(),
                change: None,
            });
        }
        let (contact, change) = self.next_change();
        let data = change.to_string().into_bytes();
        Some(Generated {
            partition_key: format!("c-{contact:06}"),
            data,
            change: Some(change),
        })
    }
}
