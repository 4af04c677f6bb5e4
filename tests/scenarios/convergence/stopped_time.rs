//! Runs thousands of schedules in stopped time: the handler, the simulated mapping, two systems in
//! memory, a queue and a table without a socket.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::AdapterSpec;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, Settings, load};
use testkit::harness::{CLIENT, in_virtual_time};
use testkit::kinesis::{self, Invocation, InvocationOutcome, Mapping, Report, Stream};
use testkit::memory::{self, Memory};
use testkit::mock_aws::{self, MockAws};
use tokio::time::{Instant, timeout};

use super::falsified::Falsified;
use super::laws::{
    Broken, DEAD_LETTER_EXTRA, DEAD_LETTER_MISSING, HELD, LOST, NOT_DRAINED, ORDER,
    PROTOCOL_VIOLATION, all_hold, count, no_protocol_violation, nothing_lost, same,
};
use super::numbers::{Numbers, all};
use super::streams::{Expected, LEFT, RIGHT, ROUTES, changes, versions};

/// The part that is broken on purpose, so that a law must detect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Sound,
    /// A system acknowledges writes that it does not make.
    ForgetfulSystem,
    /// A system rejects valid records.
    RejectingSystem,
    /// A system has narrower limits than the adapter assumes.
    NarrowSystem,
    /// The queue acknowledges dead letters that it does not store.
    ForgetfulQueue,
    /// A system is unavailable for ever.
    UnavailableSystem,
    /// The mapping discards a batch after one failure.
    HastyMapping,
    /// The mapping ignores the reported failures.
    DeafMapping,
    /// The mapping redelivers no record.
    DroppedRedelivery,
    /// The mapping delivers batches in reverse order.
    SwappedOrder,
    /// A rule of the contract is broken.
    Falsified(Falsified),
}

struct World {
    left: Arc<Memory>,
    right: Arc<Memory>,
    aws: Arc<MockAws>,
    settings: Settings,
    keeps_versions: bool,
}

/// The faults of invocations, in percent.
struct InvocationFaults {
    killed: u32,
    throttled: u32,
    /// Time after which no fault is injected.
    heals: Duration,
}

impl World {
    fn new(random: &mut fastrand::Rng, variant: Variant, document: &str) -> Self {
        let system = |name, random: &mut fastrand::Rng| {
            let faults = faults(random, variant);
            Memory::named(name, random.u64(..), faults)
        };
        let (left, right) = (system(LEFT, random), system(RIGHT, random));
        let mut percent = |most: u32| random.u32(..=most);
        let faults = mock_aws::Faults {
            refused: percent(20),
            lost: percent(20),
            entry: percent(20),
            hanging: percent(5),
            forgotten: if variant == Variant::ForgetfulQueue {
                50
            } else {
                0
            },
        };
        let state = if random.bool() {
            "[state]\ntable = \"state\"\n"
        } else {
            ""
        };
        let queue = "[dead_letter]\nqueue_url = \"http://127.0.0.1:9/letters\"\n";
        let text = format!(
            "{ROUTES}{queue}{state}[pipeline]\nfallback_budget_ms = {}\n{document}",
            random.u64(1_000..20_000)
        );
        let layer = Layer::from_toml("the test", &text).expect("TOML");
        let settings = load(Preset::Test, &[layer], &[LEFT, RIGHT]).expect("allowed");
        Self {
            left,
            right,
            aws: MockAws::new(random.u64(..), faults),
            settings,
            keeps_versions: false,
        }
    }

    /// Starts a new environment of the function, without state.
    fn handler(&self) -> Handler {
        let keeps_versions = self.keeps_versions;
        let mut app = App::empty().with_http(CLIENT.clone());
        for (name, memory) in [(LEFT, &self.left), (RIGHT, &self.right)] {
            let memory = Arc::clone(memory);
            app = app.with(
                name,
                AdapterSpec {
                    keeps_versions,
                    ..memory.spec(4)
                },
            );
        }
        app.build(Preset::Test, &self.settings, &self.aws.config())
            .expect("a handler")
    }

    fn heal(&self) {
        self.left.heal();
        self.right.heal();
        self.aws.heal();
    }

    /// Drains the stream through the mapping, with invocations that are throttled and die. Returns
    /// the number of deaths besides.
    async fn drain(
        &self,
        stream: &Stream,
        mapping: &Mapping,
        faults: &InvocationFaults,
        random: fastrand::Rng,
    ) -> Result<(Report, u64), Broken> {
        let (started, random) = (Instant::now(), RefCell::new(random));
        let environment = RefCell::new(self.handler());
        let kills = Cell::new(0);
        let injects =
            |percent| started.elapsed() < faults.heals && random.borrow_mut().u32(..100) < percent;
        let function = async |invocation: Invocation| {
            if started.elapsed() >= faults.heals {
                self.heal();
            }
            if injects(faults.throttled) {
                return InvocationOutcome::Throttled;
            }
            let handler = environment.borrow().clone();
            let work = invocation.handle(&handler);
            if !injects(faults.killed) {
                return work.await;
            }
            let dies_after = Duration::from_millis(random.borrow_mut().u64(..3_000));
            timeout(dies_after, work).await.unwrap_or_else(|_| {
                kills.set(kills.get() + 1);
                environment.replace(self.handler());
                InvocationOutcome::Error
            })
        };
        let drained = timeout(Duration::from_hours(12), mapping.drain(stream, function)).await;
        let report = drained.map_err(|_| {
            vec![format!(
                "{NOT_DRAINED} in half a day, most of it without faults"
            )]
        })?;
        Ok((report, kills.get()))
    }

    fn no_protocol_violation(&self) -> Result<(), String> {
        no_protocol_violation(
            [
                self.left.violations(),
                self.right.violations(),
                self.aws.violations(),
            ]
            .concat(),
        )
    }

    fn numbers(&self, stream: &Stream, report: &Report, kills: u64) -> Numbers {
        let faults =
            self.left.injected_faults() + self.right.injected_faults() + self.aws.injected_faults();
        Numbers::of_one(stream, report, &self.aws, faults, kills)
    }
}

fn faults(random: &mut fastrand::Rng, variant: Variant) -> memory::Faults {
    let away = random.bool().then(|| {
        let from = random.u64(..60);
        (
            Duration::from_secs(from),
            Duration::from_secs(from + random.u64(1..900)),
        )
    });
    let away = if variant == Variant::UnavailableSystem {
        Some((Duration::ZERO, Duration::MAX))
    } else {
        away
    };
    let mut percent = |most: u32| random.u32(..=most);
    memory::Faults {
        lost: percent(20),
        throttled: percent(20),
        hanging: percent(3),
        stopped: percent(3),
        row: percent(15),
        short: percent(10),
        panic: percent(3),
        away,
        forgotten: if variant == Variant::ForgetfulSystem {
            20
        } else {
            0
        },
        falsely_rejected: if variant == Variant::RejectingSystem {
            5
        } else {
            0
        },
        is_petty: variant == Variant::NarrowSystem,
    }
}

fn mapping(random: &mut fastrand::Rng, variant: Variant) -> Mapping {
    Mapping {
        batch_size: random.usize(1..50),
        window: Duration::from_millis(random.u64(..3_000)),
        parallelization_factor: random.usize(1..=4),
        bisect: random.bool(),
        report_failures: variant != Variant::DeafMapping,
        // An unavailable system need not be tried seven hundred times.
        backoff: (
            Duration::from_millis(214),
            Duration::from_mins(if variant == Variant::UnavailableSystem {
                60
            } else {
                1
            }),
        ),
        max_retries: (variant == Variant::HastyMapping).then_some(0),
        lost_checkpoints: random.u32(..=10),
        seed: random.u64(..),
        broken: match variant {
            Variant::DroppedRedelivery => Some(kinesis::Broken::DropsRedelivery),
            Variant::SwappedOrder => Some(kinesis::Broken::SwapsOrder),
            _ => None,
        },
        ..Mapping::default()
    }
}

fn invocation_faults(random: &mut fastrand::Rng, variant: Variant) -> InvocationFaults {
    let heals = Duration::from_secs(random.u64(30..1800));
    InvocationFaults {
        killed: random.u32(..=20),
        throttled: random.u32(..=10),
        heals: if variant == Variant::UnavailableSystem {
            Duration::MAX
        } else {
            heals
        },
    }
}

/// Runs one schedule.
async fn run(seed: u64, variant: Variant) -> Result<Numbers, Broken> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let put = changes(&mut random);
    let stream = if let Variant::Falsified(rule) = variant {
        rule.stream(&put)
    } else {
        put.clone()
    };
    let world = World::new(&mut random, variant, "");
    let mapping = mapping(&mut random, variant);
    let faults = invocation_faults(&mut random, variant);
    let (report, kills) = world.drain(&stream, &mapping, &faults, random).await?;
    let expected = Expected::of(&put, &report);
    let dead_letters = world.aws.dead_letters();
    all_hold([
        nothing_lost(&report, &stream),
        expected.is_held(LEFT, &world.left.records()),
        expected.is_held(RIGHT, &world.right.records()),
        expected.dead_letters.none_extra(&dead_letters),
        expected.dead_letters.none_missing(&dead_letters),
        world.no_protocol_violation(),
    ])?;
    Ok(world.numbers(&stream, &report, kills))
}

/// Runs one schedule of versions, against a system that stores them.
async fn run_versions(seed: u64, guard: &str) -> Result<Numbers, Broken> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let scale = if seed.is_multiple_of(2) {
        "occurred_at"
    } else {
        "version"
    };
    let (stream, expected) = versions(&mut random, guard, scale);
    let document = format!("[guard]\nmode = \"{guard}\"\nversion = \"{scale}\"");
    let mut world = World::new(&mut random, Variant::Sound, &document);
    world.keeps_versions = true;
    let mapping = mapping(&mut random, Variant::Sound);
    let faults = invocation_faults(&mut random, Variant::Sound);
    let (report, kills) = world.drain(&stream, &mapping, &faults, random).await?;
    let held = same(LEFT, &world.left.records(), &expected);
    // In stream order a change that is not compared is redelivered over a newer one, until that is
    // redelivered, too.
    let ordered = match world.left.older_over_newer().first() {
        Some(older) if guard == "always" => Err(format!("{ORDER}: {older}")),
        _ => Ok(()),
    };
    all_hold([
        nothing_lost(&report, &stream),
        held,
        ordered,
        world.no_protocol_violation(),
    ])?;
    Ok(world.numbers(&stream, &report, kills))
}

/// Suppresses the backtraces of the systems' intended panics, thousands of which would hide a
/// failure.
fn without_backtraces() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info
                .payload_as_str()
                .is_some_and(|text| text.starts_with("a fault in the "))
            {
                before(info);
            }
        }));
    });
}

#[test]
fn faults_leave_both_systems_equal_to_the_changes_one_by_one() {
    without_backtraces();
    all("stopped time", 1000, |seed| {
        in_virtual_time(run(seed, Variant::Sound))
    });
}

// One test for each mode, so that each runs for its own minutes in `make soak`.
#[test]
fn faults_leave_no_older_version_over_a_newer_one_where_all_changes_are_compared() {
    without_backtraces();
    all("always guard", 150, |seed| {
        in_virtual_time(run_versions(seed, "always"))
    });
}

#[test]
fn faults_leave_no_older_version_over_a_newer_one_where_replays_are_compared() {
    without_backtraces();
    all("replays guard", 150, |seed| {
        in_virtual_time(run_versions(seed, "replays"))
    });
}

#[test]
fn each_broken_variant_is_detected_by_its_law() {
    without_backtraces();
    for (variant, law) in [
        (Variant::ForgetfulSystem, HELD),
        (Variant::RejectingSystem, DEAD_LETTER_EXTRA),
        (Variant::NarrowSystem, PROTOCOL_VIOLATION),
        (Variant::ForgetfulQueue, DEAD_LETTER_MISSING),
        (Variant::HastyMapping, LOST),
        (Variant::DeafMapping, HELD),
        (Variant::DroppedRedelivery, LOST),
        (Variant::SwappedOrder, HELD),
        (Variant::Falsified(Falsified::Versions), HELD),
        (Variant::Falsified(Falsified::Attributes), HELD),
        (Variant::Falsified(Falsified::UntypedDeletes), HELD),
        (Variant::Falsified(Falsified::Identities), HELD),
    ] {
        let found = count(law, (0..20).map(|seed| in_virtual_time(run(seed, variant))));
        assert!(
            found >= 5,
            "{variant:?}: detected by `{law}` {found} times of 20"
        );
    }
    // A long run, in which no other law can be checked.
    assert_eq!(
        count(
            NOT_DRAINED,
            (0..2).map(|seed| in_virtual_time(run(seed, Variant::UnavailableSystem)))
        ),
        2
    );
    let found = count(
        HELD,
        (0..30).map(|seed| in_virtual_time(run_versions(seed, "off"))),
    );
    assert!(found >= 10, "without the guard: {found} of 30");
}
