//! Output of the tool: results to standard output, as text or JSON; progress and failures to
//! standard error. Texts have colours on a terminal, unless `NO_COLOR` is set.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::confirm::confirm;
use super::failure::Failure;

/// Style of a good result.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of a warning.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Style of a failure.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of a result that is none of these.
pub(crate) const NEUTRAL: Style = Style::new().dimmed();
/// Style of headers.
const HEADER: Style = Style::new().bold();
/// Streams that the tool writes to. Texts have styles, which those of the process remove where they
/// are no terminal.
pub struct Streams {
    /// Receives the results.
    pub out: Box<dyn Write>,
    /// Receives notes and failures.
    pub err: Box<dyn Write>,
}

impl Streams {
    /// Returns the streams of the process.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(anstream::stdout()),
            err: Box::new(anstream::stderr()),
        }
    }
}

/// Output of a command, as text or JSON.
pub(crate) struct Output {
    is_json: bool,
    streams: RefCell<Streams>,
}

impl Output {
    /// Creates an output that prints results as JSON or as text.
    pub(crate) fn new(is_json: bool, streams: Streams) -> Self {
        Self {
            is_json,
            streams: RefCell::new(streams),
        }
    }

    /// Prints the result: `json` in JSON mode, else `text`.
    pub(crate) fn result(&self, json: &impl Serialize, text: &str) {
        self.json(json);
        if !self.is_json {
            self.write_out(text);
        }
    }

    /// Prints bytes as they are, for documents of other programs.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let _ = self.streams.borrow_mut().out.write_all(bytes);
    }

    /// Prints the result in JSON mode only, for results whose text is a list of errors.
    pub(crate) fn json(&self, json: &impl Serialize) {
        if self.is_json {
            self.write_out(&pretty_json(json));
        }
    }

    /// Prints a note to standard error in text mode.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_json {
            self.write_err(&escaped(text));
        }
    }

    /// Prints an error in a checked document: one line to standard error in text mode.
    pub(crate) fn error(&self, text: &str) {
        if !self.is_json {
            self.write_err(&format!("{} {}", styled(BAD, "error:"), escaped(text)));
        }
    }

    /// Returns whether the tool runs on a terminal and may ask for confirmation.
    pub(crate) fn may_ask(&self) -> bool {
        !self.is_json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks the operator on the terminal. Returns whether the reply is `y` or `yes`; without a
    /// terminal there is none.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        self.may_ask() && bars().suspend(|| confirm(&escaped(question)))
    }

    /// Prints the failure of the command: one line.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json {
            self.write_err(&json!({"error": failure.to_string()}).to_string());
        } else {
            self.error(&failure.to_string());
        }
    }

    fn write_out(&self, text: &str) {
        write(&mut self.streams.borrow_mut().out, text);
    }

    fn write_err(&self, text: &str) {
        write(&mut self.streams.borrow_mut().err, text);
    }

    /// Shows a progress bar, or a spinner if the length is unknown. It is drawn on standard error
    /// if that is a terminal, and is cleared when it is dropped.
    pub(crate) fn progress(&self, message: &'static str, length: Option<u64>) -> ProgressBar {
        if self.is_json {
            return ProgressBar::hidden();
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), "{msg} [{bar:40}] {pos}/{len}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {pos}"),
        };
        let bar = bars().add(bar);
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.with_message(message)
            .with_finish(indicatif::ProgressFinish::AndClear)
    }
}

/// Returns the progress bars of the process, which give way to questions.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Adds a style to a text. The streams remove it where they are no terminal, and with `NO_COLOR`.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Formats a table without lines, as wide as its content. Characters that a terminal interprets are
/// escaped in every cell.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(
        rows.into_iter()
            .map(|row| row.map(|cell| escaped(&cell).into_owned())),
    );
    let lines = table.lines().enumerate().map(|(at, line)| {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        match at {
            0 => styled(HEADER, line),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns whether a terminal interprets the character instead of printing it: control characters
/// (U+0000 to U+001F, U+007F to U+009F), line and paragraph separators, and the characters that
/// override the direction of the text around them.
fn is_unsafe_on_terminal(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Formats a document as indented JSON. JSON itself escapes the control characters below U+0020
/// alone; the other characters that a terminal interprets are escaped in the same form.
pub(crate) fn pretty_json(document: &impl Serialize) -> String {
    // All keys of a document are strings: its serialization cannot fail.
    let json = serde_json::to_string_pretty(document).unwrap_or_default();
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if char != '\n' && is_unsafe_on_terminal(char) {
            // All of them are in the basic multilingual plane.
            let _ = write!(text, "\\u{:04x}", u32::from(char));
        } else {
            text.push(char);
        }
    }
    text
}

/// Escapes the characters that a terminal interprets, as Rust writes them: `\n`, `\u{1b}`.
/// Contents of queues and streams could otherwise forge the output of the tool.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe_on_terminal) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_unsafe_on_terminal(char) {
            escaped.extend(char.escape_default());
        } else {
            escaped.push(char);
        }
    }
    escaped.into()
}

/// Writes a line. A closed pipe (`| head`) is no failure.
fn write(stream: &mut impl Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_escapes_control_characters_of_its_cells() {
        let forged = "c-1\u{1b}[2K\r\nok  all\u{9b}0m \u{202e}dlrow\u{7f}";
        let rows = [[forged.to_owned(), "è 艾达 🦀".to_owned()]];
        let text = table(["contact", "name"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text:?}");
        assert!(
            lines[1].starts_with(r"c-1\u{1b}[2K\r\nok  all\u{9b}0m \u{202e}dlrow\u{7f}"),
            "{text:?}"
        );
        assert!(lines[1].ends_with("è 艾达 🦀"), "{text:?}");
    }

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(escaped("Ada è 艾达"), Cow::Borrowed(_)));
    }
}
