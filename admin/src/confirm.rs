//! Confirmation by the operator at the terminal.

use std::io::{self, BufRead, Write};

/// Asks on standard error and reads the reply from standard input. Returns whether the reply is
/// `y` or `yes`.
pub(crate) fn confirm(question: &str) -> bool {
    ask(question, io::stdin().lock(), io::stderr())
}

fn ask(question: &str, mut input: impl BufRead, mut output: impl Write) -> bool {
    let _ = write!(output, "{question} [y/N] ");
    let _ = output.flush();
    let mut answer = String::new();
    let was_read = input.read_line(&mut answer).is_ok();
    was_read && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_confirms() {
        for (answer, expected) in [
            ("y\n", true),
            ("Yes\n", true),
            (" y", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yo\n", false),
        ] {
            let mut asked = Vec::new();
            assert_eq!(
                ask("Really?", answer.as_bytes(), &mut asked),
                expected,
                "{answer:?}"
            );
            assert_eq!(asked, b"Really? [y/N] ");
        }
    }
}
