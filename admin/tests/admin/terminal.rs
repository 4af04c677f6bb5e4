//! Tests of the tool on a terminal: colours, questions, progress; and of its completions and
//! manual pages.

use std::process::{Command, Output};

use serde_json::json;
use testkit::moto::Moto;

use super::stage::{Stage, event};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync-admin");

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear();
    command.output().expect("the tool runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn the_version_names_the_tool() {
    let expected = format!("contact-sync-admin {}\n", env!("CARGO_PKG_VERSION"));
    for option in ["--version", "-V"] {
        assert_eq!(text(&run(&[option]).stdout), expected);
    }
}

#[test]
fn completions_of_each_shell_know_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = text(&run(&["completions", shell]).stdout);
        for word in ["dead-letters", "summary", "replay", "dry-run", "man-pages"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn each_command_gets_a_manual_page_with_its_examples() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let target = folder.path().join("man1");
    let ran = run(&["man-pages", &target.display().to_string()]);
    assert!(ran.status.success(), "{ran:?}");
    for name in [
        "",
        "-replay",
        "-dead-letters",
        "-dead-letters-show",
        "-doctor",
    ] {
        let page = target.join(format!("contact-sync-admin{name}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("{page:?}"));
        assert!(page.contains("Examples:"), "{name}: {page}");
    }
    let refused = run(&["man-pages", "/dev/null/man1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[tokio::test]
async fn a_terminal_gets_colours_unless_no_color_is_set() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "colours").await;
    let document = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(document.path(), "[hubspot]\nbatch_size = 101\n").expect("written");
    let path = document.path().display().to_string();
    let check = ["settings", "--check", &path];
    stage
        .variables
        .push(("TERM".to_owned(), "xterm".to_owned()));
    let coloured = stage.on_a_terminal(&check, "").await;
    assert!(coloured.out.contains("\u{1b}["), "{coloured:?}");
    assert!(!stage.admin(&check).await.err.contains('\u{1b}'));
    stage
        .variables
        .push(("NO_COLOR".to_owned(), "1".to_owned()));
    let plain = stage.on_a_terminal(&check, "").await;
    assert!(plain.out.contains("error: "), "{plain:?}");
    assert!(!plain.out.contains('\u{1b}'), "{plain:?}");
    let help = stage.on_a_terminal(&["replay", "--help"], "").await;
    assert!(!help.out.contains('\u{1b}'), "{help:?}");
}

#[tokio::test]
async fn a_replay_on_a_terminal_begins_after_a_confirmation() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "confirmed").await;
    for at in 0..3 {
        let id = format!("c-{at}");
        let data = event(&id).to_string();
        stage.send(&stage.dead_letter(&id, data.as_bytes())).await;
    }
    let no = stage.on_a_terminal(&["replay"], "n\n").await;
    assert!(
        no.out
            .contains("3 selected so far. Put the selected changes back into the stream"),
        "{no:?}"
    );
    assert!(
        no.out.contains("not confirmed: nothing is put back"),
        "{no:?}"
    );
    assert_eq!(no.code, Some(1), "{no:?}");
    assert_eq!(stage.records().await.len(), 0);
    assert_eq!(stage.visible().await, 3, "they are released");
    let dry = stage.on_a_terminal(&["replay", "--dry-run"], "").await;
    assert!(!dry.out.contains("[y/N]"), "{dry:?}");
    let yes = stage
        .on_a_terminal(&["replay", "--round", "1"], "y\n")
        .await;
    assert_eq!(yes.out.matches("[y/N]").count(), 1, "{yes:?}");
    assert!(
        yes.out.contains("3 changes put back, 3 messages deleted"),
        "{yes:?}"
    );
}

#[tokio::test]
async fn a_replay_with_yes_asks_nothing_and_forces_nothing() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "yes").await;
    let data = event("c-1").to_string();
    stage.send(&stage.dead_letter("c-1", data.as_bytes())).await;
    stage.send(&stage.dead_letter("c-2", b"not JSON")).await;
    let ran = stage.on_a_terminal(&["replay", "--yes"], "").await;
    assert!(!ran.out.contains("[y/N]"), "{ran:?}");
    assert!(
        ran.out.contains("1 change put back, 1 message deleted"),
        "{ran:?}"
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(stage.visible().await, 1);
}

#[tokio::test]
async fn progress_is_drawn_on_a_terminal_alone() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "progress").await;
    stage.send(&json!({"schema": "other"})).await;
    stage
        .variables
        .push(("TERM".to_owned(), "xterm".to_owned()));
    let summary = ["dead-letters", "summary"];
    let drawn = stage.on_a_terminal(&summary, "").await;
    assert!(drawn.out.contains("messages read"), "{drawn:?}");
    let silent = stage.admin(&summary).await;
    assert_eq!(silent.err, "", "{silent:?}");
    assert!(!silent.out.contains("messages read"), "{silent:?}");
}
