//! Thousands of schedules in stopped time: the handler, the simulated mapping, two systems in
//! memory, a queue and a table without a socket.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::AdapterSpec;
use contact_sync::factory::Factory;
use contact_sync::handler::Handler;
use contact_sync::settings::{Layer, Preset, Settings, load};
use testkit::harness::{CLIENT, in_virtual_time};
use testkit::kinesis::{self, Ended, Invocation, Mapping, Report, Stream};
use testkit::memory::{self, Memory};
use testkit::mock_aws::{self, MockAws};
use tokio::time::{Instant, timeout};

use super::falsified::Falsified;
use super::laws::{
    Broken, HELD, LETTER_MISSING, LETTER_TOO_MANY, LOST, MISTAKE, NOT_DRAINED, ORDER, all_hold,
    count, no_mistake, nothing_lost, same,
};
use super::numbers::{Numbers, all};
use super::streams::{Expected, LEFT, RIGHT, ROUTES, changes, versions};

/// What is broken on purpose, so that the laws can be seen to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Sound,
    /// A system acknowledges what it does not write.
    ForgetfulSystem,
    /// A system refuses for good what is good.
    SlanderousSystem,
    /// A system whose limits are narrower than the adapter says.
    PettySystem,
    /// The queue acknowledges dead letters that it does not store.
    ForgetfulQueue,
    /// A system that is away for good.
    LostSystem,
    /// The mapping gives a batch up when it has failed once.
    HastyMapping,
    /// The mapping does not listen to the reported failures.
    DeafMapping,
    /// The mapping delivers nothing again.
    DroppedRedelivery,
    /// The mapping delivers batches from the end to the beginning.
    SwappedOrder,
    /// A rule of the contract is not kept.
    Falsified(Falsified),
}

struct World {
    left: Arc<Memory>,
    right: Arc<Memory>,
    aws: Arc<MockAws>,
    settings: Settings,
    keeps_versions: bool,
}

/// What happens to invocations, in percent.
struct Trouble {
    killed: u32,
    throttled: u32,
    /// Everything is well from then on.
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

    /// A new environment of the function: it remembers nothing.
    fn handler(&self) -> Handler {
        let keeps_versions = self.keeps_versions;
        let mut factory = Factory::empty().with_http(CLIENT.clone());
        for (name, memory) in [(LEFT, &self.left), (RIGHT, &self.right)] {
            let memory = Arc::clone(memory);
            factory = factory.with(name, move |_, _| AdapterSpec {
                keeps_versions,
                ..memory.spec(4)
            });
        }
        factory
            .build(Preset::Test, &self.settings, &self.aws.config())
            .expect("a handler")
    }

    fn heal(&self) {
        self.left.heal();
        self.right.heal();
        self.aws.heal();
    }

    /// Brings the stream through the mapping, with invocations that are throttled and die. Gives
    /// the kills besides.
    async fn drain(
        &self,
        stream: &Stream,
        mapping: &Mapping,
        trouble: &Trouble,
        random: fastrand::Rng,
    ) -> Result<(Report, u64), Broken> {
        let (started, random) = (Instant::now(), RefCell::new(random));
        let environment = RefCell::new(self.handler());
        let kills = Cell::new(0);
        let strikes =
            |percent| started.elapsed() < trouble.heals && random.borrow_mut().u32(..100) < percent;
        let function = async |invocation: Invocation| {
            if started.elapsed() >= trouble.heals {
                self.heal();
            }
            if strikes(trouble.throttled) {
                return Ended::Throttled;
            }
            let handler = environment.borrow().clone();
            let work = invocation.handle(&handler);
            if !strikes(trouble.killed) {
                return work.await;
            }
            let dies_after = Duration::from_millis(random.borrow_mut().u64(..3_000));
            timeout(dies_after, work).await.unwrap_or_else(|_| {
                kills.set(kills.get() + 1);
                environment.replace(self.handler());
                Ended::Error
            })
        };
        let drained = timeout(Duration::from_hours(12), mapping.drain(stream, function)).await;
        let report = drained.map_err(|_| {
            vec![format!(
                "{NOT_DRAINED} in half a day, most of it without a fault"
            )]
        })?;
        Ok((report, kills.get()))
    }

    fn mistakes(&self) -> Result<(), String> {
        no_mistake(
            [
                self.left.mistakes(),
                self.right.mistakes(),
                self.aws.mistakes(),
            ]
            .concat(),
        )
    }

    fn numbers(&self, stream: &Stream, report: &Report, kills: u64) -> Numbers {
        let faults = self.left.struck() + self.right.struck() + self.aws.struck();
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
    let away = if variant == Variant::LostSystem {
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
        slandered: if variant == Variant::SlanderousSystem {
            5
        } else {
            0
        },
        is_petty: variant == Variant::PettySystem,
    }
}

fn mapping(random: &mut fastrand::Rng, variant: Variant) -> Mapping {
    Mapping {
        batch_size: random.usize(1..50),
        window: Duration::from_millis(random.u64(..3_000)),
        parallelization_factor: random.usize(1..=4),
        bisect: random.bool(),
        report_failures: variant != Variant::DeafMapping,
        // What never comes back need not be tried seven hundred times.
        backoff: (
            Duration::from_millis(214),
            Duration::from_mins(if variant == Variant::LostSystem {
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

fn trouble(random: &mut fastrand::Rng, variant: Variant) -> Trouble {
    let heals = Duration::from_secs(random.u64(30..1800));
    Trouble {
        killed: random.u32(..=20),
        throttled: random.u32(..=10),
        heals: if variant == Variant::LostSystem {
            Duration::MAX
        } else {
            heals
        },
    }
}

/// One schedule to its end.
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
    let (mapping, trouble) = (mapping(&mut random, variant), trouble(&mut random, variant));
    let (report, kills) = world.drain(&stream, &mapping, &trouble, random).await?;
    let expected = Expected::of(&put, &report);
    let letters = world.aws.letters();
    all_hold([
        nothing_lost(&report, &stream),
        expected.is_held(LEFT, &world.left.records()),
        expected.is_held(RIGHT, &world.right.records()),
        expected.letters.none_too_many(&letters),
        expected.letters.none_missing(&letters),
        world.mistakes(),
    ])?;
    Ok(world.numbers(&stream, &report, kills))
}

/// The same of versions, to a system that keeps them.
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
    let (mapping, trouble) = (
        mapping(&mut random, Variant::Sound),
        trouble(&mut random, Variant::Sound),
    );
    let (report, kills) = world.drain(&stream, &mapping, &trouble, random).await?;
    let held = same(LEFT, &world.left.records(), &expected);
    // In stream order a change that is not compared comes again over a newer one, until that comes
    // again, too.
    let older = world
        .left
        .older_over_newer()
        .into_iter()
        .filter(|_| guard == "always");
    let ordered = older
        .map(|older| format!("{ORDER}: {older}"))
        .next()
        .map_or(Ok(()), Err);
    all_hold([
        nothing_lost(&report, &stream),
        held,
        ordered,
        world.mistakes(),
    ])?;
    Ok(world.numbers(&stream, &report, kills))
}

/// The panics of the systems are wanted: thousands of backtraces would only hide a failure.
fn without_backtraces() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info
                .payload_as_str()
                .is_some_and(|text| text.starts_with("a fault in the "))
            {
                tell(info);
            }
        }));
    });
}

#[test]
fn whatever_goes_wrong_both_systems_end_equal_to_the_changes_one_by_one() {
    without_backtraces();
    all("stopped time", 1000, |seed| {
        in_virtual_time(run(seed, Variant::Sound))
    });
}

// One test each, so that `make soak` takes its minutes once.
#[test]
fn whatever_goes_wrong_no_older_version_is_left_over_a_newer_one_where_all_are_compared() {
    without_backtraces();
    all("always guard", 150, |seed| {
        in_virtual_time(run_versions(seed, "always"))
    });
}

#[test]
fn whatever_goes_wrong_no_older_version_is_left_over_a_newer_one_where_replays_are_compared() {
    without_backtraces();
    all("replays guard", 150, |seed| {
        in_virtual_time(run_versions(seed, "replays"))
    });
}

#[test]
fn what_is_broken_is_found_out_by_the_law_that_it_breaks() {
    without_backtraces();
    for (variant, law) in [
        (Variant::ForgetfulSystem, HELD),
        (Variant::SlanderousSystem, LETTER_TOO_MANY),
        (Variant::PettySystem, MISTAKE),
        (Variant::ForgetfulQueue, LETTER_MISSING),
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
            "{variant:?}: found by `{law}` {found} times of 20"
        );
    }
    // A long time, in which nothing else can be seen.
    assert_eq!(
        count(
            NOT_DRAINED,
            (0..2).map(|seed| in_virtual_time(run(seed, Variant::LostSystem)))
        ),
        2
    );
    let found = count(
        HELD,
        (0..30).map(|seed| in_virtual_time(run_versions(seed, "off"))),
    );
    assert!(found >= 10, "without the guard: {found} of 30");
}
