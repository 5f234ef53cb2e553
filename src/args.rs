//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::cli::args::{CompletionsArguments, ExplainArguments, PolicyArguments, ReviewArguments};
use crate::identity::ClusterDomain;
use crate::lease::LeaseName;

/// Approves or denies kubelet-serving CertificateSigningRequests by node identity and policy.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  countersign review
  countersign explain csr-x7k2p
  countersign run --policy policies/default.yaml --kubeconfig admin.conf";

const REVIEW_EXAMPLES: &str = "\
Examples:
  countersign review
  countersign review --policy policy.yaml --only denied -o wide

  kubectl get csr,nodes,servicecidrs -o yaml > cluster.yaml
  kubectl get endpointslices -n default -l kubernetes.io/service-name=kubernetes -o yaml > api-server.yaml
  countersign review --policy policy.yaml -f cluster.yaml api-server.yaml";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer kubelet-serving requests as they come, until told to stop
    ///
    /// Follows CertificateSigningRequests of the signer kubernetes.io/kubelet-serving and Nodes, decides about each
    /// request by the policy, and writes the condition Approved or Denied. What may still become right is left pending.
    ///
    /// With --once, exits with 2 if anything is denied, or would be in audit mode, and with 1 if not everything could be
    /// settled.
    #[command(after_help = "Examples:\n  countersign run --policy policies/default.yaml --kubeconfig admin.conf\n  \
                            countersign run --policy policies/default.yaml --kubeconfig admin.conf --once")]
    Run(Box<RunArguments>),

    /// Show what would become of every request, in a dump or the live cluster
    ///
    /// Decides about the cluster's requests for kubelets' serving certificates exactly as `countersign run` does, and
    /// writes nothing. Requests that are decided already are judged as if they were pending; where something else has
    /// become of one, its verdict is marked with a !. A dump needs the requests and Nodes; ServiceCIDRs, the API server's
    /// EndpointSlices, Machines and the like are used where it has them.
    ///
    /// Exits with 2 if anything would be denied or answered otherwise than it was.
    #[command(after_help = REVIEW_EXAMPLES)]
    Review(ReviewArguments),

    /// Explain what would become of one request, and why
    ///
    /// Shows what stands in the request, which rule of the policy decides and why others do not, what each source says of
    /// every name and address, every check and what came of it, the verdict, and what can be done about it.
    ///
    /// Exits with 2 if the request would be denied.
    #[command(after_help = "Examples:\n  countersign explain csr-x7k2p\n  \
                            countersign explain csr-x7k2p --policy policy.yaml -f cluster.yaml -o json")]
    Explain(ExplainArguments),

    /// Check policy files, and run their cases
    #[command(after_help = "Examples:\n  countersign policy validate policy.yaml\n  \
                            countersign policy diff policy.yaml new-policy.yaml")]
    Policy(PolicyArguments),

    /// Print the script by which a shell completes this program's commands and flags
    ///
    /// `make install` puts the scripts where shells look for them.
    #[command(after_help = "Examples:\n  source <(countersign completions bash)\n  \
                            countersign completions fish > ~/.config/fish/completions/countersign.fish")]
    Completions(CompletionsArguments),
}

/// Flags of `countersign run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The policy file
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,

    /// The inventory file, for rules whose identity sources have it
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// How to reach the API server, outside of a pod [default: the pod's service account, else KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// How to reach the management cluster, where Machines are in another cluster than their Nodes; if its context names a
    /// namespace, only the Machines in there count
    #[arg(long, value_name = "FILE")]
    pub machine_kubeconfig: Option<PathBuf>,

    /// Where to serve /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,

    /// How many requests to work on at once; those of one node are always worked on one after another
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,

    /// A range of Service addresses beside those of the cluster's ServiceCIDR objects; may be given several times
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Vec<IpNet>,

    /// The cluster's DNS domain, under which no node may have a name
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: ClusterDomain,

    /// The Lease by which several instances agree on one that answers [default: countersign in the program's namespace]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub lease: Option<LeaseName>,

    /// Answer without a Lease, as the only instance there is
    #[arg(long, conflicts_with = "lease")]
    pub no_lease: bool,

    /// Answer what is pending when it begins, show what was written, and end; waits for the Lease, and serves no metrics
    #[arg(long, conflicts_with = "admin_address")]
    pub once: bool,

    /// How to write the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
