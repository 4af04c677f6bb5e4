//! CPU time of making a client ready for TLS: with the root certificates of the system, and with
//! those that are compiled in. Each is built in processes of its own, since the AWS SDK reads the
//! system's once.

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use contact_sync::http_client;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::say;

/// Processes of each client.
const PROCESSES: usize = 15;

/// Client that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The client of AWS with the certificates of the system, as the function has it.
    System,
    /// The client of AWS with those that are compiled in. It takes them as PEM alone.
    Compiled,
    /// The client of both systems, with those that are compiled in.
    Systems,
}

impl Roots {
    const ALL: [Self; 3] = [Self::System, Self::Compiled, Self::Systems];

    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Compiled => "compiled",
            Self::Systems => "systems",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::System => "AWS, certificates of the system (as shipped)",
            Self::Compiled => "AWS, certificates compiled in",
            Self::Systems => "Salesforce and HubSpot, certificates compiled in (as shipped)",
        }
    }

    fn build(self) {
        match self {
            Self::System => drop(black_box(connector(TrustStore::default()))),
            Self::Compiled => {
                let trusted = TrustStore::empty().with_pem_certificate(pem());
                drop(black_box(connector(trusted)));
            }
            Self::Systems => drop(black_box(http_client::client().expect("a client"))),
        }
    }
}

fn connector(trusted: TrustStore) -> Connector {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    connector.tls_context(context.expect("a context")).build()
}

/// Returns the certificates that are compiled in, as PEM.
fn pem() -> String {
    let mut pem = String::new();
    for root in TLS_SERVER_ROOT_CERTS {
        let text = base64_simd::STANDARD.encode_to_string(root.as_ref());
        let _ = write!(
            pem,
            "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        );
    }
    pem
}

/// CPU time of the first client of a process, and of a second one.
pub(crate) type Times = [(Roots, [Duration; 2]); 3];

/// Measures each client. Times are medians.
pub(crate) fn measure() -> Result<Times, String> {
    let mut all = Roots::ALL.map(|roots| (roots, [Duration::ZERO; 2]));
    for (roots, medians) in &mut all {
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            let [first, second] = in_a_process(*roots)?;
            firsts.push(first);
            seconds.push(second);
        }
        firsts.sort_unstable();
        seconds.sort_unstable();
        *medians = [firsts[PROCESSES / 2], seconds[PROCESSES / 2]];
    }
    Ok(all)
}

fn in_a_process(roots: Roots) -> Result<[Duration; 2], String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--client", roots.name()])
        .output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let nanos: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
    let nanos: [u64; 2] = nanos.try_into().map_err(|_| format!("no times: {text}"))?;
    Ok(nanos.map(Duration::from_nanos))
}

/// Builds the client with this name twice, and prints the CPU time of each.
pub(crate) fn build(name: &str) -> Result<(), String> {
    let roots = Roots::ALL.into_iter().find(|roots| roots.name() == name);
    let roots = roots.ok_or_else(|| format!("no client `{name}`"))?;
    let mut times = Vec::new();
    for _ in 0..2 {
        let before = cpu()?;
        roots.build();
        times.push((cpu()? - before).to_string());
    }
    say(&times.join(" "));
    Ok(())
}

/// Returns the CPU time of this thread, in nanoseconds.
fn cpu() -> Result<u64, String> {
    // The kernel brings the number up to date when it schedules.
    std::thread::yield_now();
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let nanos = text
        .split_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok());
    nanos.ok_or_else(|| format!("{path}: {text}"))
}

/// Formats the times.
pub(crate) fn table(times: &Times) -> String {
    let mut text = format!(
        "CPU time of building a client, medians of {PROCESSES} processes. A process reads the \
         certificates of the system once, for all clients of AWS.\n\n\
         | client | first, ms | second, ms |\n| --- | ---: | ---: |\n"
    );
    for (roots, [first, second]) in times {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} |",
            roots.title(),
            millis(first),
            millis(second)
        );
    }
    text
}
