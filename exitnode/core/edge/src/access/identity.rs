//! Who a visitor is: the user and the claims that a method of a policy proved, and the fields by which the app is told.
//!
//! Made once a credential is verified and shared by all requests that bring it again. Pure.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

const USER: HeaderName = HeaderName::from_static("x-hawse-user");
const EMAIL: HeaderName = HeaderName::from_static("x-hawse-email");
const GROUPS: HeaderName = HeaderName::from_static("x-hawse-groups");

/// Claims by name, each with all its values.
pub(crate) type Claims = BTreeMap<String, Vec<String>>;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    subject: String,
    claims: Claims,
    told: Vec<(HeaderName, HeaderValue)>,
}

impl Identity {
    pub(crate) fn new(subject: impl Into<String>, claims: Claims) -> Self {
        let subject = subject.into();
        let first = |name: &str| claims.get(name)?.first().map(|value| field([value]));
        let groups = claims.get("groups").filter(|groups| !groups.is_empty()).map(field);
        let told = [
            (USER, Some(field([&subject]))),
            (EMAIL, first("email")),
            (GROUPS, groups),
        ];
        let told = told.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Self {
            told: told.collect(),
            subject,
            claims,
        }
    }

    /// Values of a claim; "sub" is the user.
    pub(crate) fn claim(&self, name: &str) -> &[String] {
        match name {
            "sub" => std::slice::from_ref(&self.subject),
            _ => self.claims.get(name).map_or(&[], Vec::as_slice),
        }
    }

    /// Says who it is. What visitors sent under these names has to be gone.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.told {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Joined by commas. Bytes that are no printable ASCII, commas and percent signs are percent-encoded: no value can pass for two,
/// and none can break a field.
fn field<'a>(values: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>) -> HeaderValue {
    let mut text = String::new();
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        for byte in value.as_ref().bytes() {
            match byte {
                b',' | b'%' => text.push_str(&format!("%{byte:02X}")),
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    // Printable ASCII, so always fit.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(subject: &str, claims: &[(&str, &[&str])]) -> Vec<(String, String)> {
        let claims = claims.iter().map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            ((*name).to_owned(), values)
        });
        let mut headers = HeaderMap::new();
        Identity::new(subject, claims.collect()).tell(&mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn the_app_is_told_user_email_and_groups() {
        let said = told(
            "ada",
            &[("email", &["ada@x.org"]), ("groups", &["staff", "ops"]), ("x", &["y"])],
        );
        let expected = [
            ("x-hawse-user", "ada"),
            ("x-hawse-email", "ada@x.org"),
            ("x-hawse-groups", "staff,ops"),
        ];
        for (name, value) in expected {
            assert!(said.contains(&(name.to_owned(), value.to_owned())), "{said:?}");
        }
        assert_eq!(said.len(), 3);
        assert_eq!(
            told("ada", &[("groups", &[])]),
            [("x-hawse-user".to_owned(), "ada".to_owned())]
        );
    }

    #[test]
    fn a_value_can_neither_pass_for_two_nor_break_the_field() {
        let said = told("a\r\nx: y\u{e9}", &[("groups", &["a,staff", "50%"])]);
        assert!(
            said.contains(&("x-hawse-user".into(), "a%0D%0Ax: y%C3%A9".into())),
            "{said:?}"
        );
        assert!(
            said.contains(&("x-hawse-groups".into(), "a%2Cstaff,50%25".into())),
            "{said:?}"
        );
    }

    #[test]
    fn sub_is_the_user_and_an_unknown_claim_has_no_values() {
        let identity = Identity::new("ada", Claims::from([("sub".into(), vec!["root".into()])]));
        assert_eq!(identity.claim("sub"), ["ada"]);
        assert!(identity.claim("groups").is_empty());
    }
}
