//! The countries and subdivisions of ISO 3166, by their codes and names. Pure.

use std::collections::HashMap;

use icu_normalizer::DecomposingNormalizerBorrowed;
use smallvec::SmallVec;

/// The table that `make_places.py` writes and describes.
const TABLE: &str = include_str!("places.tsv");

/// A country of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Country {
    /// The code of two letters.
    pub(super) iso2: &'static str,
    /// The code of three letters.
    pub(super) iso3: &'static str,
    /// The English name.
    pub(super) name: &'static str,
}

/// A subdivision of ISO 3166-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The country's code of two letters.
    country: &'static str,
    /// The code without that of the country.
    pub(super) code: &'static str,
    /// The English name.
    pub(super) name: &'static str,
}

/// A place, and the texts that name it, those with the highest precedence first.
type Named<T> = (T, Vec<&'static str>);

/// The states by the country's code of two letters.
type StatesByCountry = HashMap<&'static str, Vec<Named<State>>>;

/// The countries and their states.
pub(super) struct Places {
    /// The countries by their folded codes and names.
    countries: HashMap<String, Country>,
    /// The states by their folded codes and names, one for each country that has one of the name.
    states: HashMap<String, SmallVec<[State; 1]>>,
}

impl Places {
    /// Reads the table, which takes some milliseconds.
    pub(super) fn read() -> Self {
        let (countries, states_of) = rows();
        let mut states: HashMap<String, SmallVec<[State; 1]>> = HashMap::new();
        for of_country in states_of.values() {
            for (name, state) in index(of_country) {
                states.entry(name).or_default().push(state);
            }
        }
        Self {
            countries: index(&countries),
            states,
        }
    }

    /// Returns the country that a text names.
    pub(super) fn country(&self, text: &str) -> Option<Country> {
        self.countries.get(&fold(text)).copied()
    }

    /// Returns the state of a country that a text names.
    pub(super) fn state(&self, country: Country, text: &str) -> Option<State> {
        let mut states = self.states(text).iter().copied();
        states.find(|state| state.country == country.iso2)
    }

    /// Returns the states of all countries that a text names, one for each country.
    pub(super) fn states(&self, text: &str) -> &[State] {
        match self.states.get(&fold(text)) {
            Some(states) => states,
            None => &[],
        }
    }
}

/// Returns the rows of the table.
pub(super) fn rows() -> (Vec<Named<Country>>, StatesByCountry) {
    let mut countries = Vec::new();
    let mut states = StatesByCountry::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let names: Vec<&str> = line.split('\t').collect();
        match (names[0].split_once('-'), names.as_slice()) {
            (Some((country, code)), [_, name, ..]) => {
                let state = State {
                    country,
                    code,
                    name,
                };
                let names = [&[code], names.as_slice()].concat();
                states.entry(country).or_default().push((state, names));
            }
            (None, [iso2, iso3, name, ..]) => {
                countries.push((Country { iso2, iso3, name }, names));
            }
            _ => {}
        }
    }
    (countries, states)
}

/// Returns the places by their folded names. A name of several places is that of the place in which
/// it has the highest precedence, and of the first one of these.
fn index<T: Copy>(places: &[Named<T>]) -> HashMap<String, T> {
    let longest = places.iter().map(|(_, names)| names.len()).max();
    let mut index = HashMap::new();
    for precedence in 0..longest.unwrap_or_default() {
        for (place, names) in places {
            if let Some(name) = names.get(precedence) {
                index.entry(fold(name)).or_insert(*place);
            }
        }
    }
    index
}

/// Returns the form in which names are compared: without letter case, accents, punctuation, and the
/// article.
fn fold(text: &str) -> String {
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    let mut folded = String::with_capacity(decomposed.len());
    for character in decomposed.chars().flat_map(char::to_lowercase) {
        match character {
            '.' | '\'' | '’' | '`' | 'ʻ' | '\u{300}'..='\u{36f}' => {}
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' => folded.push('d'),
            'ı' => folded.push('i'),
            '&' => folded.push_str(" and "),
            _ if character.is_alphanumeric() => folded.push(character),
            _ => folded.push(' '),
        }
    }
    let mut words: Vec<&str> = folded.split_whitespace().collect();
    if words.len() > 1 && words[0] == "the" {
        words.remove(0);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
