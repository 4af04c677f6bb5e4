//! `completions`: prints the script with which a shell completes the tool's commands and options.

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use super::output::Output;

/// Print the script with which a shell completes commands and options
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin completions bash > contact-sync-admin.bash
  contact-sync-admin completions zsh > _contact-sync-admin

bash reads the file from ~/.local/share/bash-completion/completions/, under
the name contact-sync-admin; zsh from a folder of $fpath; fish from
~/.config/fish/completions/, under the name contact-sync-admin.fish.")]
pub(crate) struct Args {
    /// Shell that reads the script
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args, mut tool: Command, output: &Output) {
    let name = tool.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tool, name, &mut script);
    output.raw(&script);
}
