//! `change-schema`: what a producer may send.

use clap::Args as ClapArgs;
use contact_sync::consume;

use super::output::Output;

/// Print the JSON Schema of a contact change, for producers to validate with
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin change-schema > contact-change.schema.json")]
pub(crate) struct Args {}

pub(crate) fn run(output: Output) {
    let schema = consume::schema();
    output.answer(&schema, &format!("{schema:#}"));
}
