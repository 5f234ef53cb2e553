//! Flags of the commands for people.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::identity::ClusterDomain;

/// What every command that looks at a cluster or a dump of one takes.
#[derive(Debug, Args)]
pub struct SourceArguments {
    /// The inventory file, for rules whose identity sources have it
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// A range of Service addresses beside those of the cluster's ServiceCIDR objects; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Vec<IpNet>,

    /// The cluster's DNS domain, under which no node may have a name
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: ClusterDomain,

    /// How to reach the API server, where no dump is given [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Live cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context [default: the current one]
    #[arg(long, value_name = "NAME", help_heading = "Live cluster")]
    pub context: Option<String>,

    /// Where the controller runs, and has written down who claimed contested addresses first [default: that of the
    /// context]
    #[arg(short, long, value_name = "NAME", help_heading = "Live cluster")]
    pub namespace: Option<String>,

    /// Tell on standard error what is asked of the API server; 6 and more tells all of it
    #[arg(short, long = "verbose", value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_value_t = 0,
        default_missing_value = "1")]
    pub verbosity: u8,
}

/// Flags of `countersign review`.
#[derive(Debug, Args)]
pub struct ReviewArguments {
    /// Dumps of a cluster in YAML or JSON, `-` for standard input [default: the live cluster]
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,

    /// The policy file [default: the one that is built in, policies/default.yaml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ReviewFormat,

    /// Print those with this verdict only; the summary and the exit code are of all
    #[arg(long, value_name = "VERDICT")]
    pub only: Option<Only>,

    /// Look at the requests of this node only
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Where the facts come from.
    #[command(flatten)]
    pub source: SourceArguments,
}

/// How a review is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReviewFormat {
    /// A row for each request; on a terminal cut to its width.
    Table,
    /// The same with all reasons, the rule, the key and the whole message.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// A JSON object a line for each request, as soon as it is judged.
    Jsonl,
}

/// Flags of `countersign explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The request's name; not needed where there is only one
    #[arg(value_name = "CSR")]
    pub request: Option<String>,

    /// A dump of a cluster in YAML or JSON, `-` for standard input; may be given several times [default: the live cluster]
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The policy file [default: the one that is built in, policies/default.yaml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ExplainFormat,

    /// Where the facts come from.
    #[command(flatten)]
    pub source: SourceArguments,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Which rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// What would be approved.
    Approved,
    /// What would be denied.
    Denied,
    /// What would be left pending.
    Deferred,
}

/// Flags of `countersign policy`.
#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy, inventory and case files
    ///
    /// Tells every mistake of every file with its line and column, and warns of rules that a node can choose by itself,
    /// since a kubelet may give its own Node the label that they look for. Exits with 1 if a file cannot be used.
    #[command(after_help = "Example:\n  countersign policy validate policies/*.yaml")]
    Validate(ValidateArguments),

    /// Run the cases of case files
    ///
    /// A case file has a cluster in short, requests, and what has to become of each under a policy. Shows what was
    /// expected (-) and what came (+) of those that differ, and exits with 2 if any does.
    #[command(after_help = "Example:\n  countersign policy test policies/*.cases.yaml")]
    Test(TestArguments),

    /// Show which verdicts another policy would change, in a dump or the live cluster
    ///
    /// Exits with 2 if there are any.
    #[command(after_help = "Examples:\n  countersign policy diff policy.yaml new-policy.yaml\n  \
                            countersign policy diff <(git show HEAD:policy.yaml) policy.yaml -f cluster.yaml")]
    Diff(Box<DiffArguments>),

    /// Print the JSON Schema of a policy file, by which editors complete and check it, or of what commands print
    #[command(after_help = "Examples:\n  countersign policy schema > serving-policy.schema.json\n  \
                            countersign policy schema review")]
    Schema(SchemaArguments),
}

/// Flags of `countersign policy validate`.
#[derive(Debug, Args)]
pub struct ValidateArguments {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Flags of `countersign policy test`.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// The case files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Flags of `countersign policy diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The policy that is in force
    #[arg(value_name = "OLD")]
    pub old: PathBuf,

    /// The policy that is to be
    #[arg(value_name = "NEW")]
    pub new: PathBuf,

    /// A dump of a cluster in YAML or JSON, `-` for standard input; may be given several times [default: the live cluster]
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: DiffFormat,

    /// Where the facts come from.
    #[command(flatten)]
    pub source: SourceArguments,
}

/// How a comparison of policies is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// A row for each request with another verdict.
    Table,
    /// One JSON document.
    Json,
}

/// Flags of `countersign policy schema`.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// Of which file or output
    #[arg(value_name = "KIND", default_value = "policy")]
    pub kind: SchemaKind,
}

/// What there is a JSON Schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// A policy file.
    Policy,
    /// An inventory file.
    Inventory,
    /// What `countersign review -o json` prints; a line of `-o jsonl` is one of its requests.
    Review,
    /// What `countersign explain -o json` prints.
    Explanation,
    /// What `countersign policy diff -o json` prints.
    Diff,
}

/// Flags of `countersign completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The shells that there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU's shell.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}
