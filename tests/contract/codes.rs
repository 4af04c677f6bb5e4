//! The registry of codes: it is complete, `docs/reference/codes.md` is made from it, and no source
//! file spells a code out beside it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use contact_sync::adapters::REGISTRY;
use contact_sync::adapters::{hubspot, salesforce};
use contact_sync::model::codes::{self, CodeEntry, OWN, PATTERNS, RENAMED};

/// The list of our own codes. Each system lists its codes in a file of its folder.
const OWN_CODES: &str = "src/model/codes.rs";

const STAGES: [&str; 5] = ["decode", "validate", "route", "deliver", "settle"];
const FATES: [&str; 5] = ["delivered", "filtered", "superseded", "rejected", "failed"];

/// The beginnings of environment variables and of a constant of Kafka, which look like codes.
const VARIABLES: [&str; 5] = ["AWS_", "CARGO_", "CONTACT_SYNC_", "LOG_APPEND_", "OTEL_"];

const BEGIN: &str = "<!-- codes: begin -->\n";
const END: &str = "<!-- codes: end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_entry_is_complete_and_listed_once() {
    let of_systems = REGISTRY.map(|system| [system.codes, system.code_patterns]);
    for list in [OWN, PATTERNS].into_iter().chain(of_systems.concat()) {
        let mut seen = BTreeSet::new();
        for entry in list {
            let code = entry.code;
            assert!(seen.insert(code), "{code} is listed twice");
            assert!(
                words_of(entry.stage).all(|stage| STAGES.contains(&stage)),
                "{code}: stage"
            );
            assert!(
                words_of(entry.fate).all(|fate| FATES.contains(&fate)),
                "{code}: fate"
            );
            for text in [entry.meaning, entry.remedy] {
                let is_sentence = text.len() > 5 && text.ends_with('.');
                assert!(is_sentence && !text.contains('|'), "{code}: {text:?}");
            }
        }
    }
    for system in REGISTRY {
        assert!(!system.codes.is_empty(), "{} lists its codes", system.name);
    }
    for (former, current) in RENAMED {
        assert_eq!(codes::current(former), *current);
        let is_own = |code: &str| OWN.iter().any(|entry| entry.code == code);
        assert!(is_own(current) && !is_own(former), "{former}");
    }
}

/// Splits `decode, validate or deliver` into its words.
fn words_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(" or ").flat_map(|part| part.split(", "))
}

#[test]
fn every_code_of_our_own_is_used() {
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    for CodeEntry { code, .. } in OWN {
        let mut uses = sources.match_indices(code).map(|(at, _)| {
            let (before, after) = (&sources[..at], &sources[at + code.len()..]);
            let is_named = before.ends_with("codes::") || before.ends_with("Code::new(");
            is_named && !after.starts_with(is_of_code)
        });
        assert!(uses.any(|is_use| is_use), "{code} is not used");
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "`make codes` asks by a variable to write the page"
)]
fn the_reference_lists_the_registry() {
    let path = root().join("docs/reference/codes.md");
    let page = fs::read_to_string(&path).expect("docs/reference/codes.md");
    let (before, rest) = page.split_once(BEGIN).expect("the first marker");
    let (_, after) = rest.split_once(END).expect("the second marker");
    let expected = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(&path, expected).expect("docs/reference/codes.md can be written");
    } else {
        assert!(
            page == expected,
            "docs/reference/codes.md is out of date: run `make codes`"
        );
    }
}

fn tables() -> String {
    let mut text = String::new();
    let own = [
        ("Codes of contact-sync".to_owned(), OWN.to_vec()),
        ("Families of codes".to_owned(), PATTERNS.to_vec()),
    ];
    let of_systems = REGISTRY.map(|system| {
        let title = format!("Codes of {}", system.label);
        (title, [system.codes, system.code_patterns].concat())
    });
    for (title, mut entries) in own.into_iter().chain(of_systems) {
        entries.sort_by_key(|entry| (entry.code.contains(' '), entry.code));
        writeln!(
            text,
            "\n## {title}\n\n| code | stage | fate | meaning | remedy |"
        )
        .expect("text");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for CodeEntry {
            code,
            stage,
            fate,
            meaning,
            remedy,
        } in entries
        {
            let code = if code.contains(' ') {
                code.to_owned()
            } else {
                format!("`{code}`")
            };
            writeln!(text, "| {code} | {stage} | {fate} | {meaning} | {remedy} |").expect("text");
        }
    }
    text.push_str("\n## Former names\n\n| former name | code |\n| --- | --- |\n");
    for (former, current) in RENAMED {
        writeln!(text, "| `{former}` | `{current}` |").expect("text");
    }
    text.push('\n');
    text
}

#[test]
fn no_source_spells_a_code_out() {
    let found: Vec<String> = sources()
        .into_iter()
        .flat_map(|(path, text)| {
            let lines = codes_in(&text, system_of(&path));
            lines
                .into_iter()
                .map(move |(line, code)| format!("{path}:{line}: {code}"))
        })
        .collect();
    assert!(
        found.is_empty(),
        "name these codes by their constants in the registry, or list them there:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_finder_finds_codes_and_nothing_else() {
    let source = r##"
        //! "A_COMMENT" is no code.
        /// `Code::new("A_DOC_COMMENT")`
        fn code(problem: &ApiError) -> Code {
            let quote = ('"', '\'', b'"', r#"A "RAW_STRING" in words"#, 'a: loop { break 'a });
            if problem.is("REQUEST_LIMIT_EXCEEDED") { /* "BLOCK_COMMENT" */ }
            let (name, word, own) = ("AWS_REGION", "ERROR", "STALE");
            let escaped = "a \" quote"; let made = Code::new(
                "WORD",
            );
            let code = refuse("NEVER_HEARD_OF", "contact.id", "SENTENCES_ARE no codes");
            CallError::failed("FAILED", format!("HTTP_{status}"))
        }
        #[cfg(test)]
        mod tests { const CODE: &str = "IN_A_TEST"; }
    "##;
    let found = [
        (7, "STALE"),
        (9, "WORD"),
        (11, "NEVER_HEARD_OF"),
        (12, "FAILED"),
        (12, "HTTP_{status}"),
    ];
    let elsewhere = [&[(6, "REQUEST_LIMIT_EXCEEDED")][..], &found[..]].concat();
    let of = |system| -> Vec<(usize, String)> { codes_in(source, system) };
    let own = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
        list.iter()
            .map(|(line, code)| (*line, (*code).to_owned()))
            .collect()
    };
    assert_eq!(of(None), own(&elsewhere));
    assert_eq!(
        of(Some(salesforce::CODES)),
        own(&found),
        "the table's own folder"
    );
    assert_eq!(of(Some(hubspot::CODES)), own(&elsewhere));
}

/// Reads the sources beside the registry, without files of tests.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src", "admin/src"] {
        read_folder(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources are somewhere else");
    let mut sources = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).expect("below the root");
        let is_test = path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        let is_registry = path == Path::new(OWN_CODES)
            || (path.starts_with("src/adapters") && path.ends_with("errors/registry.rs"));
        if !is_test && !is_registry {
            let text = fs::read_to_string(&file).expect("a source");
            sources.push((path.display().to_string(), text));
        }
    }
    sources
}

fn read_folder(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the list of the system in whose folder the file is.
fn system_of(path: &str) -> Option<&'static [CodeEntry]> {
    let system = path.strip_prefix("src/adapters/")?.split('/').next()?;
    let known = REGISTRY.iter().find(|known| known.name == system);
    known.map(|known| known.codes)
}

/// Returns the codes that `source` spells out, each with its line. A code is a literal with an
/// underscore in upper case, one of ours, or one of which a code is made. In the folder of a system
/// the codes that its list has may be compared with.
fn codes_in(source: &str, system: Option<&[CodeEntry]>) -> Vec<(usize, String)> {
    let is_in = |list: &[CodeEntry], text: &str| list.iter().any(|entry| entry.code == text);
    let mut found = Vec::new();
    for literal in literals(without_tests(source)) {
        let text = literal.text;
        let has_form = text.len() > 2
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && !text.ends_with('_')
            && (text.starts_with("HTTP_") || text.chars().all(is_of_code));
        let is_made = ["Code::new(", "Code::from(", "::failed(", "refuse("]
            .iter()
            .any(|call| literal.before.ends_with(call));
        let is_variable = VARIABLES
            .iter()
            .any(|beginning| text.starts_with(beginning));
        let is_of_system = system.is_some_and(|list| is_in(list, text));
        let is_code = is_made || !is_of_system && (text.contains('_') || is_in(OWN, text));
        if has_form && is_code && !is_variable {
            found.push((literal.line, text.to_owned()));
        }
    }
    found
}

/// Returns the source before its module of tests, which is the last item.
fn without_tests(source: &str) -> &str {
    for (at, attribute) in source.match_indices("#[cfg(test)]") {
        let after = &source[at + attribute.len()..];
        if after.trim_start().starts_with("mod tests") {
            return &source[..at];
        }
    }
    source
}

fn is_of_code(character: char) -> bool {
    character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
}

/// A string literal.
struct Literal<'a> {
    line: usize,
    text: &'a str,
    /// The source before it, without the blanks at its end.
    before: &'a str,
}

/// Reads the string literals of a Rust source. Skips comments, characters and lifetimes.
fn literals(source: &str) -> Vec<Literal<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = source[at..].find(['"', '/', '\'', '#']) {
        let start = at + next;
        let rest = &source[start..];
        at = start
            + if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if rest.starts_with("'\\") {
                2 + rest[3..].find('\'').map_or(0, |end| end + 2)
            } else if let Some(after) = rest.strip_prefix('\'') {
                let mut characters = after.chars();
                let length = characters.next().map_or(0, char::len_utf8);
                if characters.next() == Some('\'') {
                    length + 2
                } else {
                    1
                }
            } else {
                let hashes = rest.len() - rest.trim_start_matches('#').len();
                let is_raw = source[..start].ends_with('r');
                match rest[hashes..].strip_prefix('"') {
                    Some(body) if is_raw || hashes == 0 => {
                        let length = if is_raw {
                            raw_end(body, hashes)
                        } else {
                            end(body)
                        };
                        let line = source[..start].lines().count().max(1)
                            + usize::from(source[..start].ends_with('\n'));
                        found.push(Literal {
                            line,
                            text: &body[..length],
                            before: source[..start].trim_end(),
                        });
                        hashes + 1 + length + 1 + if is_raw { hashes } else { 0 }
                    }
                    _ => hashes.max(1),
                }
            };
    }
    found
}

/// Returns the length of a string literal's body, up to its closing quote.
fn end(body: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in body.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    body.len()
}

fn raw_end(body: &str, hashes: usize) -> usize {
    let close = format!("\"{}", "#".repeat(hashes));
    body.find(&close).unwrap_or(body.len())
}
