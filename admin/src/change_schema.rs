//! `change-schema`: prints the JSON Schema of a contact change.

use clap::Args as ClapArgs;
use contact_sync::source;

use super::output::Output;

/// Print the JSON Schema of a contact change, for producers to validate with
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin change-schema > contact-change.schema.json")]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(output: &Output) {
    let schema = source::schema();
    output.result(&schema, &format!("{schema:#}"));
}
