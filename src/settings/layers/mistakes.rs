//! Finds every mistake of the layers, and the name that a misspelt one stands for.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::{Fault, Layers, SettingsError};

/// The layers that are built in: the defaults and the preset.
const BUILT_IN: usize = 2;

/// The indexes of the items that were left out, by the path of their list.
type LeftOut = BTreeMap<Vec<String>, Vec<usize>>;

impl Layers {
    /// Returns every mistake, each with the key as the operator wrote it. A mistake is left out
    /// before the next one is looked for, so that a default takes its place.
    ///
    /// A value that contradicts another one is left out first, and the other one only where that
    /// does not help.
    pub fn mistakes(&self, destinations: &[&str]) -> Vec<SettingsError> {
        let (mut rest, mut left_out) = (self.clone(), LeftOut::new());
        let mut found: Vec<Fault> = Vec::new();
        while let Err(fault) = rest.judge(destinations) {
            let is_less = fault
                .paths
                .iter()
                .any(|path| rest.leave_out(path, &mut left_out));
            let fault = fault.with_places_in(&left_out);
            if found.iter().all(|known| known.paths[0] != fault.paths[0]) {
                found.push(fault);
            }
            if !is_less {
                break;
            }
        }
        found.iter().map(|fault| self.error(fault)).collect()
    }

    /// Takes the value at `path` out of every layer that is not built in. Returns whether there was
    /// one.
    fn leave_out(&mut self, path: &[String], left_out: &mut LeftOut) -> bool {
        let mut was_there = false;
        for layer in self.layers.iter_mut().skip(BUILT_IN) {
            was_there |= remove(&mut layer.values, path);
        }
        if let (true, Some((index, list))) = (was_there, index_in(path)) {
            left_out.entry(list.to_vec()).or_default().push(index);
        }
        was_there
    }
}

impl Fault {
    /// Names an item by its place in the document, where items before it were left out.
    fn with_places_in(mut self, left_out: &LeftOut) -> Self {
        for path in &mut self.paths {
            let Some((mut index, list)) = index_in(path) else {
                continue;
            };
            // The last one left out is this one.
            let Some((_, before)) = left_out.get(list).and_then(|all| all.split_last()) else {
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

/// The index and the list that a path ends in, where it ends in an item of a list.
fn index_in(path: &[String]) -> Option<(usize, &[String])> {
    let (index, list) = path.split_last()?;
    Some((index.parse().ok()?, list))
}

/// Removes the value at `path`. A list that loses its last item is removed with it.
fn remove(values: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return values.remove(first).is_some();
    }
    let is_item = |items: &[Value], index: &String| {
        index
            .parse::<usize>()
            .is_ok_and(|index| index < items.len())
    };
    match values.get_mut(first) {
        Some(Value::Dict(_, inner)) => remove(inner, rest),
        Some(Value::Array(_, items)) if rest.len() == 1 && is_item(items, &rest[0]) => {
            if items.len() == 1 {
                values.remove(first);
            } else if let Ok(index) = rest[0].parse::<usize>() {
                items.remove(index);
            }
            true
        }
        _ => false,
    }
}

/// Returns the question whether the nearest of the `allowed` names is meant; empty where none is
/// near.
pub(in crate::settings) fn suggestion(name: &str, allowed: &[&str]) -> String {
    match nearest(name, allowed) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    }
}

/// Returns the allowed name that differs in the fewest letters, and in no more than every third.
fn nearest<'a>(name: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let most = (name.chars().count() / 3).max(1);
    let near = allowed
        .iter()
        .map(|other| (distance(&name, other), *other))
        .filter(|(far, _)| *far <= most);
    near.min_by_key(|(far, _)| *far).map(|(_, other)| other)
}

/// Counts the letters to insert, leave out, replace or swap with their neighbour that make `a` of
/// `b`.
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
