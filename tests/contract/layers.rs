//! The modules of `src` import each other in one direction, as the drawing in `src/lib.rs` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The source files of a crate: their texts by path below `src`, with `/` between the parts.
type Tree = BTreeMap<String, String>;

/// The imports between top-level modules: the importing file by importing and imported module.
type Imports = BTreeMap<(String, String), String>;

#[test]
fn imports_follow_the_drawing_in_lib_rs() {
    let mut tree = Tree::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut tree,
    );
    let imports = imports(&tree);
    for expected in [
        ("app", "lambda"),
        ("dispatch", "adapters"),
        ("settle", "model"),
    ] {
        let (from, to) = expected;
        assert!(
            imports.contains_key(&(from.to_owned(), to.to_owned())),
            "{from} imports {to}"
        );
    }
    let violations = violations(&tree);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Reads all Rust files below `folder` into `tree`.
fn read(folder: &Path, prefix: &str, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = entry.path();
        if path.is_dir() {
            read(&path, &format!("{prefix}{name}/"), tree);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            tree.insert(format!("{prefix}{name}"), text);
        }
    }
}

/// Returns the violations of the layers that the drawing in `lib.rs` shows, one per line.
fn violations(tree: &Tree) -> Vec<String> {
    let root = &tree["lib.rs"];
    let layers = layers(root);
    let mut found = Vec::new();
    let declared = declared(root);
    for module in &declared {
        match layers
            .iter()
            .flatten()
            .filter(|name| *name == module)
            .count()
        {
            0 => found.push(format!("`{module}` is missing in the drawing")),
            1 => {}
            _ => found.push(format!("`{module}` is more than once in the drawing")),
        }
    }
    for name in layers.iter().flatten() {
        if !declared.contains(name) {
            found.push(format!("`{name}` of the drawing is not a module"));
        }
    }
    let layer_of = |module: &str| {
        layers
            .iter()
            .position(|layer| layer.iter().any(|name| name == module))
    };
    let imports = imports(tree);
    for ((from, to), file) in &imports {
        if from == "model" {
            found.push(format!("src/{file}: `model` imports `{to}`"));
        }
        match (layer_of(from), layer_of(to)) {
            (Some(upper), Some(lower)) if upper < lower => {}
            (Some(_), Some(_)) => found.push(format!(
                "src/{file}: `{from}` imports `{to}`, which is not in a layer below it"
            )),
            _ => found.push(format!("src/{file}: `{from}` imports `{to}`, not drawn")),
        }
    }
    if let Some(cycle) = cycle(&imports) {
        found.push(format!("a cycle: {}", cycle.join(" → ")));
    }
    found
}

/// Returns the layers of the drawing, the highest first: the lines of the block `layers` in the
/// module's documentation.
fn layers(root: &str) -> Vec<Vec<String>> {
    let (_, rest) = root.split_once("//! ```layers\n").expect("a drawing");
    let (drawing, _) = rest
        .split_once("//! ```\n")
        .expect("the end of the drawing");
    let mut layers = Vec::new();
    for line in drawing.lines() {
        let names = line.trim_start_matches("//!").split_whitespace();
        layers.push(names.map(str::to_owned).collect());
    }
    layers
}

/// Returns the modules that `lib.rs` declares.
fn declared(root: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for line in root.lines() {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        if let Some(name) = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'))
        {
            modules.insert(name.to_owned());
        }
    }
    modules
}

/// Returns the imports between different top-level modules, without those of tests.
fn imports(tree: &Tree) -> Imports {
    let mut imports = Imports::new();
    for (path, text) in tree {
        let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        if matches!(parts[0], "lib" | "main" | "bin") || parts.contains(&"tests") {
            continue;
        }
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        let code = code(text);
        let to_root = "super::".repeat(parts.len());
        for (at, _) in code.match_indices("crate::") {
            add(&mut imports, parts[0], &code[at + "crate::".len()..], path);
        }
        for (at, _) in code.match_indices(&to_root) {
            if !code[..at].ends_with("super::") {
                add(&mut imports, parts[0], &code[at + to_root.len()..], path);
            }
        }
    }
    imports
}

/// Adds the modules at the head of `rest`, which follows the path of the crate's root.
fn add(imports: &mut Imports, from: &str, rest: &str, file: &str) {
    for to in heads(rest) {
        if to != from {
            let edge = (from.to_owned(), to.to_owned());
            imports.entry(edge).or_insert_with(|| file.to_owned());
        }
    }
}

/// Returns the first names of the paths that begin `rest`: of one path, or of a group in braces.
fn heads(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut heads = vec![name(group)];
    let mut depth = 1;
    for (at, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(name(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Returns the name at the beginning of `text`.
fn name(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|sign: char| !(sign.is_alphanumeric() || sign == '_'));
    &text[..end.unwrap_or(text.len())]
}

/// Returns a file without its comments and its test module, which is the last item.
fn code(text: &str) -> String {
    let text = match text.split_once("#[cfg(test)]\nmod tests {") {
        Some((code, _)) => code,
        None => text,
    };
    let mut code = String::new();
    for line in text.lines() {
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// Returns a cycle among the imports, if there is one: the modules in order, the first repeated.
fn cycle(imports: &Imports) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    for (from, _) in imports.keys() {
        if let Some(cycle) = cycle_from(from, imports, &mut Vec::new(), &mut done) {
            return Some(cycle);
        }
    }
    None
}

/// Returns a cycle that can be reached from `module`, which the modules of `path` lead to.
fn cycle_from(
    module: &str,
    imports: &Imports,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|known| known == module) {
        let mut cycle = path[at..].to_vec();
        cycle.push(module.to_owned());
        return Some(cycle);
    }
    if !done.insert(module.to_owned()) {
        return None;
    }
    path.push(module.to_owned());
    for (from, to) in imports.keys() {
        if from == module
            && let Some(cycle) = cycle_from(to, imports, path, done)
        {
            return Some(cycle);
        }
    }
    path.pop();
    None
}

/// A tree of three layers with these files added or replaced.
fn fake(files: &[(&str, &str)]) -> Tree {
    let root = "//! ```layers\n//! top\n//! left right\n//! model\n//! ```\n\n\
                mod left;\npub mod model;\npub mod right;\nmod top;\n";
    let mut tree = Tree::new();
    for (path, text) in [
        ("lib.rs", root),
        ("main.rs", "use crate::anything;"),
        (
            "top/mod.rs",
            "use crate::{left::Left, model, right::{self, Right}};\nmod part;\n",
        ),
        (
            "top/part.rs",
            "use super::super::model::Word;\nuse super::Top;\n",
        ),
        (
            "left.rs",
            "use crate::model::Word;\n// crate::right would be no import\n",
        ),
        (
            "right.rs",
            "use super::model;\n#[cfg(test)]\nmod tests {\n    use crate::top::Top;\n}\n",
        ),
        ("right/tests.rs", "use crate::top::Top;\n"),
        ("model.rs", "pub struct Word;\n"),
    ]
    .iter()
    .chain(files)
    {
        tree.insert((*path).to_owned(), (*text).to_owned());
    }
    tree
}

#[test]
fn the_check_finds_the_imports_of_a_tree() {
    let edges: Vec<_> = imports(&fake(&[]))
        .into_keys()
        .map(|(from, to)| format!("{from}-{to}"))
        .collect();
    let expected = [
        "left-model",
        "right-model",
        "top-left",
        "top-model",
        "top-right",
    ];
    assert_eq!(edges, expected);
}

#[test]
fn the_check_accepts_a_tree_in_layers_and_names_each_violation() {
    let accepted = violations(&fake(&[]));
    assert!(accepted.is_empty(), "{accepted:?}");
    let root = |layers: &str, modules: &str| {
        format!("//! ```layers\n{layers}//! ```\n\n{modules}mod model;\nmod top;\n")
    };
    let without_right = root("//! top\n//! left\n//! model\n", "mod left;\nmod right;\n");
    let with_lost = root(
        "//! top lost\n//! left right\n//! model\n",
        "mod left;\nmod right;\n",
    );
    let twice = root(
        "//! top\n//! left right\n//! left model\n",
        "mod left;\nmod right;\n",
    );
    for (path, text, expected) in [
        (
            "left.rs",
            "use crate::top;",
            &[
                "src/left.rs: `left` imports `top`, which is not in a layer below it",
                "a cycle: left → top → left",
            ][..],
        ),
        (
            "left.rs",
            "fn f() { crate::right::f() }",
            &["src/left.rs: `left` imports `right`, which is not in a layer below it"],
        ),
        (
            "left/part.rs",
            "use super::super::{model, right};",
            &["src/left/part.rs: `left` imports `right`, which is not in a layer below it"],
        ),
        (
            "model.rs",
            "use crate::right;",
            &[
                "src/model.rs: `model` imports `right`",
                "src/model.rs: `model` imports `right`, which is not in a layer below it",
                "a cycle: model → right → model",
            ],
        ),
        (
            "model.rs",
            "use crate::top::Top;",
            &[
                "src/model.rs: `model` imports `top`",
                "src/model.rs: `model` imports `top`, which is not in a layer below it",
                "a cycle: left → model → top → left",
            ],
        ),
        (
            "lib.rs",
            &without_right,
            &[
                "`right` is missing in the drawing",
                "src/right.rs: `right` imports `model`, not drawn",
                "src/top/mod.rs: `top` imports `right`, not drawn",
            ],
        ),
        (
            "lib.rs",
            &with_lost,
            &["`lost` of the drawing is not a module"],
        ),
        (
            "lib.rs",
            &twice,
            &["`left` is more than once in the drawing"],
        ),
    ] {
        assert_eq!(
            violations(&fake(&[(path, text)])),
            expected,
            "{path}: {text}"
        );
    }
}
