//! Conditions in CEL, with Kubernetes' own functions.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};
use kube_cel::cel::{Context, ExecutionError, Program, Value, to_value};
use serde::Serialize;

use crate::identity::NodeRecord;
use crate::request::ServingRequest;
use crate::san::San;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 4096;
/// How deep loops over a request's names and addresses may be nested. A request has at most a few dozen of them, so that
/// this bounds the time: the interpreter has no bound of its own.
const MAX_LOOPS: usize = 2;
/// What an expression may look at.
const REQUEST_FIELDS: &[&str] = &["dnsNames", "ipAddresses", "key", "expirationSeconds"];
const NODE_FIELDS: &[&str] = &["name", "labels"];

/// An expression that has to be true of a request and its Node.
#[derive(Clone)]
pub struct Condition {
    program: Arc<Program>,
    expression: String,
    message: String,
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is true.
    Holds,
    /// It is false.
    Fails,
    /// It cannot be told: the interpreter's word.
    Error(String),
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.expression).finish()
    }
}

impl Condition {
    /// Compiles an expression, and tries it on a request as a kubelet makes it, so that a type that does not fit is found
    /// here and not on the first request.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(super) fn compile(expression: &str, message: Option<&str>) -> Result<Self, String> {
        if expression.len() > MAX_LENGTH {
            return Err(format!("the expression has {} bytes; {MAX_LENGTH} are allowed", expression.len()));
        }
        let program = guarded(|| Program::compile(expression))?.map_err(|errors| first_line(&errors))?;
        check(program.expression(), 0)?;
        let condition = Self {
            program: Arc::new(program),
            expression: expression.to_owned(),
            message: message.unwrap_or(expression).to_owned(),
        };
        match condition.run(&Input::sample()) {
            // What one Node lacks, such as a label, another may have.
            Ok(Value::Bool(_)) | Err(ExecutionError::NoSuchKey(_)) => Ok(condition),
            Ok(other) => Err(format!("the expression is to be true or false, and is {}", kind_of(&other))),
            Err(error) => Err(first_line(&error)),
        }
    }

    /// What to say where it is false.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The expression as it is written.
    pub(super) fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether it is true of a request and its Node.
    pub(super) fn evaluate(&self, request: &ServingRequest, record: &NodeRecord) -> Outcome {
        match self.run(&Input::of(request, record)) {
            Ok(Value::Bool(true)) => Outcome::Holds,
            Ok(Value::Bool(false)) => Outcome::Fails,
            Ok(other) => Outcome::Error(format!("it is {}", kind_of(&other))),
            Err(error) => Outcome::Error(first_line(&error)),
        }
    }

    fn run(&self, input: &Input) -> Result<Value, ExecutionError> {
        let failed = |error: &dyn fmt::Display| ExecutionError::function_error("input", error.to_string());
        let mut context = Context::default().with_all();
        context.add_variable_from_value("request", to_value(&input.request).map_err(|error| failed(&error))?);
        context.add_variable_from_value("node", to_value(&input.node).map_err(|error| failed(&error))?);
        guarded(|| self.program.execute(&context)).unwrap_or_else(|error| Err(failed(&error)))
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs the interpreter of conditions, whose panics are caught: for a hook that ends the program at
/// any other.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs the library so that a fault of its own is an error like any other: nothing that a node sends ends this program.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(false);
    result.map_err(|_| "the interpreter has failed".to_owned())
}

/// What an expression sees.
#[derive(Serialize)]
struct Input {
    request: RequestInput,
    node: NodeInput,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestInput {
    dns_names: Vec<String>,
    ip_addresses: Vec<String>,
    key: String,
    expiration_seconds: u64,
}

#[derive(Serialize)]
struct NodeInput {
    name: String,
    labels: std::collections::BTreeMap<String, String>,
}

impl Input {
    fn of(request: &ServingRequest, record: &NodeRecord) -> Self {
        Self {
            request: RequestInput {
                dns_names: request.sans().iter().filter_map(San::as_dns).map(ToString::to_string).collect(),
                ip_addresses: request.sans().iter().filter_map(San::as_ip).map(|it| it.to_string()).collect(),
                key: request.key().to_string(),
                expiration_seconds: request.expiration().map(|it| it.as_secs()).unwrap_or_default(),
            },
            node: NodeInput { name: request.node().to_string(), labels: record.labels() },
        }
    }

    fn sample() -> Self {
        Self {
            request: RequestInput {
                dns_names: vec!["node-1".to_owned()],
                ip_addresses: vec!["192.0.2.1".to_owned()],
                key: "ecdsa-p256".to_owned(),
                expiration_seconds: 0,
            },
            node: NodeInput { name: "node-1".to_owned(), labels: [("sample".to_owned(), String::new())].into() },
        }
    }
}

/// Looks for fields that do not exist and for loops that are too deep.
fn check(expression: &IdedExpr, loops: usize) -> Result<(), String> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Select(select) => {
            if let Expr::Ident(root) = &select.operand.expr {
                let fields = match root.as_str() {
                    "request" => REQUEST_FIELDS,
                    "node" => NODE_FIELDS,
                    _ => &[],
                };
                if !fields.is_empty() && !fields.contains(&select.field.as_str()) {
                    return Err(format!("{root} has no field {:?}, but {}", select.field, fields.join(", ")));
                }
            }
            check(&select.operand, loops)
        }
        Expr::Call(call) => {
            call.target.iter().map(|it| &**it).chain(&call.args).try_for_each(|part| check(part, loops))
        }
        Expr::List(list) => list.elements.iter().try_for_each(|part| check(part, loops)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| check_entry(&entry.expr, loops)),
        Expr::Struct(value) => value.entries.iter().try_for_each(|entry| check_entry(&entry.expr, loops)),
        Expr::Comprehension(comprehension) => {
            if loops == MAX_LOOPS {
                return Err(format!("loops are nested more than {MAX_LOOPS} deep"));
            }
            check(&comprehension.iter_range, loops)?;
            let inner =
                [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
            inner.into_iter().try_for_each(|part| check(part, loops + 1))
        }
    }
}

fn check_entry(entry: &EntryExpr, loops: usize) -> Result<(), String> {
    match entry {
        EntryExpr::StructField(field) => check(&field.value, loops),
        EntryExpr::MapEntry(entry) => check(&entry.key, loops).and_then(|()| check(&entry.value, loops)),
    }
}

fn kind_of(value: &Value) -> String {
    format!("of the type {:?}", value.type_of()).to_lowercase()
}

/// The first line of what the library says, cut: it repeats its input below.
fn first_line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(expression: &str) -> String {
        Condition::compile(expression, None).unwrap_err()
    }

    #[test]
    fn takes_what_is_true_or_false_of_a_request_and_its_node() {
        for expression in [
            "request.dnsNames.all(n, n.startsWith(node.name))",
            "request.ipAddresses.all(a, ip(a).family() == 4)",
            "request.ipAddresses.exists(a, cidr('192.0.2.0/24').containsIP(a))",
            "request.dnsNames.size() + request.ipAddresses.size() <= 4",
            "request.key in ['ecdsa-p256', 'ed25519'] && request.expirationSeconds <= 86400",
            "node.labels['zone'] == 'a'",
            "'zone' in node.labels",
            "request.dnsNames.all(a, request.dnsNames.exists(b, a == b))",
        ] {
            assert!(Condition::compile(expression, None).is_ok(), "{expression}: {}", error(expression));
        }
    }

    #[test]
    fn refuses_at_load_what_cannot_work() {
        assert!(error("request.dnsNames.all(n, ").contains("ERROR"), "{}", error("request.dnsNames.all(n, "));
        assert_eq!(
            error("request.dnsName == 'a'"),
            "request has no field \"dnsName\", but dnsNames, ipAddresses, key, expirationSeconds"
        );
        assert!(error("request.key").contains("the type string"), "{}", error("request.key"));
        assert!(
            error("request.key + 1 == 2").contains("nsupported") || error("request.key + 1 == 2").contains("overload")
        );
        assert!(error("nosuch(request.key)").contains("nosuch"), "{}", error("nosuch(request.key)"));
        assert!(error("cluster.name == 'a'").contains("cluster"), "{}", error("cluster.name == 'a'"));
        assert!(Condition::compile(&format!("{:4096}", "true"), None).is_ok());
        assert_eq!(error(&format!("{:4097}", "true")), "the expression has 4097 bytes; 4096 are allowed");
        let deep = "request.dnsNames.all(a, request.dnsNames.all(b, request.dnsNames.all(c, a == b && b == c)))";
        assert_eq!(error(deep), "loops are nested more than 2 deep");
    }

    #[test]
    fn finds_a_field_that_does_not_exist_wherever_it_stands() {
        for expression in [
            "size(request.nosuch) == 0",
            "request.nosuch.size() == 0",
            "request.nosuch[0] == 'a'",
            "[request.nosuch] == []",
            "{'a': request.nosuch} == {}",
            "{request.nosuch: 'a'} == {}",
            "request.nosuch.all(n, true)",
            "request.dnsNames.all(n, n == request.nosuch)",
        ] {
            assert!(error(expression).starts_with("request has no field \"nosuch\""), "{expression}");
        }
        assert_eq!(error("node.uid == 'a'"), "node has no field \"uid\", but name, labels");
    }
}
