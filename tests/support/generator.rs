//! `MockStreamGenerator`: an event generator in place of the company's contact database. The same seed gives the same
//! stream.

use serde_json::{Map, Value, json};

/// One record, on its way to the stream.
#[derive(Clone, Debug)]
pub struct Generated {
    pub partition_key: String,
    pub data: Vec<u8>,
    /// The change in it; `None` for a record that nobody can accept.
    pub change: Option<Value>,
}

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub records: usize,
    pub contacts: usize,
    /// One record in so many is of a kind that has to be rejected; 0: none.
    pub one_bad_in: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, records: 20_000, contacts: 5_000, one_bad_in: 500 }
    }
}

/// Generates contacts of all four types, with creates, updates (partial ones too), deletes, several changes of one
/// contact close together, texts of many scripts, and now and then something that is no change at all.
#[derive(Debug)]
pub struct MockStreamGenerator {
    random: fastrand::Rng,
    plan: Plan,
    made: usize,
    /// Each contact's version, and whether it exists.
    contacts: Vec<(u64, bool)>,
    /// The contact that the last change was of: changes come in bursts.
    last: usize,
}

const TYPES: [&str; 4] = ["lead", "prospect", "customer", "vendor"];
const FIRST: [&str; 10] = ["Ada", "Grace", "Zoë", "Łukasz", "Νίκος", "Ольга", "美咲", "علي", "O'Brien", "Bo\\b \"B\""];
const LAST: [&str; 8] = ["Lovelace", "Hopper", "Müller", "Żak", "Παπάς", "Иванова", "山田", "d'Arc-Şahin"];
const COMPANY: [&str; 6] = ["Analytical Engines", "Ünï & Söhne", "日本商事", "Acme <Ltd>", "Éire 🚀 Labs", "x"];
const CITY: [&str; 5] = ["London", "Zürich", "大阪", "São Paulo", "Kraków"];
const STATUS: [&str; 3] = ["Open - Not Contacted", "Contacted", "Qualified"];
const TITLE: [&str; 4] = ["Engineer", "Head of \"Everything\"", "Büroleitung", "課長"];

impl MockStreamGenerator {
    pub fn new(plan: Plan) -> Self {
        let contacts = vec![(0, false); plan.contacts.max(1)];
        Self { random: fastrand::Rng::with_seed(plan.seed), plan, made: 0, contacts, last: 0 }
    }

    /// The type of a contact: it keeps it for life.
    pub fn kind(contact: usize) -> &'static str {
        TYPES[contact % TYPES.len()]
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.random.usize(..texts.len())]
    }

    fn maybe(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    /// Each optional field: mentioned or not, cleared or set.
    fn fields(&mut self, contact: usize, mentioned: u32) -> Map<String, Value> {
        let mut fields = Map::new();
        let phone = format!("+44 20 7946 {:04}", self.random.u32(..10_000));
        let address = json!({
            "street": format!("{} High St", self.random.u32(1..200)), "city": self.pick(&CITY), "state": null,
            "postal_code": format!("{:05}", self.random.u32(..99_999)), "country": "United Kingdom"
        });
        let round = self.random.u32(..1000);
        for (name, value) in [
            ("email", json!(format!("Contact{contact}.{round}@Example.com"))),
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
        fields
    }

    fn change(&mut self) -> (usize, Value) {
        // A quarter of the changes follow up on the last one.
        let contact = if self.maybe(25) { self.last } else { self.random.usize(..self.contacts.len()) };
        self.last = contact;
        let (version, exists) = self.contacts[contact];
        let operation = match exists {
            false => "create",
            true if self.maybe(6) => "delete",
            true => "update",
        };
        self.contacts[contact] = (version + 1, operation != "delete");
        let mut fields = match operation {
            "create" => self.fields(contact, 85),
            "update" => self.fields(contact, 30),
            _ => Map::new(),
        };
        // Identity is blind to letter case.
        let id = if self.maybe(5) { format!("C-{contact:06}") } else { format!("c-{contact:06}") };
        if operation == "create" {
            // HubSpot takes no new contact without a name or an address.
            fields.entry("email").and_modify(|email| *email = format!("new{contact}.{version}@example.com").into());
            fields.entry("last_name").or_insert_with(|| "Nobody".into());
            if fields["last_name"].is_null() {
                fields.insert("last_name".into(), "Nobody".into());
            }
        }
        fields.insert("id".into(), id.into());
        fields.insert("type".into(), Self::kind(contact).into());
        let second = self.made / 100;
        let change = json!({
            "event_id": format!("e-{:08}", self.made), "operation": operation, "version": version + 1,
            "occurred_at": format!("2026-11-20T{:02}:{:02}:{:02}.{:03}Z", second / 3600 % 24, second / 60 % 60, second % 60, self.made % 1000),
            "contact": fields,
        });
        (contact, change)
    }

    fn bad(&mut self) -> Vec<u8> {
        let samples: [&[u8]; 6] = [
            b"not json",
            b"{\"event_id\":\"x\"}",
            b"\xff\xfe\x00",
            br#"{"event_id":"x","operation":"create","occurred_at":"2026-11-20T10:15:00Z","contact":{"id":"bad","type":"lead","email":"nobody"}}"#,
            br#"{"event_id":"x","operation":"merge","occurred_at":"2026-11-20T10:15:00Z","contact":{"id":"bad","type":"lead"}}"#,
            br#"{"event_id":"x","operation":"create","occurred_at":"2026-11-20T10:15:00Z","contact":{"id":"bad","type":"friend"}}"#,
        ];
        samples[self.random.usize(..samples.len())].to_vec()
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
            return Some(Generated { partition_key: "bad".into(), data: self.bad(), change: None });
        }
        let (contact, change) = self.change();
        let data = change.to_string().into_bytes();
        Some(Generated { partition_key: format!("c-{contact:06}"), data, change: Some(change) })
    }
}
