use super::*;

#[test]
fn the_table_has_every_country_and_subdivision() {
    let (countries, states) = rows();
    assert_eq!(countries.len(), 250);
    assert!(states.values().map(Vec::len).sum::<usize>() > 5_000);
    for country in states.keys() {
        assert!(countries.iter().any(|(known, _)| known.iso2 == *country));
    }
    for (country, _) in countries {
        let lengths = (country.iso2.len(), country.iso3.len());
        assert_eq!(lengths, (2, 3), "{country:?}");
    }
}

#[test]
fn each_form_of_a_place_names_it() {
    let places = Places::read();
    let (countries, states) = rows();
    for (country, names) in countries {
        for text in [country.iso2, country.iso3, country.name] {
            assert_eq!(places.country(text), Some(country), "{text}");
        }
        for name in names {
            assert!(places.country(name).is_some(), "{name}");
        }
        for (state, _) in states.get(country.iso2).into_iter().flatten() {
            assert!(state.code.len() <= 3, "{state:?}");
            assert_eq!(places.state(country, state.code), Some(*state));
            let full = format!("{}-{}", country.iso2, state.code);
            assert_eq!(places.state(country, &full), Some(*state));
            // A few pairs share a name, such as a city and its surroundings.
            let named = places.state(country, state.name);
            assert_eq!(named.map(|named| named.name), Some(state.name));
        }
    }
}

#[test]
fn names_are_compared_without_case_accents_and_punctuation() {
    for (text, expected) in [
        ("  Côte d’Ivoire ", "cote divoire"),
        ("U.S.A.", "usa"),
        ("The Bahamas", "bahamas"),
        ("THE", "the"),
        ("Trinidad & Tobago", "trinidad and tobago"),
        ("Guinea-Bissau", "guinea bissau"),
        ("Ｇｅｒｍａｎｙ", "germany"),
        ("Łódź Großbritannien Æ Œ Đ", "lodz grossbritannien ae oe d"),
        ("İstanbul", "istanbul"),
        ("日本", "日本"),
        (" . ", ""),
    ] {
        assert_eq!(fold(text), expected, "{text}");
        assert_eq!(fold(&fold(text)), fold(text), "{text}");
    }
}
