//! Brings phone numbers, countries and states into the form that a system stores. Pure. Each form
//! is off by default. A value that is not recognised stays as it is.

mod phone;
mod places;

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use self::places::{Country, Places, State};
use crate::checks::{CheckResult, ensure};
use crate::model::{Contact, Field, Text, ValueCounts};

/// The countries and states. They are read by the first value that needs them.
static PLACES: LazyLock<Places> = LazyLock::new(Places::read);

/// The forms of a system's values. `defaults.toml` documents each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct Normalise {
    pub country: CountryForm,
    pub state: StateForm,
    pub phone: PhoneForm,
    pub phone_region: String,
}

/// The form of a country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CountryForm {
    /// The text of the change.
    #[default]
    AsIs,
    /// The code of two letters.
    #[serde(rename = "iso-2")]
    Iso2,
    /// The code of three letters.
    #[serde(rename = "iso-3")]
    Iso3,
    /// The English name.
    Name,
}

/// The form of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StateForm {
    /// The text of the change.
    #[default]
    AsIs,
    /// The code of ISO 3166-2 without that of the country.
    Code,
    /// The English name.
    Name,
}

impl StateForm {
    fn of(self, state: State) -> &'static str {
        match self {
            Self::Name => state.name,
            Self::AsIs | Self::Code => state.code,
        }
    }
}

/// The form of a phone number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PhoneForm {
    /// The text of the change.
    #[default]
    AsIs,
    /// `+`, the country code and the number.
    E164,
}

impl Normalise {
    /// Validates the region, whose key is `key`.
    pub(super) fn check(&self, key: &'static str) -> CheckResult {
        let region = &self.phone_region;
        let is_known = region.is_empty() || phone::is_region(region);
        ensure(key, is_known, || {
            format!("is `{region}`; allowed: a country's code of two capital letters, and empty")
        })
    }

    /// Returns the key of the form of a contact field that stays as it is, if there is one.
    pub(super) fn unset(&self, name: &str) -> Option<&'static str> {
        match name {
            "address.country" if self.country == CountryForm::AsIs => Some("country"),
            "address.state" if self.state == StateForm::AsIs => Some("state"),
            _ => None,
        }
    }

    /// Returns the length of the longest code of a contact field that becomes a code.
    pub(super) fn longest(&self, name: &str) -> Option<usize> {
        match name {
            "address.country" if self.country == CountryForm::Iso2 => Some(2),
            "address.country" if self.country == CountryForm::Iso3 => Some(3),
            "address.state" if self.state == StateForm::Code => Some(3),
            _ => None,
        }
    }

    /// Returns the normaliser of a contact's values; `None` where each one stays as it is. `whole`
    /// is the contact with the fields that did not change.
    #[inline]
    pub(super) fn of<'a>(
        &'a self,
        contact: &'a Contact,
        whole: Option<&'a Contact>,
    ) -> Option<Normaliser<'a>> {
        let is_off = self.country == CountryForm::AsIs
            && self.state == StateForm::AsIs
            && self.phone == PhoneForm::AsIs;
        if is_off {
            return None;
        }
        // A row's change leaves out a country that did not change.
        let country = match (&contact.country, whole) {
            (Field::Absent, Some(whole)) => &whole.country,
            (country, _) => country,
        };
        Some(Normaliser {
            forms: self,
            country,
        })
    }
}

/// Normalises the values of one contact.
pub(super) struct Normaliser<'a> {
    forms: &'a Normalise,
    /// The contact's country, in the light of which its state is read.
    country: &'a Text,
}

impl<'a> Normaliser<'a> {
    /// Returns the text of the contact field `name` in its form. Counts a text that is not
    /// recognised, which stays as it is.
    pub(super) fn value(
        &self,
        name: &str,
        text: &'a str,
        counts: &mut ValueCounts,
    ) -> Cow<'a, str> {
        let normalised = match name {
            "address.country" => self.country(text).map(Cow::Borrowed),
            "address.state" => self.state(text).map(Cow::Borrowed),
            "phone" | "mobile_phone" => self.phone(text),
            _ => return Cow::Borrowed(text),
        };
        normalised.unwrap_or_else(|| {
            counts.unrecognised += 1;
            Cow::Borrowed(text)
        })
    }

    fn country(&self, text: &'a str) -> Option<&'a str> {
        let country: fn(Country) -> &'static str = match self.forms.country {
            CountryForm::AsIs => return Some(text),
            CountryForm::Iso2 => |country| country.iso2,
            CountryForm::Iso3 => |country| country.iso3,
            CountryForm::Name => |country| country.name,
        };
        PLACES.country(text).map(country)
    }

    /// Reads a state as one of the contact's country. A change without a country is read as one of
    /// each country that has such a state, if all of them agree on the value.
    fn state(&self, text: &'a str) -> Option<&'a str> {
        let form = self.forms.state;
        if form == StateForm::AsIs {
            return Some(text);
        }
        if let Field::Value(country) = self.country {
            let state = PLACES.state(PLACES.country(country)?, text)?;
            return Some(form.of(state));
        }
        let mut values = PLACES.states(text).iter().map(|state| form.of(*state));
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    fn phone(&self, text: &'a str) -> Option<Cow<'a, str>> {
        match self.forms.phone {
            PhoneForm::AsIs => Some(Cow::Borrowed(text)),
            PhoneForm::E164 => phone::e164(text, &self.forms.phone_region).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests;
