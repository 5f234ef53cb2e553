//! Dumps of a cluster: what `kubectl get … -o yaml` and `-o json` print.
//!
//! Objects are handed on as they are read, so that a dump takes no more memory than what is kept of it.

mod json;
mod line;
mod object;
mod skip;
mod yaml;

use std::io::{self, BufRead, BufReader, Read};

use thiserror::Error;

pub(crate) use object::Object;
use object::Sink;

/// How much is read at once, in bytes.
const BUFFER: usize = 256 * 1024;

/// Why a dump cannot be read.
#[derive(Debug, Error)]
#[error("{name}: {problem}")]
pub struct DumpError {
    name: String,
    problem: Problem,
}

/// What is wrong with a dump.
#[derive(Debug, Error)]
enum Problem {
    /// The file could not be read.
    #[error("{0}")]
    Io(io::Error),
    /// It is not what it has to be.
    #[error("{}{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default(),
        kind.as_ref().map(|kind| format!("{kind}: ")).unwrap_or_default())]
    Content {
        /// Where, from 1.
        line: Option<usize>,
        /// In an object of which kind.
        kind: Option<String>,
        /// What it is.
        message: String,
    },
}

impl Problem {
    /// A reader's message, which may quote all that there is, cut down to what people read.
    fn short(message: &str) -> String {
        const KEPT: usize = 150;
        let (count, chars) = (message.chars().count(), message.chars());
        if count <= 2 * KEPT {
            return message.to_owned();
        }
        let start: String = chars.clone().take(KEPT).collect();
        let end: String = chars.skip(count - KEPT).collect();
        format!("{start} … {end}")
    }

    fn at(line: usize, message: String) -> Self {
        Self::Content { line: Some(line), kind: None, message }
    }
}

/// Reads a dump, which errors call by this name, and hands on each object.
///
/// # Errors
/// [`DumpError`], with the line.
pub(crate) fn read(name: &str, input: impl Read, take: &mut dyn FnMut(Object)) -> Result<(), DumpError> {
    read_from(input, &Sink::new(take)).map_err(|problem| DumpError { name: name.to_owned(), problem })
}

fn read_from(input: impl Read, sink: &Sink<'_>) -> Result<(), Problem> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let start = input.fill_buf().map_err(Problem::Io)?;
    if is_json(start) { json::read(&mut input, sink) } else { yaml::read(&mut input, sink) }
}

/// Whether a text is JSON by its beginning. YAML may begin with a brace too, but hardly ever quotes its keys there.
fn is_json(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let within = start.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    within.is_some_and(|within| within.starts_with(b"\"") || within.starts_with(b"}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n";

    /// The names of the objects in a text, each with its kind; what is wrong with it where it cannot be read.
    fn objects(text: &str) -> Result<Vec<String>, String> {
        let mut objects = Vec::new();
        let mut take = |object: Object| {
            let name = |metadata: &kube::core::ObjectMeta| metadata.name.clone().unwrap_or_default();
            objects.push(match &object {
                Object::Request(it) => format!("request {}", name(&it.metadata)),
                Object::Node(it) => format!("node {} {}", name(&it.metadata), it.status.addresses.len()),
                Object::Machine(group, it) => format!("machine {} {group}", name(&it.metadata)),
                Object::ServiceCidr(it) => format!("servicecidr {:?}", it.spec.cidrs),
                Object::EndpointSlice(it) => format!("endpointslice {}", it.is_of_api_server()),
                Object::Service(it) => format!("service {}", name(&it.metadata)),
                Object::ConfigMap(it) => format!("configmap {}", it.is_cluster_info()),
                Object::Other => "other".to_owned(),
            });
        };
        read_from(text.as_bytes(), &Sink::new(&mut take)).map_err(|problem| problem.to_string())?;
        Ok(objects)
    }

    #[test]
    fn reads_lists_and_single_objects_in_yaml_and_json() {
        let list = "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: a\n  status:\n    addresses:\n    \
                    - address: 10.0.0.1\n      type: InternalIP\n    images:\n    - names:\n      - x\n\
                    - apiVersion: certificates.k8s.io/v1\n  kind: CertificateSigningRequest\n  metadata:\n    name: csr-1\n  spec:\n    \
                    request: aGk=\n    signerName: x\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
        let expected = ["node a 1", "request csr-1"];
        assert_eq!(objects(list).unwrap(), expected);
        // The same with the items indented, after comments, in one line, in several documents, with Windows' line ends.
        let indented =
            list.replace("\n- ", "\n  - ").replace("\n  ", "\n    ").replace("    - apiVersion", "  - apiVersion");
        assert_eq!(objects(&indented).unwrap(), expected, "{indented}");
        assert_eq!(objects(&format!("# a dump\n---\n{list}---\n# nothing\n---\n{list}...\n")).unwrap().len(), 4);
        assert_eq!(objects(&list.replace('\n', "\r\n")).unwrap(), expected);
        assert_eq!(objects(&format!("\u{feff}{list}")).unwrap(), expected);
        let value: serde_json::Value = serde_yaml::from_str(list).unwrap();
        assert_eq!(objects(&value.to_string()).unwrap(), expected);
        assert_eq!(objects(&format!("{value:#}\n{value}")).unwrap().len(), 4);
        assert_eq!(objects(&serde_yaml::to_string(&value).unwrap()).unwrap(), expected);
        assert_eq!(objects(&format!("{NODE}---\n{NODE}")).unwrap(), ["node a 0", "node a 0"]);
        assert_eq!(
            objects("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {}}]}").unwrap(),
            ["node  0"]
        );
    }

    #[test]
    fn passes_over_what_is_large_and_counts_its_lines() {
        let node = "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    managedFields:\n    - {}\n    name: a\n  \
                    status:\n    images:\n    - names: [x]\n    addresses:\n    - address: 10.0.0.1\nkind: List\n";
        assert_eq!(objects(node).unwrap(), ["node a 1"]);
        assert_eq!(objects(&node.replace("    addresses:\n    - address: 10.0.0.1\n", "")).unwrap(), ["node a 0"]);
        let error = objects(&node.replace("- address:", "- adress:")).unwrap_err();
        assert!(error.starts_with("line 13: Node: ") && error.contains("missing field `address`"), "{error}");
    }

    #[test]
    fn tells_kinds_apart_wherever_they_stand() {
        let object = |api_version: &str, kind: &str| {
            let text =
                format!("metadata: {{name: a, namespace: n}}\nspec: {{}}\nkind: {kind}\napiVersion: {api_version}\n");
            objects(&text).unwrap().remove(0)
        };
        assert_eq!(object("v1", "Service"), "service a");
        assert_eq!(object("serving.knative.dev/v1", "Service"), "other");
        assert_eq!(object("cluster.x-k8s.io/v1beta2", "Machine"), "machine a cluster.x-k8s.io");
        assert_eq!(object("machine.sapcloud.io/v1alpha1", "Machine"), "other");
        assert_eq!(object("networking.k8s.io/v1", "ServiceCIDR"), "servicecidr []");
        assert_eq!(object("discovery.k8s.io/v1", "EndpointSlice"), "endpointslice false");
        assert_eq!(object("v1", "ConfigMap"), "configmap false");
    }

    #[test]
    fn items_without_a_kind_are_what_their_list_is() {
        let raw = r#"{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"a"}}]}"#;
        assert_eq!(objects(raw).unwrap(), ["node a 0"]);
        assert_eq!(objects("kind: NodeList\napiVersion: v1\nitems:\n- metadata: {name: a}\n").unwrap(), ["node a 0"]);
        let error = objects("kind: List\napiVersion: v1\nitems:\n- metadata: {name: a}\n").unwrap_err();
        assert_eq!(error, "line 4: an object needs the fields `apiVersion` and `kind`");
        for empty in ["items: []", "items:", "items:\n# none"] {
            assert_eq!(objects(&format!("apiVersion: v1\n{empty}\nkind: List\n")).unwrap(), [""; 0], "{empty}");
        }
    }

    #[test]
    fn an_item_ends_where_the_next_begins_and_nowhere_else() {
        let text = "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    a: |\n      - apiVersion: v1\n\n      - b\n    c: \"d\n      - e\"\n  \
                    kind: ConfigMap\n  metadata: {name: a}\n\n# a comment\n-\n  apiVersion: v1\n  kind: Node\n  metadata:\n    name: b\nkind: List\n";
        assert_eq!(objects(text).unwrap(), ["configmap false", "node b 0"]);
    }

    #[test]
    fn reads_nothing_that_a_whole_reading_would_not() {
        let item = "apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n";
        for (text, expected) in [
            // After the items, other values of the same field.
            (format!("items:\n - {}- {item}kind: List\n", item.replace('\n', "\n ").trim_end_matches(' ')), "line "),
            (
                "items:\n- apiVersion: v1\n  kind: Node\n [{apiVersion: v1, kind: Node}]\nkind: List\n".to_owned(),
                "line ",
            ),
            (format!("items:\n- {item}kind: List\nitems: []\n"), "line 1: duplicate field `items`"),
            (r#"{"items":[],"kind":"List","items":[]}"#.to_owned(), "line 1: column 34: duplicate field `items`"),
            // Two things at once.
            (format!("items:\n- {item}kind: Node\napiVersion: v1\n"), "line 1: what has `items` is to be a List"),
            (r#"{"items":[],"kind":"Node"}"#.to_owned(), "line 1: column 26: what has `items` is to be a List"),
            ("kind: Node\nkind: Pod\napiVersion: v1\n".to_owned(), "line 1: duplicate field `kind`"),
            (r#"{"apiVersion":"v1","apiVersion":"v2","kind":"Node"}"#.to_owned(), "line 1: column 32: duplicate field"),
            // Markers of documents.
            ("--- apiVersion: v1\n    kind: Node\n    metadata: {}\n".to_owned(), "line 1: "),
            (format!("{NODE}... {{}}\n"), "line 4: a document needs `---` after `...`"),
            (format!("{NODE}...\n{NODE}"), "line 5: a document needs `---` after `...`"),
            // Comments that parsers take for more than that.
            (format!("#\r{NODE}"), ""),
            ("# \u{0}\n---\n".to_owned(), "line 1: "),
        ] {
            match objects(&text) {
                Ok(objects) => assert!(expected.is_empty() && objects.len() == 1, "{text:?}: {objects:?}"),
                Err(error) => assert!(!expected.is_empty() && error.starts_with(expected), "{text:?}: {error}"),
            }
        }
        // What looks like a list is one only where a field may begin.
        let quoted = format!("kind: List\nx: \"\nitems:\n- {item}\"\n");
        assert_eq!(objects(&quoted).unwrap(), [""; 0]);
        assert_eq!(objects(&format!("{NODE}items:\n- {item}")).unwrap(), ["node a 0"]);
        // What an item says of itself counts.
        let pod = "kind: NodeList\napiVersion: v1\nitems:\n- kind: Pod\n  metadata: {name: a}\n";
        assert_eq!(objects(pod).unwrap(), ["other"]);
        // What is not looked at is passed over only where it cannot hold anything else.
        let open = "items:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    managedFields:\n    - \"a\n- apiVersion: v1\n  \
                    kind: Node\n  metadata: {name: a}\nkind: List\n";
        assert!(objects(open).unwrap_err().starts_with("line 7: Pod: "), "{:?}", objects(open));
    }

    #[test]
    fn says_what_is_wrong_and_in_which_line() {
        let list = |items: &str| format!("apiVersion: v1\nitems:\n{items}kind: List\n");
        let csr = "- apiVersion: certificates.k8s.io/v1\n  kind: CertificateSigningRequest\n  metadata: {name: a}\n";
        for (text, expected) in [
            ("hello", "line 1: invalid type: string \"hello\", expected a Kubernetes object or a List of objects"),
            ("- a\n", "line 1: invalid type: sequence, expected a Kubernetes object or a List of objects"),
            ("a: b\n", "line 1: an object needs the fields `apiVersion` and `kind`"),
            (&list(csr), "line 3: CertificateSigningRequest: missing field `spec`"),
            (
                &list(&format!("{csr}  spec: {{request: '!', signerName: a}}\n")),
                "line 6: CertificateSigningRequest: spec.request: ",
            ),
            (&list("- apiVersion: v1\n  kind: Node\n  metadata: }\n"), "line 5: "),
            (
                "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: a\n",
                "line 1: the List that begins here",
            ),
            ("apiVersion: v1\nkind: Node\nmeta", "line 4: Node: could not find"),
            (
                r#"{"apiVersion":"v1","kind":"Node","metadata":{"name""#,
                "line 1: Node: column 51: EOF while parsing an object",
            ),
            ("{\"a\":\n1}", "line 2: column 2: an object needs the fields"),
            ("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{}}\n{\"a\" 1}", "line 2: column 6: expected `:`"),
        ] {
            let error = objects(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let error = read_from(&b"apiVersion: v1\nkind: N\xffde\n"[..], &Sink::new(&mut |_| {})).unwrap_err();
        assert_eq!(error.to_string(), "line 2: this is not UTF-8 text");
    }
}
