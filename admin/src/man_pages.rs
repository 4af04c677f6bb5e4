//! `man-pages`: writes a manual page for each command.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Command};

use super::failure::Failure;

/// Write a manual page for each command
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin man-pages ~/.local/share/man/man1
  man contact-sync-admin-replay")]
pub(crate) struct Args {
    /// Folder of the pages; it is created
    folder: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args, tool: Command) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(tool, &args.folder));
    written.map_err(|error| {
        Failure::new(
            format!("{}: {error}", args.folder.display()),
            "name a folder that you may write into",
        )
    })
}
