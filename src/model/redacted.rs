//! Redaction: the `Debug` of contact data prints no content, so that no log line can hold any.
//! Identities, types and codes are no contact data.

use std::fmt;

use super::{Body, Contact, Field, Number, Payload, RefusedValue, Rejection};

impl<T> fmt::Debug for Field<T> {
    /// Prints whether there is a value, never the value: fields hold contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Null => "null",
            Self::Value(_) => "…",
        })
    }
}

impl fmt::Debug for Contact {
    /// Prints the identity and the type only: the rest is contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Number {
    /// Omits the digits, which are contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for Payload {
    /// Prints the identity only: the body is contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Body {
    /// Omits the content, which is contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl fmt::Debug for RefusedValue {
    /// Prints the field only: the value is contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedValue")
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Rejection {
    /// Omits the message, which may quote contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("code", &self.code)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Attribute, Code, ContactId, ContactType};
    use super::*;

    #[test]
    fn debug_output_has_no_content() {
        let id = ContactId::new("c-1").expect("valid");
        let mut contact = Contact::bare(id, Some(ContactType::Lead));
        contact.email = Field::Value("sesame@example.com".into());
        let number = Number::new("7407").expect("a number");
        contact.attributes.values = [("plan".into(), Attribute::Number(number.clone()))].into();
        let record = json!({"email": "sesame@example.com"});
        let body = Body::of(record.as_object().expect("an object").clone());
        let rejection = Rejection::new(Code::new("STALE"), "sesame is refused").of_field("email");
        let refused = RefusedValue {
            field: "email".to_owned(),
            json: Some(r#""sesame""#.into()),
        };
        let shown = format!("{contact:?} {number:?} {body:?} {rejection:?} {refused:?}");
        assert!(shown.contains("c-1") && shown.contains("STALE"), "{shown}");
        assert!(
            !shown.contains("sesame") && !shown.contains("7407"),
            "{shown}"
        );
        assert_eq!(format!("{:?}", contact.email), "…");
    }
}
