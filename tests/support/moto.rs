//! AWS on loopback: moto's server, on a free port, ended with the test that started it.

use std::process::Stdio;

use aws_config::SdkConfig;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::harness;

/// A running emulation.
pub struct Moto {
    pub url: String,
    _process: Child,
}

impl Moto {
    /// Starts the server of the environment that the Makefile makes.
    pub async fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the Makefile says where its tools are")]
        let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "target/venv-mocks/bin/moto_server".to_owned());
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process =
            command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run the tests by `make test`"));
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let url = loop {
            let line = lines.next_line().await.expect("readable").expect("the server tells its address");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        // What it says later has to go somewhere.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, _process: process }
    }

    pub fn config(&self) -> SdkConfig {
        harness::aws(&self.url)
    }
}
