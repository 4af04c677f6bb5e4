use proptest::prelude::*;

use super::*;
use crate::model::{ContactId, ContactType};

fn forms(country: CountryForm, state: StateForm, region: &str) -> Normalise {
    Normalise {
        country,
        state,
        phone: PhoneForm::E164,
        phone_region: region.to_owned(),
    }
}

fn contact(country: Field<&str>) -> Contact {
    let id = ContactId::new("c-1").expect("valid");
    Contact {
        country: country.map(Box::from),
        ..Contact::bare(id, Some(ContactType::Lead))
    }
}

/// Returns the value of a contact field, and whether it was recognised.
fn value(forms: &Normalise, country: Field<&str>, name: &str, text: &str) -> (String, bool) {
    let contact = contact(country);
    let mut counts = ValueCounts::default();
    let value = match forms.of(&contact, None) {
        Some(normaliser) => normaliser.value(name, text, &mut counts).into_owned(),
        None => text.to_owned(),
    };
    assert_eq!(counts.cut, 0);
    (value, counts.unrecognised == 0)
}

#[test]
fn a_country_gets_its_form() {
    for (text, expected) in [
        ("DE", Some(["DE", "DEU", "Germany"])),
        ("deu", Some(["DE", "DEU", "Germany"])),
        (" germany ", Some(["DE", "DEU", "Germany"])),
        ("Deutschland", Some(["DE", "DEU", "Germany"])),
        ("USA", Some(["US", "USA", "United States"])),
        ("U.S.A.", Some(["US", "USA", "United States"])),
        ("us", Some(["US", "USA", "United States"])),
        (
            "The United States of America",
            Some(["US", "USA", "United States"]),
        ),
        ("UK", Some(["GB", "GBR", "United Kingdom"])),
        ("Great Britain", Some(["GB", "GBR", "United Kingdom"])),
        ("England", Some(["GB", "GBR", "United Kingdom"])),
        ("Österreich", Some(["AT", "AUT", "Austria"])),
        ("OSTERREICH", Some(["AT", "AUT", "Austria"])),
        ("España", Some(["ES", "ESP", "Spain"])),
        ("cote d’ivoire", Some(["CI", "CIV", "Côte d'Ivoire"])),
        ("Ivory Coast", Some(["CI", "CIV", "Côte d'Ivoire"])),
        (
            "Trinidad & Tobago",
            Some(["TT", "TTO", "Trinidad and Tobago"]),
        ),
        ("Korea, Republic of", Some(["KR", "KOR", "South Korea"])),
        ("Republic of Korea", Some(["KR", "KOR", "South Korea"])),
        ("Viet Nam", Some(["VN", "VNM", "Vietnam"])),
        ("Kosovo", Some(["XK", "XKX", "Kosovo"])),
        ("日本", Some(["JP", "JPN", "Japan"])),
        ("Congo", None),
        ("Korea", None),
        ("Vereinigte Staaten", None),
        ("Narnia", None),
        ("-", None),
        ("", None),
    ] {
        let country = [CountryForm::Iso2, CountryForm::Iso3, CountryForm::Name];
        for (at, form) in country.into_iter().enumerate() {
            let forms = forms(form, StateForm::AsIs, "");
            let found = value(&forms, Field::Absent, "address.country", text);
            let wanted = match expected {
                Some(values) => (values[at].to_owned(), true),
                None => (text.to_owned(), false),
            };
            assert_eq!(found, wanted, "{text} as {form:?}");
        }
    }
}

#[test]
fn a_state_is_read_as_one_of_the_contacts_country() {
    use Field::{Absent, Null, Value};
    for (country, text, expected) in [
        (Value("US"), "California", Some(["CA", "California"])),
        (Value("US"), "ca", Some(["CA", "California"])),
        (Value("usa"), "US-CA", Some(["CA", "California"])),
        (
            Value("US"),
            "Washington, D.C.",
            Some(["DC", "District of Columbia"]),
        ),
        (Value("Canada"), "Québec", Some(["QC", "Quebec"])),
        (Value("Germany"), "Bayern", Some(["BY", "Bavaria"])),
        (Value("DE"), "bavaria", Some(["BY", "Bavaria"])),
        (Value("Italia"), "Milano", Some(["MI", "Milan"])),
        (Value("AU"), "WA", Some(["WA", "Western Australia"])),
        (Value("US"), "WA", Some(["WA", "Washington"])),
        // A state of another country, and a country that is not recognised.
        (Value("US"), "Ontario", None),
        (Value("Narnia"), "California", None),
        // Without a country: one reading, several that agree, several that do not.
        (Absent, "Texas", Some(["TX", "Texas"])),
        (Null, "Texas", Some(["TX", "Texas"])),
        (Absent, "Punjab", Some(["PB", "Punjab"])),
        (Absent, "Atlantis", None),
    ] {
        for (at, form) in [StateForm::Code, StateForm::Name].into_iter().enumerate() {
            let forms = forms(CountryForm::AsIs, form, "");
            let found = value(&forms, country, "address.state", text);
            let wanted = match expected {
                Some(values) => (values[at].to_owned(), true),
                None => (text.to_owned(), false),
            };
            assert_eq!(found, wanted, "{text} in {country:?} as {form:?}");
        }
    }
    // Several countries have a state of this code, and several one of this name.
    for (form, text, is_recognised) in [
        (StateForm::Code, "CA", true),
        (StateForm::Name, "CA", false),
        (StateForm::Code, "Amazonas", false),
        (StateForm::Name, "Amazonas", true),
    ] {
        let forms = forms(CountryForm::AsIs, form, "");
        let found = value(&forms, Absent, "address.state", text);
        assert_eq!(
            found,
            (text.to_owned(), is_recognised),
            "{text} as {form:?}"
        );
    }
}

#[test]
fn a_phone_number_gets_the_form_of_e164() {
    for (region, text, expected) in [
        ("DE", "030 123456", Some("+4930123456")),
        ("DE", "030/123 456", Some("+4930123456")),
        ("DE", "+49 (0) 30 123456", Some("+4930123456")),
        ("DE", "0049 30 123456", Some("+4930123456")),
        ("DE", "+44 20 7946 0958", Some("+442079460958")),
        ("GB", "020 7946 0958", Some("+442079460958")),
        ("US", "(650) 253-0000", Some("+16502530000")),
        ("US", "1 650 253 0000", Some("+16502530000")),
        ("US", "011 49 30 123456", Some("+4930123456")),
        ("IT", "02 1234 5678", Some("+390212345678")),
        ("", "+49 30 123456", Some("+4930123456")),
        ("", "(+49) 30 123456", Some("+4930123456")),
        ("", "0049 30 123456", Some("+4930123456")),
        // Without a country code nothing says which country it is.
        ("", "030 123456", None),
        ("", "1 650 253 0000", None),
        // Letters and extensions, of which E.164 has none.
        ("US", "1-800-FLOWERS", None),
        ("DE", "030 123456 ext. 12", None),
        ("DE", "030 123456 x12", None),
        ("DE", "030 123456 mobil", None),
        ("US", "650 253 0000 #12", None),
        // No number, two numbers, and numbers of no possible length.
        ("DE", "030 123456, 030 123457", None),
        ("DE", "+4930123456; +4930123457", None),
        ("US", "555-0100", None),
        ("US", "12", None),
        ("DE", "+49", None),
        ("DE", "n/a", None),
        ("DE", "-", None),
        ("DE", "", None),
        ("DE", "123456789012345678", None),
    ] {
        let forms = forms(CountryForm::AsIs, StateForm::AsIs, region);
        for name in ["phone", "mobile_phone"] {
            let found = value(&forms, Field::Absent, name, text);
            let wanted = (expected.unwrap_or(text).to_owned(), expected.is_some());
            assert_eq!(found, wanted, "{text} of {region}");
        }
    }
}

#[test]
fn other_fields_and_forms_that_are_off_keep_the_text() {
    let all = forms(CountryForm::Iso2, StateForm::Code, "DE");
    for name in ["last_name", "address.city", "address.street", "website"] {
        let kept = value(&all, Field::Absent, name, "Germany");
        assert_eq!(kept, ("Germany".to_owned(), true), "{name}");
    }
    assert!(
        Normalise::default()
            .of(&contact(Field::Absent), None)
            .is_none()
    );
    let one = Normalise {
        state: StateForm::Code,
        ..Normalise::default()
    };
    for (name, text) in [("address.country", "Germany"), ("phone", "030 123456")] {
        let kept = value(&one, Field::Absent, name, text);
        assert_eq!(kept, (text.to_owned(), true), "{name}");
    }
}

#[test]
fn a_region_is_a_country_in_capital_letters() {
    for (region, is_allowed) in [
        ("", true),
        ("DE", true),
        ("GB", true),
        ("de", false),
        ("UK", false),
        ("DEU", false),
        ("001", false),
        ("XX", false),
    ] {
        let result = forms(CountryForm::AsIs, StateForm::AsIs, region).check("key");
        assert_eq!(result.is_ok(), is_allowed, "{region}");
    }
}

fn any_forms() -> impl Strategy<Value = Normalise> {
    use CountryForm::{AsIs, Iso2, Iso3, Name};
    let country = proptest::sample::select(vec![AsIs, Iso2, Iso3, Name]);
    let state = proptest::sample::select(vec![StateForm::AsIs, StateForm::Code, StateForm::Name]);
    let region = proptest::sample::select(vec!["", "DE", "US", "GB", "IT", "JP", "RU"]);
    (country, state, region).prop_map(|(country, state, region)| forms(country, state, region))
}

/// Texts that are codes, names, numbers or anything.
fn any_text() -> impl Strategy<Value = String> {
    let names = places::rows().0.into_iter().flat_map(|(_, names)| names);
    let names: Vec<&str> = names.collect();
    prop_oneof![
        proptest::sample::select(names).prop_map(str::to_owned),
        "[A-Za-z]{1,3}",
        "[+0]{0,2}[0-9 ()/.-]{3,16}",
        "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_in_its_form_stays_and_an_unrecognised_one_is_not_changed(
        forms in any_forms(),
        country in proptest::option::of(any_text()),
        text in any_text(),
    ) {
        let country = match &country {
            Some(country) => Field::Value(country.as_str()),
            None => Field::Absent,
        };
        for name in ["phone", "mobile_phone", "address.country", "address.state", "company"] {
            let (once, is_recognised) = value(&forms, country, name, &text);
            prop_assert!(is_recognised || once == text, "{} {}", name, once);
            let (twice, _) = value(&forms, country, name, &once);
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn a_state_is_the_same_in_each_form_of_its_country(
        state in any_text(),
        form in proptest::sample::select(vec![StateForm::Code, StateForm::Name]),
        country in any_text(),
    ) {
        let given = forms(CountryForm::AsIs, form, "");
        let expected = value(&given, Field::Value(&country), "address.state", &state);
        for to in [CountryForm::Iso2, CountryForm::Iso3, CountryForm::Name] {
            let forms = forms(to, form, "");
            let (country, _) = value(&forms, Field::Absent, "address.country", &country);
            let found = value(&forms, Field::Value(&country), "address.state", &state);
            prop_assert_eq!(&found, &expected);
        }
    }
}

#[test]
fn a_state_that_changed_alone_is_read_with_the_country_of_its_whole_row() {
    let names = forms(CountryForm::AsIs, StateForm::Name, "");
    for (whole, expected) in [
        (Field::Absent, "CA"),
        (Field::Value("US"), "California"),
        (Field::Value("Italy"), "Cagliari"),
        (Field::Null, "CA"),
    ] {
        let (part, whole) = (contact(Field::Absent), contact(whole));
        let mut counts = ValueCounts::default();
        let normaliser = names.of(&part, Some(&whole)).expect("a form");
        let name = normaliser.value("address.state", "CA", &mut counts);
        assert_eq!(name, expected, "{:?}", whole.country);
    }
    let (part, whole) = (contact(Field::Value("US")), contact(Field::Value("Italy")));
    let normaliser = names.of(&part, Some(&whole)).expect("a form");
    let name = normaliser.value("address.state", "CA", &mut ValueCounts::default());
    assert_eq!(name, "California", "the change's own country counts");
}
