//! Runs contact-sync-admin, the operator's tool.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(contact_sync_admin::run(std::env::args_os()).await)
}
