//! What DNS says of requested names: never enough by itself, since DNS does not know which node asks.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::san::DnsName;

/// What came of looking up one name's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its addresses; none where the name does not exist or has no address.
    Addresses(Vec<IpAddr>),
    /// DNS could not be asked: why, in a sentence.
    Failed(String),
}

/// What came of looking up the names of one request. What is not in it was not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolutions(HashMap<DnsName, Resolution>);

impl Resolutions {
    /// What came of looking up this name; none where it was not asked.
    #[must_use]
    pub fn get(&self, name: &DnsName) -> Option<&Resolution> {
        self.0.get(name)
    }
}

impl FromIterator<(DnsName, Resolution)> for Resolutions {
    fn from_iter<T: IntoIterator<Item = (DnsName, Resolution)>>(answers: T) -> Self {
        Self(answers.into_iter().collect())
    }
}
