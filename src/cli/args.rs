//! Flags of the commands for people.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    /// Check policy and inventory files
    ///
    /// Tells every mistake of every file with its line and column, and warns of rules that a node can choose by itself,
    /// since a kubelet may give its own Node the label that they look for. Exits with 1 if a file cannot be used.
    #[command(after_help = "Example:\n  countersign policy validate policy.yaml inventory.yaml")]
    Validate(ValidateArguments),

    /// Print the JSON Schema of a policy file, by which editors complete and check it
    #[command(after_help = "Examples:\n  countersign policy schema > serving-policy.schema.json\n  \
                            countersign policy schema --inventory > node-inventory.schema.json")]
    Schema(SchemaArguments),
}

/// Flags of `countersign policy validate`.
#[derive(Debug, Args)]
pub struct ValidateArguments {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Flags of `countersign policy schema`.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// That of an inventory file instead
    #[arg(long)]
    pub inventory: bool,
}
