use thiserror::Error;

use crate::quote::{Quoted, QuotedList};
use crate::san::NodeName;

/// The prefix of a node's username (upstream: the Node authorizer, `nodeidentifier`).
pub const USER_PREFIX: &str = "system:node:";
/// The group every node is in.
pub(super) const NODES_GROUP: &str = "system:nodes";

/// Who filed the request, as the API server authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requestor {
    /// The node.
    pub node: NodeName,
}

/// Why the requestor is not a node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestorError {
    /// The username is not `system:node:` and a name.
    #[error("the requestor {} is not a node: its username does not begin with system:node:", Quoted(.0))]
    NotANodeUser(String),
    /// The username has the prefix, but what follows is no node name.
    #[error("the requestor {} is not a node: no Node can have that name", Quoted(.0))]
    BadNodeName(String),
    /// The groups lack `system:nodes`.
    #[error("the requestor {} is not in the group system:nodes, but in {}", Quoted(.username), QuotedList(.groups))]
    NotInGroup {
        /// The username.
        username: String,
        /// The groups it is in.
        groups: Vec<String>,
    },
}

impl Requestor {
    /// Reads the API server's word on who the requestor is.
    ///
    /// # Errors
    /// [`RequestorError`] when it is not a node.
    pub fn read(username: &str, groups: &[String]) -> Result<Self, RequestorError> {
        let Some(name) = username.strip_prefix(USER_PREFIX) else {
            return Err(RequestorError::NotANodeUser(username.to_owned()));
        };
        let node = name.parse().map_err(|_| RequestorError::BadNodeName(username.to_owned()))?;
        if !groups.iter().any(|group| group == NODES_GROUP) {
            return Err(RequestorError::NotInGroup { username: username.to_owned(), groups: groups.to_vec() });
        }
        Ok(Self { node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_node_has_the_prefix_a_valid_name_and_the_group() {
        let node = Requestor::read("system:node:worker-1", &groups(&["system:nodes", "system:authenticated"]));
        assert_eq!(node.map(|requestor| requestor.node.to_string()), Ok("worker-1".to_owned()));
    }

    #[test]
    fn nobody_else_is_a_node() {
        let nodes = groups(&["system:nodes"]);
        for username in ["", "admin", "system:serviceaccount:kube-system:x", "System:node:a", "xsystem:node:a"] {
            assert_eq!(Requestor::read(username, &nodes), Err(RequestorError::NotANodeUser(username.to_owned())));
        }
        for username in ["system:node:", "system:node:Worker", "system:node:a b", "system:node:../a", "system:node:a\0"]
        {
            assert_eq!(Requestor::read(username, &nodes), Err(RequestorError::BadNodeName(username.to_owned())));
        }
        for others in [groups(&[]), groups(&["system:node"]), groups(&["system:masters"])] {
            assert!(matches!(Requestor::read("system:node:a", &others), Err(RequestorError::NotInGroup { .. })));
        }
    }
}
