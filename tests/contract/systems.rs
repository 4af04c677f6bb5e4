//! A system is named in its own folder and in the registry alone. What else depends on a system
//! asks the registry.

use std::fs;
use std::path::Path;

use contact_sync::adapters::REGISTRY;
use testkit::tinycrm;

/// The files that name systems, each with its reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("src/adapters/mod.rs", "declares the folders"),
    ("src/adapters/registry.rs", "is the registry"),
    (
        "src/model/codes.rs",
        "explains to operators the codes that one system alone causes",
    ),
    ("src/settings/defaults.toml", "has the default routes"),
];

/// Folders with the sources of the function and of the operator's tool.
const FOLDERS: [&str; 2] = ["src", "admin/src"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads every source and every document of settings: its path, its text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        read(&root().join(folder), &mut files);
    }
    assert!(files.len() > 150, "the sources are somewhere else");
    files
}

fn read(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, files);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "toml")
        {
            let text = fs::read_to_string(&path).expect("a text");
            let name = path.strip_prefix(root()).expect("below the root");
            files.push((name.display().to_string(), text));
        }
    }
}

/// Returns the lines of code of a file that contain one of `names` in any letter case. Comments,
/// and tests, which are the last item, are no code.
fn lines_naming(text: &str, names: &[String]) -> Vec<usize> {
    let code = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut found = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let line = line.trim_start().to_lowercase();
        let is_comment = line.starts_with("//") || line.starts_with('#');
        // An example may name a function of the template, which is named after its destination.
        let is_named = |name: &String| {
            line.replace(&format!("contact-sync-{name}"), "")
                .contains(name)
        };
        if !is_comment && names.iter().any(is_named) {
            found.push(at + 1);
        }
    }
    found
}

fn names() -> Vec<String> {
    let names = REGISTRY
        .iter()
        .flat_map(|system| [system.name, system.label]);
    names.map(str::to_lowercase).collect()
}

#[test]
fn a_system_is_named_in_its_folder_and_in_the_registry_alone() {
    let names = names();
    let mut found = Vec::new();
    let mut used = Vec::new();
    for (path, text) in files() {
        let is_of_a_system = REGISTRY
            .iter()
            .any(|system| path.starts_with(&format!("src/adapters/{}/", system.name)));
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        let is_exception = EXCEPTIONS.iter().any(|(file, _)| *file == path);
        let lines = lines_naming(&text, &names);
        if is_exception && !lines.is_empty() {
            used.push(path.clone());
        }
        if !is_of_a_system && !is_test && !is_exception {
            found.extend(lines.iter().map(|line| format!("{path}:{line}")));
        }
    }
    assert_eq!(found, [""; 0], "ask the registry instead");
    assert_eq!(
        used.len(),
        EXCEPTIONS.len(),
        "an exception names no system: {used:?}"
    );
}

#[test]
fn the_third_system_is_named_nowhere() {
    let name = tinycrm::SYSTEM.name;
    for (path, text) in files() {
        assert!(!text.to_lowercase().contains(name), "{path} names {name}");
    }
}

#[test]
fn the_finder_finds_names_in_code_alone() {
    let text = "// hubspot\nlet a = \"HubSpot\";\n# hubspot\n#[cfg(test)]\nmod tests { hubspot }";
    assert_eq!(lines_naming(text, &names()), [2]);
}
