//! contact-sync-admin, the operator's tool: one file for each command.

use std::process::ExitCode;

use clap::Parser;

/// Looks into contact-sync's queues, settings and streams, and puts back what was rejected.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {}

fn main() -> ExitCode {
    Cli::parse();
    ExitCode::SUCCESS
}
