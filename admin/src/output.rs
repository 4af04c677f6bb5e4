//! What the tool writes: answers to standard output, as text or JSON; progress and failures to
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::failure::Failure;

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// The whole answer: `json` for programs, `text` for people.
    pub(crate) fn answer(self, json: &impl Serialize, text: &str) {
        self.json(json);
        if !self.is_json {
            write(io::stdout(), text);
        }
    }

    /// The answer for programs, where people read it line by line on standard error.
    pub(crate) fn json(self, json: &impl Serialize) {
        if self.is_json {
            // What is answered has texts for keys, so that it is always JSON.
            write(
                io::stdout(),
                &serde_json::to_string_pretty(json).unwrap_or_default(),
            );
        }
    }

    /// A word beside the answer.
    pub(crate) fn note(self, text: &str) {
        if !self.is_json {
            write(io::stderr(), text);
        }
    }

    /// A mistake in what was given to be judged: one line, for people.
    pub(crate) fn mistake(self, text: &str) {
        self.note(&format!("error: {text}"));
    }

    /// Whether a person reads along, and may be asked.
    pub(crate) fn may_ask(self) -> bool {
        !self.is_json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Why there is no answer: one line.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.is_json {
            write(
                io::stderr(),
                &json!({"error": failure.to_string()}).to_string(),
            );
        } else {
            write(io::stderr(), &format!("error: {failure}"));
        }
    }

    /// A bar for long work, or a wheel where nobody knows how long. It is drawn on standard error,
    /// where that is a terminal, and gone when it is dropped.
    pub(crate) fn progress(self, what: &'static str, length: Option<u64>) -> ProgressBar {
        if self.is_json {
            return ProgressBar::hidden();
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), "{msg} [{bar:40}] {pos}/{len}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {pos}"),
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.with_message(what)
            .with_finish(indicatif::ProgressFinish::AndClear)
    }
}

/// A table without lines, as wide as its content.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    let lines = table.lines().map(|line| {
        line.strip_prefix(' ')
            .unwrap_or(&line)
            .trim_end()
            .to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A reader that has gone away (`| head`) is no failure.
fn write(mut stream: impl Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}
