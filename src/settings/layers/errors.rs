//! Finds every error of the layers, and suggests the correct name for a misspelt one.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::{KeyError, Layers, SettingsError};

/// Number of the built-in layers: the defaults and the preset.
const BUILT_IN: usize = 2;

/// The indexes of the removed items, by the path of their list.
type Removed = BTreeMap<Vec<String>, Vec<usize>>;

impl Layers {
    /// Returns every error, each with the key as the operator wrote it. An invalid value is removed
    /// before the next error is searched, so that a default replaces it.
    ///
    /// Of two values that contradict each other, the first is removed first, and the second only
    /// where the error remains.
    pub fn errors(&self, destinations: &[&str]) -> Vec<SettingsError> {
        let (mut rest, mut removed) = (self.clone(), Removed::new());
        let mut found: Vec<KeyError> = Vec::new();
        while let Err(error) = rest.validate(destinations) {
            let is_less = error
                .paths
                .iter()
                .any(|path| rest.remove(path, &mut removed));
            let error = error.with_original_indexes(&removed);
            if found.iter().all(|known| known.paths[0] != error.paths[0]) {
                found.push(error);
            }
            if !is_less {
                break;
            }
        }
        found.iter().map(|error| self.error(error)).collect()
    }

    /// Removes the value at `path` from every layer that is not built in. Returns whether a layer
    /// had the value.
    fn remove(&mut self, path: &[String], removed: &mut Removed) -> bool {
        let mut was_set = false;
        for layer in self.stack.iter_mut().skip(BUILT_IN) {
            was_set |= remove(&mut layer.values, path);
        }
        if let (true, Some((index, list))) = (was_set, index_in(path)) {
            removed.entry(list.to_vec()).or_default().push(index);
        }
        was_set
    }
}

impl KeyError {
    /// Restores the index of an item in the document, where items before it were removed.
    fn with_original_indexes(mut self, removed: &Removed) -> Self {
        for path in &mut self.paths {
            let Some((mut index, list)) = index_in(path) else {
                continue;
            };
            // The last removed item is this one.
            let Some((_, before)) = removed.get(list).and_then(|all| all.split_last()) else {
                continue;
            };
            for earlier in before.iter().rev() {
                index += usize::from(*earlier <= index);
            }
            if let Some(last) = path.last_mut() {
                *last = index.to_string();
            }
        }
        self
    }
}

/// Splits a path that ends in an item of a list into the index and the path of the list.
fn index_in(path: &[String]) -> Option<(usize, &[String])> {
    let (index, list) = path.split_last()?;
    Some((index.parse().ok()?, list))
}

/// Removes the value at `path`, and a list that becomes empty by that.
fn remove(values: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return values.remove(first).is_some();
    }
    match (values.get_mut(first), rest) {
        (Some(Value::Dict(_, inner)), _) => remove(inner, rest),
        (Some(Value::Array(_, items)), [index]) => {
            let Ok(index) = index.parse::<usize>() else {
                return false;
            };
            if index >= items.len() {
                return false;
            }
            if items.len() == 1 {
                values.remove(first);
            } else {
                items.remove(index);
            }
            true
        }
        _ => false,
    }
}

/// Returns a question that suggests the nearest of the `allowed` names; empty where none is near.
pub(in crate::settings) fn suggestion(name: &str, allowed: &[&str]) -> String {
    match nearest(name, allowed) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    }
}

/// Returns the allowed name that differs in the fewest letters, at most in every third.
fn nearest<'a>(name: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let most = (name.chars().count() / 3).max(1);
    let near = allowed
        .iter()
        .map(|other| (distance(&name, other), *other))
        .filter(|(far, _)| *far <= most);
    near.min_by_key(|(far, _)| *far).map(|(_, other)| other)
}

/// Counts the letters to insert, delete, replace or swap with their neighbour that turn `b` into
/// `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let is_other = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (row[j - 1] + 1)
                .min(rows[i - 1][j] + 1)
                .min(rows[i - 1][j - 1] + is_other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_none_where_none_is_near() {
        let allowed = ["version_field", "external_id_field", "batch_size", "lead"];
        for (name, meant) in [
            ("verson_field", Some("version_field")),
            ("versionfield", Some("version_field")),
            ("Version_Field", Some("version_field")),
            ("external_id", None),
            ("bacth_size", Some("batch_size")),
            ("batchsize", Some("batch_size")),
            ("laed", Some("lead")),
            ("le", None),
            ("speed", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &allowed), meant, "{name}");
        }
    }
}
