//! Runs a few schedules through the real binary behind a Runtime API. The binary is killed at
//! random times during its work.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use testkit::evidence::{ended, seeds, write_report};
use testkit::kinesis::{Invocation, InvocationOutcome};
use testkit::runtime_api::Function;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::laws::{Broken, NOT_DRAINED};
use super::numbers::Numbers;
use super::sockets::{FAULTY_INVOCATIONS, TIMEOUT, Variant, World, mapping};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_secs(20);

async fn run(seed: u64) -> Result<Numbers, Broken> {
    let world = World::start(seed, 80, Variant::Sound).await;
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("settings.toml");
    std::fs::write(&document, world.document(true)).expect("written");
    let mut variables = world.mocks.variables();
    let config = format!("file:{}", document.display());
    for (name, value) in [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", &config),
        ("AWS_ENDPOINT_URL", &world.aws_server.url()),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    // One environment: concurrent invocations wait for it.
    let environment = Mutex::new(Function::start(Path::new(BINARY), &variables).await);
    let (invocations, kills) = (Cell::new(0), Cell::new(0));
    let function = async |invocation: Invocation| {
        let mut environment = environment.lock().await;
        invocations.set(invocations.get() + 1);
        let is_faulty = invocations.get() <= FAULTY_INVOCATIONS;
        if is_faulty {
            world.inject_faults();
        } else {
            world.aws.heal();
            // The function reads the document again in the background of each invocation.
            std::fs::write(&document, world.document(false)).expect("written");
        }
        let dies_at = Instant::now()
            + if is_faulty && world.injects(20) {
                world.random_delay(150)
            } else {
                2 * TIME
            };
        let ended: InvocationOutcome = tokio::select! {
            ended = environment.invoke(invocation.event, &invocation.request_id, TIME) => {
                ended.into()
            }
            () = sleep_until(dies_at) => {
                environment.kill().await;
                kills.set(kills.get() + 1);
                InvocationOutcome::Error
            }
        };
        if !ended.settles_all() {
            *environment = Function::start(Path::new(BINARY), &variables).await;
        }
        ended
    };
    let drained = timeout(TIMEOUT, mapping(seed).drain(&world.stream, function)).await;
    let report = drained.map_err(|_| {
        vec![format!(
            "{NOT_DRAINED} after {} invocations",
            invocations.get()
        )]
    })?;
    world.check(&report)?;
    Ok(Numbers::of_one(
        &world.stream,
        &report,
        &world.aws,
        world.faults(),
        kills.get(),
    ))
}

#[tokio::test]
async fn killing_the_binary_leaves_both_systems_equal_to_the_source() {
    let mut numbers = Numbers::default();
    for seed in seeds(5) {
        numbers.take(
            seed,
            ended(seed, AssertUnwindSafe(run(seed)).catch_unwind().await),
        );
    }
    write_report("binary", numbers);
}
