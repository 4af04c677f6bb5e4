//! Validates the settings of a mapping: the names of fields, constants, policies and salvage. Pure.

use std::collections::BTreeMap;

use super::Constant;
use super::folding::Policies;
use super::section_checks::name;
use crate::checks::{CheckResult, InvalidValue};
use crate::model::FieldPolicy;

/// The mapping of one system.
pub(super) struct Mapping<'a> {
    /// The section in the settings.
    pub(super) section: &'static str,
    /// The key of the baseline field.
    pub(super) baseline_key: &'static str,
    pub(super) policies: Policies<'a>,
    /// The contact fields that settings may map.
    pub(super) contact_fields: Vec<&'static str>,
    /// The fields by contact field.
    pub(super) fields: &'a BTreeMap<String, String>,
    pub(super) constants: &'a BTreeMap<String, Constant>,
    /// The fields of the contact's own values and of the constants.
    pub(super) own: Vec<&'a str>,
    /// The other fields that a policy may name, such as those of the attributes.
    pub(super) others: Vec<&'a str>,
    /// The fields that the object requires.
    pub(super) required: Vec<&'a str>,
    /// The fields whose values these settings or contact-sync itself choose: a refusal of one is a
    /// misconfiguration.
    pub(super) chosen: Vec<&'a str>,
    /// The value of `required`.
    pub(super) also_required: &'a [String],
    pub(super) salvage: &'a [String],
}

impl Mapping<'_> {
    /// Validates the mapping. Fails with the first invalid value.
    pub(super) fn check(&self) -> CheckResult {
        self.check_fields()?;
        self.check_constants()?;
        self.check_policies()?;
        for name in self.also_required {
            self.check_name("required", name)?;
        }
        self.check_salvage()
    }

    fn check_fields(&self) -> CheckResult {
        for (contact_field, field) in self.fields {
            if !self.contact_fields.contains(&contact_field.as_str()) {
                let known = self.contact_fields.join(", ");
                let message = format!("is no field of a contact; allowed: {known}");
                return Err(self.invalid(&format!("fields.{contact_field}"), message));
            }
            if !field.is_empty() {
                self.check_name(&format!("fields.{contact_field}"), field)?;
            }
        }
        for (at, field) in self.own.iter().enumerate() {
            let is_same = |other: &&str| other.eq_ignore_ascii_case(field);
            if self.own[..at].iter().any(is_same) {
                let message =
                    format!("{field} gets two values; allowed: a field of its own for each");
                return Err(self.invalid("fields", message));
            }
        }
        Ok(())
    }

    fn check_constants(&self) -> CheckResult {
        for (field, constant) in self.constants {
            let key = format!("constants.{field}");
            self.check_name(&key, field)?;
            if constant.text().trim().is_empty() {
                return Err(self.invalid(&key, "is empty; allowed: a value"));
            }
        }
        Ok(())
    }

    fn check_policies(&self) -> CheckResult {
        for (field, policy) in self.policies.fields {
            let key = format!("policy.{field}");
            self.check_written(&key, field)?;
            if *policy == FieldPolicy::Unedited && self.policies.baseline_field.is_empty() {
                let message = format!(
                    "is `unedited`; allowed: `unedited` with `{}.{}`, which stores the hashes of \
                     the written values",
                    self.section, self.baseline_key
                );
                return Err(self.invalid(&key, message));
            }
        }
        Ok(())
    }

    fn check_salvage(&self) -> CheckResult {
        for field in self.salvage {
            let is_same = |chosen: &&str| chosen.eq_ignore_ascii_case(field);
            if self.chosen.iter().any(is_same) {
                let message = format!(
                    "names {field}, whose value is not the contact's own; allowed: fields with \
                     values of the contact"
                );
                return Err(self.invalid("salvage", message));
            }
            self.check_written("salvage", field)?;
            if self
                .required
                .iter()
                .any(|name| name.eq_ignore_ascii_case(field))
            {
                let message = format!("names {field}, which is required; allowed: other fields");
                return Err(self.invalid("salvage", message));
            }
        }
        Ok(())
    }

    fn check_written(&self, key: &str, field: &str) -> CheckResult {
        let written = [self.own.as_slice(), &self.others].concat();
        if written.contains(&field) {
            return Ok(());
        }
        let known = written.join(", ");
        let message = format!("names {field}, which is never written; allowed: {known}");
        Err(self.invalid(key, message))
    }

    fn check_name(&self, key: &str, field: &str) -> CheckResult {
        name(format!("{}.{key}", self.section), field)
    }

    fn invalid(&self, key: &str, message: impl Into<String>) -> InvalidValue {
        InvalidValue::new(format!("{}.{key}", self.section), message)
    }
}
