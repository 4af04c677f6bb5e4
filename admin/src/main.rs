//! Runs contact-sync-admin, the operator's tool.

use std::process::ExitCode;

use contact_sync_admin::Tool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(Tool::of_process().run(std::env::args_os()).await)
}
