//! Tests of the tool with a third system in its registry, which no source of the function or of the
//! tool names. The tool runs in this process: its binary knows the function's systems only.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::rc::Rc;

use aws_config::SdkConfig;
use contact_sync::adapters::{REGISTRY, System};
use contact_sync_admin::{Streams, Tool};
use serde_json::{Value, json};
use testkit::aws::no_aws;
use testkit::harness::change;
use testkit::moto::Moto;
use testkit::tinycrm::{self, TinyAccount};

use crate::preview::file;
use crate::stage::{RunResult, Stage, StreamRecord, event};

static SYSTEMS: [System; 3] = [REGISTRY[0], REGISTRY[1], tinycrm::SYSTEM];

/// Document that routes every lead to the third system.
const ROUTED: &str = "[routes]\nlead = [\"tinycrm\"]\n";

/// Stream that a test reads.
#[derive(Clone, Default)]
struct Captured(Rc<RefCell<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("UTF-8")
    }
}

/// Runs the tool with three systems.
async fn admin(aws: SdkConfig, variables: &[(String, String)], arguments: &[&str]) -> RunResult {
    let (out, err) = (Captured::default(), Captured::default());
    let preset = ("CONTACT_SYNC_PRESET".to_owned(), "test".to_owned());
    let variables = variables.iter().cloned().chain([preset]);
    let tool = Tool {
        registry: &SYSTEMS,
        variables: variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        aws: Some(aws),
        streams: Streams {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
        },
    };
    let arguments = ["contact-sync-admin"].iter().chain(arguments);
    let code = tool.run(arguments.map(OsString::from)).await;
    RunResult {
        code: Some(code.into()),
        out: out.text(),
        err: err.text(),
    }
}

/// Runs the tool without AWS, with `document` in a file.
async fn with_document(document: &str, arguments: &[&str]) -> RunResult {
    let document = file(document);
    let config = format!("file:{}", document.path().display());
    let variables = [("CONTACT_SYNC_CONFIG".to_owned(), config)];
    admin(no_aws(), &variables, arguments).await
}

fn lines<'a>(checks: &'a Value, name: &str) -> Vec<&'a Value> {
    let all = checks["checks"].as_array().expect("a list");
    let is_it = |check: &&Value| {
        check["check"]
            .as_str()
            .is_some_and(|it| it.starts_with(name))
    };
    all.iter().filter(is_it).collect()
}

#[tokio::test]
async fn settings_are_shown_with_the_section_of_a_third_system() {
    let ran = with_document("[tinycrm]\nbatch_size = 7", &["settings", "--json"]).await;
    let shown = ran.json();
    let of = |key: &str| {
        let all = shown.as_array().expect("a list");
        let found = all.iter().find(|setting| setting["key"] == key);
        found.unwrap_or_else(|| panic!("{key}: {ran:?}")).clone()
    };
    assert_eq!(of("tinycrm.batch_size")["value"], 7);
    let from = |key: &str| of(key)["from"].as_str().expect("a layer").to_owned();
    assert!(from("tinycrm.batch_size").ends_with(", line 2"));
    assert!(from("tinycrm.base_url").starts_with("the preset test, line "));
    assert!(from("tinycrm.api_version").starts_with("the defaults, line "));
    assert_eq!(of("hubspot.batch_size")["value"], 100);
}

#[tokio::test]
async fn a_document_is_checked_with_the_section_of_a_third_system() {
    let document = file(
        "[tinycrm]\nbatch_size = 51\napi_versoin = \"v2\"\n\
         [routes]\nlead = [\"tinycmr\"]\n[tinycr]\na = 1",
    );
    let path = document.path().to_str().expect("UTF-8");
    let ran = admin(no_aws(), &[], &["settings", "--check", path]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in [
        "line 2: `tinycrm.batch_size` is 51; allowed: 1 to 50",
        "line 3: `tinycrm.api_versoin` is unknown",
        "did you mean `api_version`?",
        "allowed: salesforce, hubspot, tinycrm; did you mean `tinycrm`?",
        "line 6: `tinycr` is unknown; allowed here: refresh_secs",
        "salesforce, hubspot, tinycrm, dead_letter",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let good = file(ROUTED);
    let path = good.path().to_str().expect("UTF-8");
    let ran = admin(no_aws(), &[], &["settings", "--check", path, "--offline"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("no guard holds for tinycrm"), "{ran:?}");
}

#[tokio::test]
async fn the_settings_schema_has_the_section_of_a_third_system() {
    let schema = with_document("", &["settings", "--schema"]).await.json();
    let section = &schema["properties"]["tinycrm"]["properties"]["batch_size"];
    assert_eq!(section["maximum"], 50);
    assert_eq!(section["description"], "Rows in one request; 1 to 50.");
}

#[tokio::test]
async fn doctor_checks_the_account_of_a_third_system() {
    let account = TinyAccount::new().await;
    let document = format!(
        "{ROUTED}customer = []\nvendor = []\nprospect = []\n[filter]\ntypes = [\"lead\"]\n{}",
        account.document()
    );
    let ran = with_document(&document, &["doctor", "--json"]).await;
    let checks = ran.json();
    let [token] = lines(&checks, "tinycrm")[..] else {
        panic!("{ran:?}")
    };
    assert_eq!(token["ok"], true, "{ran:?}");
    let [skipped] = lines(&checks, "hubspot")[..] else {
        panic!("{ran:?}")
    };
    assert_eq!(skipped["ok"], Value::Null, "{ran:?}");
    account.mock.rotate_token("another");
    let ran = with_document(&document, &["doctor", "--json"]).await;
    let checks = ran.json();
    assert_eq!(lines(&checks, "tinycrm")[0]["ok"], false, "{ran:?}");
    assert_eq!(ran.code, Some(1));
}

#[tokio::test]
async fn a_preview_shows_the_writes_to_a_third_system() {
    let changes = file(&change("create", "c-1", "lead", json!({"first_name": "Ada"})).to_string());
    let path = changes.path().to_str().expect("UTF-8");
    let ran = with_document(ROUTED, &["preview", path, "--json"]).await;
    let report = ran.json();
    assert_eq!(
        report["calls"],
        json!([{"destination": "tinycrm", "batches": 1, "api_calls": 1}])
    );
    assert_eq!(report["records"][0]["destination"], "tinycrm", "{ran:?}");
    assert!(ran.out.contains("first_name"), "{ran:?}");
    assert_eq!(ran.code, Some(0));
}

/// Runs a replay of a change that the third system rejected, with its version field configured or
/// not. Returns the run and the records that are in the stream after it.
async fn replayed(moto: &Moto, name: &str, version_field: &str) -> (RunResult, Vec<Value>) {
    let stage = Stage::new(moto, name).await;
    let mut dead_letter = stage.dead_letter("c-1", event("c-1").to_string().as_bytes());
    dead_letter["reason"]["destination"] = "tinycrm".into();
    stage.send(&dead_letter).await;
    let document = file(&format!(
        "{ROUTED}[tinycrm]\nversion_field = \"{version_field}\""
    ));
    let mut variables = stage.variables.clone();
    variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        format!("file:{}", document.path().display()),
    ));
    let arguments = ["replay", "--destination", "tinycrm", "--stream", name];
    let ran = admin(moto.config(), &variables, &arguments).await;
    let records = stage.records().await;
    (ran, records.iter().map(StreamRecord::json).collect())
}

#[tokio::test]
async fn a_replay_knows_the_guard_of_a_third_system() {
    let moto = Moto::start().await;
    let (ran, records) = replayed(&moto, "unguarded", "").await;
    assert_eq!((ran.code, records.len()), (Some(1), 0), "{ran:?}");
    let reason = "tinycrm.version_field is empty: it could overwrite a newer change in TinyCRM";
    assert!(ran.out.contains(reason), "{ran:?}");
    let (ran, records) = replayed(&moto, "guarded", "version").await;
    assert_eq!((ran.code, records.len()), (Some(0), 1), "{ran:?}");
    assert_eq!(records[0]["replay"], true);
}

#[tokio::test]
async fn a_filter_accepts_the_registered_destinations_only() {
    let ran = admin(no_aws(), &[], &["replay", "--destination", "nowhere"]).await;
    assert_eq!(ran.code, Some(2));
}
