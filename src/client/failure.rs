//! What the API server says when it does not do what was asked, and that it may say nothing.

use std::fmt::Debug;
use std::time::Duration;

use http::StatusCode;
use kube::Api;
use kube::core::Status;
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;

use super::REQUEST_TIMEOUT;
use crate::lease::NotLeading;

/// Why a call did not succeed. All are worth another try.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The API server said no, or could not be reached.
    #[error("{what}: {}", describe(.error))]
    Call {
        /// What was tried.
        what: &'static str,
        /// What came back.
        error: kube::Error,
    },
    /// No answer in time. It may have been done all the same.
    #[error("{what}: no answer from the API server within {}", seconds(REQUEST_TIMEOUT))]
    Timeout {
        /// What was tried.
        what: &'static str,
    },
    /// Another instance leads, or may by now. What was sent may have been done all the same.
    #[error("{what}: {source}")]
    NotLeading {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: NotLeading,
    },
}

impl ApiError {
    /// Whether the API server says that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::Call { error, .. } => is_not_found(error),
            Self::Timeout { .. } | Self::NotLeading { .. } => false,
        }
    }

    /// Whether the API server says that the object is another than was thought.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The HTTP status of the answer, where there was one, whoever gave it.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Call { error: kube::Error::Api(status), .. } => Some(status.code),
            Self::Call { .. } | Self::Timeout { .. } | Self::NotLeading { .. } => None,
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Makes a call with a time-out.
pub(crate) async fn call<T>(what: &'static str, future: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match timeout(REQUEST_TIMEOUT, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ApiError::Call { what, error }),
        Err(_) => Err(ApiError::Timeout { what }),
    }
}

/// One sentence for people, without the structure that the library prints.
#[must_use]
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => describe_status(status),
        other => root_cause(other),
    }
}

/// The API server speaks in Status objects, and what is in between as it likes.
fn describe_status(status: &Status) -> String {
    const LONGEST: usize = 300;
    let mut message: String = status.message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.truncate(message.floor_char_boundary(LONGEST));
    let known = StatusCode::from_u16(status.code).ok().and_then(|code| code.canonical_reason());
    let reason = if is_made_up(status) { known.unwrap_or_default() } else { &status.reason };
    if message.is_empty() {
        format!("{} {reason}", status.code)
    } else {
        format!("{message} ({} {reason})", status.code)
    }
}

/// Whether the library has made up this Status, since the answer held none.
fn is_made_up(status: &Status) -> bool {
    status.reason == "Failed to parse error data"
}

/// Whether the API server itself says that there is no such object. A 404 of something in between says nothing.
fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound")
}

/// An object by name; none where the API server itself says that there is none.
pub(crate) async fn get_opt<K: Clone + DeserializeOwned + Debug>(api: &Api<K>, name: &str) -> kube::Result<Option<K>> {
    match api.get(name).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One sentence for people about a watch that broke.
#[must_use]
pub fn describe_watch(error: &watcher::Error) -> String {
    match error {
        // The library takes nearly any object for a Status.
        watcher::Error::WatchFailed(kube::Error::Api(status)) if status.code == 0 => {
            "an event that cannot be read".to_owned()
        }
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => describe(error),
        watcher::Error::WatchError(status) => describe_status(status),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The innermost error says what happened; the outer ones only repeat it.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    if cause.downcast_ref().is_some_and(timed_out) {
        return "no answer in time".to_owned();
    }
    // rustls ends some of its sentences with a link to its manual.
    let text = cause.to_string();
    text.split(": https://docs.rs").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn only_the_api_server_itself_says_that_there_is_no_such_object() {
        assert!(is_not_found(&api_error(404, "NotFound", "nodes \"a\" not found")));
        assert!(!is_not_found(&api_error(404, "Failed to parse error data", "no such backend")));
        assert!(!is_not_found(&api_error(403, "Forbidden", "no")));
    }

    #[test]
    fn an_error_is_one_short_sentence_whoever_said_it() {
        let describe = |code, reason, message| super::describe(&api_error(code, reason, message));
        assert_eq!(describe(409, "Conflict", "it has changed"), "it has changed (409 Conflict)");
        assert_eq!(describe(504, "Failed to parse error data", ""), "504 Gateway Timeout");
        let page = format!("<html>\n  <body>{}</body>\n</html>", "x".repeat(1000));
        let said = describe(502, "Failed to parse error data", &page);
        assert!(
            said.len() < 330 && said.starts_with("<html> <body>xx") && said.ends_with("x (502 Bad Gateway)"),
            "{said}"
        );
    }
}
