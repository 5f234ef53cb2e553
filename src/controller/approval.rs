//! What is sent to write an answer.
//!
//! Cheapest for the API server is a whole object that has only what an answer may change. On the subresource `approval`
//! it takes conditions from what is sent, and leaves the spec, the certificate and managedFields as they are (upstream:
//! `csrApprovalStrategy`); nothing has to be read into a patch, and little into the object. Labels, annotations, owners
//! and finalizers it would take as well, and they are not kept here: a request that has any is patched. So is one whose
//! answer could not be written once before, since there may be something in between that wants to see the whole of it,
//! such as a webhook that changes objects.

use kube::api::ObjectMeta;
use serde::Serialize;

use super::plan::Answer;
use super::store::{Pending, RequestId};
use crate::api::Condition;

/// What the metadata of a request has that a whole object would have to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The name, and as `generateName` so many bytes of its beginning.
    Name { generated_from: usize },
    /// More than that.
    More,
}

impl Given {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let ObjectMeta { name, generate_name, labels, annotations, owner_references, finalizers, .. } = metadata;
        let has_more = labels.is_some() || annotations.is_some() || owner_references.is_some() || finalizers.is_some();
        let generated_from = generate_name.as_deref().unwrap_or_default();
        match name {
            Some(name) if !has_more && name.starts_with(generated_from) => {
                Self::Name { generated_from: generated_from.len() }
            }
            Some(_) | None => Self::More,
        }
    }
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the whole object, by PUT.
    Whole,
    /// As a merge patch (RFC 7396).
    Patch,
}

/// An answer as it is sent, which is the same text in either form. It names the uid and the resourceVersion that were
/// judged, so that the API server refuses it as a conflict when anything has changed since, or it is another request of
/// the same name; and it repeats the conditions that exist, since the list of them is replaced as a whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Approval<'a> {
    #[serde(skip)]
    pub(super) form: Form,
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    status: Status,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    generate_name: &'a str,
    uid: &'a str,
    resource_version: &'a str,
}

#[derive(Debug, Serialize)]
struct Status {
    conditions: Vec<Condition>,
}

impl<'a> Approval<'a> {
    pub(super) fn new(answer: &Answer, request: &'a RequestId, pending: &'a Pending) -> Self {
        let (form, generated_from) = match pending.given {
            Given::Name { generated_from } if pending.failures == 0 => (Form::Whole, generated_from),
            Given::Name { .. } | Given::More => (Form::Patch, 0),
        };
        let mut conditions = pending.conditions.clone();
        conditions.push(Condition {
            type_: answer.decision.condition_type().to_owned(),
            status: "True".to_owned(),
            reason: (*answer.reasons.first()).to_owned(),
            message: answer.message.clone(),
            last_update_time: None,
            last_transition_time: None,
        });
        let name = &*request.name;
        let generate_name = name.get(..generated_from).unwrap_or_default();
        let metadata = Metadata { name, generate_name, uid: &request.uid, resource_version: &pending.resource_version };
        let (api_version, kind) = ("certificates.k8s.io/v1", "CertificateSigningRequest");
        Self { form, api_version, kind, metadata, status: Status { conditions } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;
    use crate::api::CertificateSigningRequest;
    use crate::controller::Decision;
    use crate::verdict::NonEmpty;

    fn given(metadata: Value) -> Given {
        Given::of(&from_value(metadata).unwrap())
    }

    #[test]
    fn only_what_has_no_more_than_a_name_can_be_repeated() {
        assert_eq!(given(json!({"name": "a"})), Given::Name { generated_from: 0 });
        assert_eq!(given(json!({"name": "csr-x7k2p", "generateName": "csr-"})), Given::Name { generated_from: 4 });
        assert_eq!(given(json!({"name": "a", "generateName": "csr-"})), Given::More);
        assert_eq!(given(json!({"generateName": "csr-"})), Given::More);
        for more in ["labels", "annotations"] {
            assert_eq!(given(json!({"name": "a", more: {}})), Given::More, "{more}");
        }
        for more in ["ownerReferences", "finalizers"] {
            assert_eq!(given(json!({"name": "a", more: []})), Given::More, "{more}");
        }
    }

    /// What is sent to deny this request, after so many failures.
    fn sent(metadata: &Value, failures: u32) -> (Form, Value) {
        let mut csr = json!({
            "metadata": {"uid": "u-1"},
            "spec": {"request": "", "signerName": "kubernetes.io/kubelet-serving"},
            "status": {"conditions": [{"type": "Example", "status": "True", "reason": "Mine", "lastUpdateTime": null}]},
        });
        csr["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let csr: CertificateSigningRequest = from_value(csr).unwrap();
        let request = RequestId::of(&csr).unwrap();
        let mut pending = Pending::new(csr, "42".to_owned(), None, None);
        pending.failures = failures;
        let reasons = NonEmpty::one("BadSignature");
        let answer = Answer { decision: Decision::Denied, reasons, message: "why".to_owned() };
        let approval = Approval::new(&answer, &request, &pending);
        (approval.form, to_value(&approval).unwrap())
    }

    #[test]
    fn an_answer_names_what_was_judged_and_repeats_the_conditions_of_others() {
        let (form, text) = sent(&json!({"name": "csr-a", "generateName": "csr-"}), 0);
        let expected = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": "csr-a", "generateName": "csr-", "uid": "u-1", "resourceVersion": "42"},
            "status": {"conditions": [
                {"type": "Example", "status": "True", "reason": "Mine"},
                {"type": "Denied", "status": "True", "reason": "BadSignature", "message": "why"},
            ]},
        });
        assert_eq!((form, text), (Form::Whole, expected));
    }

    #[test]
    fn what_has_more_than_a_name_or_could_not_be_written_is_patched() {
        for (metadata, failures) in [
            (json!({"name": "csr-a", "annotations": {"a": "b"}}), 0),
            (json!({"name": "csr-a", "generateName": "csr-"}), 1),
        ] {
            let (form, text) = sent(&metadata, failures);
            assert_eq!(form, Form::Patch, "{metadata}");
            let metadata = json!({"name": "csr-a", "uid": "u-1", "resourceVersion": "42"});
            assert_eq!((&text["metadata"], &text["status"]["conditions"][1]["type"]), (&metadata, &json!("Denied")));
        }
    }
}
