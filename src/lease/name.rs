use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Where a Lease is: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName {
    namespace: String,
    name: String,
}

/// A text that names no Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LeaseNameError {
    /// There is not exactly one slash.
    #[error("expected NAMESPACE/NAME")]
    Form,
    /// A namespace's name is an RFC 1123 label.
    #[error("the namespace has to be at most 63 lower-case letters, digits and hyphens")]
    Namespace,
    /// A Lease's name is an RFC 1123 subdomain.
    #[error("the name has to be at most 253 lower-case letters, digits, hyphens and dots")]
    Name,
}

impl LeaseName {
    /// The Lease that is used where none is given.
    #[must_use]
    pub fn default_in(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: "countersign".to_owned() }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name in it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for LeaseName {
    type Err = LeaseNameError;

    fn from_str(text: &str) -> Result<Self, LeaseNameError> {
        let (namespace, name) = text.split_once('/').ok_or(LeaseNameError::Form)?;
        if name.contains('/') {
            return Err(LeaseNameError::Form);
        }
        if namespace.len() > 63 || !is_label(namespace) {
            return Err(LeaseNameError::Namespace);
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(LeaseNameError::Name);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && text.chars().all(|c| alphanumeric(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_namespace_and_a_name() {
        let name: LeaseName = "kube-system/countersign.blue".parse().unwrap();
        assert_eq!((name.namespace(), name.name()), ("kube-system", "countersign.blue"));
        assert_eq!(name.to_string(), "kube-system/countersign.blue");
        assert_eq!(LeaseName::default_in("a").to_string(), "a/countersign");
    }

    #[test]
    fn says_what_is_wrong_with_a_name() {
        for (text, error) in [
            ("countersign", LeaseNameError::Form),
            ("a/b/c", LeaseNameError::Form),
            ("/a", LeaseNameError::Namespace),
            ("A/b", LeaseNameError::Namespace),
            ("a.b/c", LeaseNameError::Namespace),
            ("a/", LeaseNameError::Name),
            ("a/b..c", LeaseNameError::Name),
            ("a/-b", LeaseNameError::Name),
            ("a/b?x=y", LeaseNameError::Name),
        ] {
            assert_eq!(text.parse::<LeaseName>(), Err(error), "{text}");
        }
    }
}
