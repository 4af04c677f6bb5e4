//! Tests of the limiter in virtual time: one environment without a table, and several that share a
//! table in memory.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::time::sleep_until;

use super::lease::{LeaseRequest, Leased, Leases, Micros, Schedule, Step, micros};
use super::*;

const MILLI: Duration = Duration::from_millis(1);
const FAR: Duration = Duration::from_hours(24);

/// Item of the state table, accessed by one environment with its own clock and latency.
#[derive(Debug)]
pub(super) struct MemoryTable {
    item: Arc<Item>,
    started: Instant,
    /// Advance of this environment's clock.
    ahead: Micros,
    latency: Duration,
}

#[derive(Debug, Default)]
struct Item {
    next: Mutex<Option<Micros>>,
    leases: Mutex<Vec<(Micros, Micros)>>,
    is_silent: std::sync::atomic::AtomicBool,
}

impl Item {
    fn set_silent(&self, is_silent: bool) {
        self.is_silent
            .store(is_silent, std::sync::atomic::Ordering::Relaxed);
    }
}

impl MemoryTable {
    /// Leases a block, as [`LeaseTable`] does by conditional writes.
    pub(super) async fn lease(&self, request: LeaseRequest) -> Result<Leased, LeaseError> {
        sleep_until(Instant::now() + self.latency).await;
        if self
            .item
            .is_silent
            .load(std::sync::atomic::Ordering::Relaxed)
        {
            std::future::pending::<()>().await;
        }
        let mut next = self.item.next.lock().expect("sound");
        let first = next
            .filter(|next| *next >= request.oldest)
            .unwrap_or(request.start_after_pause);
        if first > request.latest {
            return Ok(Leased::TooLate(first));
        }
        *next = Some(first + request.length());
        self.item
            .leases
            .lock()
            .expect("sound")
            .push((first, first + request.length()));
        Ok(Leased::From(first))
    }

    pub(super) fn now(&self) -> Micros {
        1_700_000_000_000_000 + micros(self.started.elapsed()) + self.ahead
    }
}

fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Returns the most calls in any time window of the length `window`.
fn fullest(arrivals: &mut [Duration], window: Duration) -> usize {
    arrivals.sort_unstable();
    let inside = |at: usize| {
        arrivals[at..]
            .iter()
            .take_while(|time| **time < arrivals[at] + window)
            .count()
    };
    (0..arrivals.len()).map(inside).max().unwrap_or(0)
}

/// Returns the cost of a call that others follow.
fn cost(requests: u32) -> RequestCost {
    RequestCost {
        requests,
        total: u32::MAX,
    }
}

/// Environments that share a budget.
struct Fleet {
    budget: RateLimit,
    item: Arc<Item>,
    limiters: Vec<RateLimiter>,
    started: Instant,
    arrivals: Mutex<Vec<Duration>>,
    /// Whether the destination reports the calls left in its window.
    reports: bool,
}

impl Fleet {
    /// Creates environments, each with its clock's advance and its latency to the table.
    fn new(budget: RateLimit, share: u32, environments: &[(Micros, Duration)]) -> Self {
        let (item, started) = (Arc::new(Item::default()), Instant::now());
        let mut limiters = Vec::new();
        for (ahead, latency) in environments {
            let table = MemoryTable {
                item: Arc::clone(&item),
                started,
                ahead: *ahead,
                latency: *latency,
            };
            let limiter = RateLimiter::new(budget, share);
            limiter.share(Table::Memory(table));
            limiters.push(limiter);
        }
        Self {
            budget,
            item,
            limiters,
            started,
            arrivals: Mutex::default(),
            reports: true,
        }
    }

    /// Creates environments as [`Self::new`], and another one that the table does not answer.
    fn with_disconnected(
        budget: RateLimit,
        share: u32,
        environments: &[(Micros, Duration)],
    ) -> Self {
        let mut fleet = Self::new(budget, share, environments);
        let item = Arc::new(Item {
            is_silent: true.into(),
            ..Item::default()
        });
        let limiter = RateLimiter::new(budget, share);
        limiter.share(Table::Memory(MemoryTable {
            item,
            started: fleet.started,
            ahead: 0,
            latency: MILLI,
        }));
        fleet.limiters.push(limiter);
        fleet
    }

    /// Returns the account's limits that the destination reports in its answers.
    fn quota(&self) -> Quota {
        let window = Duration::from_millis(self.budget.per_ms);
        let since = self.started.elapsed().saturating_sub(window);
        let all = self.arrivals.lock().expect("sound");
        let used = all.iter().rev().take(200).filter(|at| **at > since).count();
        let left = self
            .budget
            .requests
            .saturating_sub(u32::try_from(used).expect("few"));
        let window = Some((self.budget.requests, window));
        if self.reports {
            Quota {
                window,
                window_remaining: Some(left),
                ..Quota::default()
            }
        } else {
            Quota::default()
        }
    }

    /// Runs one worker of one environment until `end`. It makes calls of `requests`, one after the
    /// other with a pause of `rest`. Each request takes `latency`, and arrives after `delay`.
    async fn work(&self, environment: usize, end: Duration, mut next: impl FnMut() -> Load) {
        let metrics = DestinationMetrics::default();
        loop {
            let Load {
                requests,
                delay,
                latency,
                rest,
            } = next();
            sleep_until(Instant::now() + rest).await;
            let limiter = &self.limiters[environment];
            for left in (1..=requests).rev() {
                let Some(reservation) = limiter
                    .acquire(cost(left), self.started + end, &metrics)
                    .await
                else {
                    return;
                };
                let sent = Instant::now();
                self.arrivals
                    .lock()
                    .expect("sound")
                    .push(sent - self.started + delay);
                sleep_until(sent + latency.max(delay)).await;
                drop(reservation);
                limiter.learn(self.quota(), sent);
            }
        }
    }
}

struct Load {
    requests: u32,
    delay: Duration,
    latency: Duration,
    rest: Duration,
}

/// Returns a random delay, which is ten times as long in one of ten cases.
fn random_delay(random: &mut fastrand::Rng, window: Duration) -> Duration {
    let part = random.f64();
    let most = if random.u32(..10) == 0 { 0.2 } else { 0.02 };
    window.mul_f64(part * most)
}

fn steady(latency: u64) -> Load {
    Load {
        requests: 1,
        delay: MILLI * 2,
        latency: MILLI * u32::try_from(latency).expect("short"),
        rest: Duration::ZERO,
    }
}

const HUBSPOT: RateLimit = RateLimit {
    requests: 100,
    per_ms: 10_000,
};

#[test]
fn an_environment_without_a_table_uses_more_than_nine_tenths_of_its_share() {
    in_virtual_time(async {
        let limiter = RateLimiter::new(HUBSPOT, 4);
        let (start, metrics) = (Instant::now(), DestinationMetrics::default());
        for _ in 0..250 {
            let reservation = limiter
                .acquire(cost(1), start + FAR, &metrics)
                .await
                .expect("in time");
            sleep_until(Instant::now() + MILLI * 300).await;
            drop(reservation);
        }
        // 250 calls fill ten windows. The calls of the first window do not wait.
        assert!(
            (90..=111).contains(&start.elapsed().as_secs()),
            "{:?} for 250 calls",
            start.elapsed()
        );
    });
}

#[test]
fn four_environments_use_more_than_nine_tenths_of_the_budget_by_about_a_write_a_second_each() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5); 4]);
        let end = Duration::from_mins(2);
        let mut random = fastrand::Rng::with_seed(7);
        let worker = |environment| {
            let mut random = random.fork();
            fleet.work(environment, end, move || steady(random.u64(150..900)))
        };
        futures_util::future::join_all((0..16).map(|at| at % 4).map(worker)).await;
        let mut arrivals = fleet.arrivals.into_inner().expect("sound");
        let used = arrivals.len() * 100 / (12 * 100);
        assert!((90..=100).contains(&used), "{used} % of the budget");
        assert!(fullest(&mut arrivals, Duration::from_secs(10)) <= 100);
        let writes = fleet.item.leases.lock().expect("sound").len();
        assert!(
            (4 * 60..=4 * 150).contains(&writes),
            "{writes} writes of 4 environments in 120 s"
        );
    });
}

#[test]
fn a_busy_environment_may_use_the_shares_of_idle_ones() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        let end = Duration::from_mins(2);
        futures_util::future::join_all((0..4).map(|_| fleet.work(0, end, || steady(250)))).await;
        let calls = fleet.arrivals.lock().expect("sound").len();
        assert!((1080..=1200).contains(&calls), "{calls} of 1200 calls");
        let writes = fleet.item.leases.lock().expect("sound").len();
        assert!((110..=140).contains(&writes), "{writes} writes in 120 s");
    });
}

#[test]
fn the_first_calls_after_a_pause_do_not_wait_for_slots_that_are_past_and_valid() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        let metrics = DestinationMetrics::default();
        for _ in 0..3 {
            sleep_until(Instant::now() + Duration::from_secs(5)).await;
            let pause = Instant::now();
            let mut waits = Vec::new();
            for _ in 0..5 {
                let limiter = &fleet.limiters[0];
                let permit = limiter.acquire(cost(1), pause + FAR, &metrics).await;
                drop(permit.expect("in time"));
                waits.push(pause.elapsed());
            }
            assert!(waits[2] <= MILLI * 15, "three slots were past: {waits:?}");
            let period = Duration::from_micros(Schedule::of(HUBSPOT.into()).period);
            assert!(waits[4] > waits[2] + period, "the others wait: {waits:?}");
        }
    });
}

#[test]
fn an_unavailable_table_delays_little_and_leaves_each_environment_its_share() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5); 4]);
        let outage = async {
            for is_silent in [true, false, true, false] {
                fleet.item.set_silent(is_silent);
                sleep_until(Instant::now() + Duration::from_secs(33)).await;
            }
        };
        let end = Duration::from_secs(132);
        let workers = futures_util::future::join_all(
            (0..16).map(|at| fleet.work(at % 4, end, || steady(250))),
        );
        tokio::join!(outage, workers);
        let mut arrivals = fleet.arrivals.into_inner().expect("sound");
        assert!(
            arrivals[0] < Duration::from_millis(500),
            "the first call waited {:?}",
            arrivals[0]
        );
        assert!(fullest(&mut arrivals, Duration::from_secs(10)) <= 100);
        let used = arrivals.len() * 100 / 1320;
        assert!((75..=100).contains(&used), "{used} % of the budget");
    });
}

/// Returns the calls of the fullest window of two environments, one of which the table does not
/// answer.
fn fullest_with_one_disconnected(reports: bool) -> usize {
    in_virtual_time(async {
        let mut fleet = Fleet::with_disconnected(HUBSPOT, 2, &[(0, MILLI * 5)]);
        fleet.reports = reports;
        let end = Duration::from_mins(2);
        // The environment without leases starts while the other one is busy.
        let worker = |at: u32| {
            let mut is_first = true;
            fleet.work(at as usize % 2, end, move || {
                let rest = if is_first && at % 2 == 1 {
                    Duration::from_secs(15)
                } else {
                    Duration::ZERO
                };
                is_first = false;
                Load {
                    rest,
                    ..steady(u64::from(170 + 40 * at))
                }
            })
        };
        futures_util::future::join_all((0..8).map(worker)).await;
        fullest(
            &mut fleet.arrivals.into_inner().expect("sound"),
            Duration::from_secs(10),
        )
    })
}

#[test]
fn an_environment_that_the_table_does_not_answer_adds_at_most_its_share() {
    let fullest = fullest_with_one_disconnected(false);
    assert!(
        (130..=150).contains(&fullest),
        "{fullest} calls in a window of 100, and a share of 50"
    );
}

#[test]
fn an_environment_that_the_table_does_not_answer_respects_the_reported_calls_left() {
    let fullest = fullest_with_one_disconnected(true);
    assert!(
        (95..=100).contains(&fullest),
        "{fullest} calls in a window of 100"
    );
}

/// Returns the calls of the fullest window, and all calls, of two environments that pause at random
/// times. The table does not answer one of them. The destination reports the calls left.
fn fullest_with_pauses(seed: u64) -> (usize, usize) {
    in_virtual_time(async {
        let fleet = Fleet::with_disconnected(HUBSPOT, 2, &[(0, MILLI * 5)]);
        let mut random = fastrand::Rng::with_seed(seed);
        let worker = |at: usize| {
            let mut random = random.fork();
            fleet.work(at % 2, Duration::from_mins(2), move || {
                let rest = if random.u32(..40) == 0 {
                    Duration::from_secs(4).mul_f64(random.f64())
                } else {
                    Duration::ZERO
                };
                Load {
                    rest,
                    ..steady(random.u64(20..60))
                }
            })
        };
        futures_util::future::join_all((0..8).map(worker)).await;
        let mut arrivals = fleet.arrivals.into_inner().expect("sound");
        let made = arrivals.len();
        (fullest(&mut arrivals, Duration::from_secs(10)), made)
    })
}

#[test]
fn an_environment_with_leases_leaves_the_calls_of_one_without_their_place_in_the_window() {
    for seed in 0..20 {
        let (fullest, made) = fullest_with_pauses(seed);
        assert!(
            fullest <= 100,
            "seed {seed}: {fullest} calls in a window of 100"
        );
        assert!(
            made >= 1000,
            "seed {seed}: {made} calls in 12 windows of 100"
        );
    }
}

#[test]
fn a_short_outage_of_the_table_leaves_the_budget_shared() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        fleet.item.set_silent(true);
        let outage = async {
            sleep_until(Instant::now() + MILLI * 250).await;
            fleet.item.set_silent(false);
        };
        let metrics = DestinationMetrics::default();
        let (reservation, ()) = tokio::join!(
            fleet.limiters[0].acquire(cost(1), fleet.started + FAR, &metrics),
            outage
        );
        assert!(!reservation.expect("in time").is_unshared);
        assert!(
            fleet.started.elapsed() < MILLI * 350,
            "{:?}",
            fleet.started.elapsed()
        );
    });
}

#[test]
fn slots_are_leased_up_to_the_known_total_cost() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        let metrics = DestinationMetrics::default();
        for total in (1..=40).rev() {
            let cost = RequestCost { requests: 1, total };
            drop(
                fleet.limiters[0]
                    .acquire(cost, fleet.started + FAR, &metrics)
                    .await
                    .expect("in time"),
            );
        }
        let leases = fleet.item.leases.lock().expect("sound").clone();
        let slots: u64 = leases
            .iter()
            .map(|(from, to)| (to - from) / Schedule::of(HUBSPOT.into()).period)
            .sum();
        assert_eq!(slots, 40, "{leases:?}");
    });
}

#[test]
fn an_implausible_queue_is_ignored() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI)]);
        let an_hour = micros(Duration::from_hours(1));
        *fleet.item.next.lock().expect("sound") = Some(1_700_000_000_000_000 + an_hour);
        let metrics = DestinationMetrics::default();
        assert!(
            fleet.limiters[0]
                .acquire(cost(1), fleet.started + Duration::from_mins(2), &metrics)
                .await
                .is_some()
        );
        *fleet.item.next.lock().expect("sound") = Some(1_700_000_000_000_000 + an_hour / 100);
        sleep_until(Instant::now() + Duration::from_secs(6)).await;
        assert!(
            fleet.limiters[0]
                .acquire(cost(1), fleet.started + Duration::from_secs(20), &metrics)
                .await
                .is_none()
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_too_late_is_not_started() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 1,
            per_ms: 1000,
        },
        1,
    );
    let (start, metrics) = (Instant::now(), DestinationMetrics::default());
    drop(
        limiter
            .acquire(cost(1), start, &metrics)
            .await
            .expect("available"),
    );
    assert!(
        limiter
            .acquire(cost(1), start + MILLI * 500, &metrics)
            .await
            .is_none()
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    limiter.pause(Duration::from_secs(7));
    assert!(
        limiter
            .acquire(cost(1), start + Duration::from_mins(1), &metrics)
            .await
            .is_some()
    );
    assert!(start.elapsed() >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn reservations_that_are_given_back_are_available_at_once() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 2,
            per_ms: 1000,
        },
        1,
    );
    let (start, metrics) = (Instant::now(), DestinationMetrics::default());
    for _ in 0..10 {
        limiter
            .acquire(cost(1), start, &metrics)
            .await
            .expect("available")
            .give_back();
    }
    for _ in 0..2 {
        drop(
            limiter
                .acquire(cost(1), start, &metrics)
                .await
                .expect("available"),
        );
    }
    assert!(limiter.acquire(cost(1), start, &metrics).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn reported_limits_lower_the_rate_and_a_new_budget_keeps_earlier_calls() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 100,
            per_ms: 1000,
        },
        1,
    );
    let (start, metrics) = (Instant::now(), DestinationMetrics::default());
    let take = async |limiter: &RateLimiter| {
        drop(
            limiter
                .acquire(cost(1), start + FAR, &metrics)
                .await
                .expect("in time"),
        );
    };
    limiter.learn(
        Quota {
            window: Some((2, MILLI * 1000)),
            ..Quota::default()
        },
        start,
    );
    for _ in 0..4 {
        take(&limiter).await;
    }
    assert_eq!(
        start.elapsed(),
        MILLI * 1000,
        "the account has two a second"
    );
    limiter.learn(
        Quota {
            daily_used: Some(95),
            daily_max: Some(100),
            ..Quota::default()
        },
        start,
    );
    limiter.learn(Quota::default(), start);
    for _ in 0..48 {
        take(&limiter).await;
    }
    assert_eq!(
        start.elapsed(),
        MILLI * 1000,
        "50 calls are half of the budget"
    );
    assert!(
        limiter
            .acquire(cost(1), Instant::now(), &metrics)
            .await
            .is_none(),
        "the other half is not used"
    );
    limiter.learn(
        Quota {
            daily_used: Some(5),
            daily_max: Some(100),
            ..Quota::default()
        },
        start,
    );
    limiter.set_budget(
        RateLimit {
            requests: 12,
            per_ms: 5000,
        },
        1,
    );
    take(&limiter).await;
    assert_eq!(
        start.elapsed(),
        MILLI * 6000,
        "the calls of the last window count"
    );
}

#[tokio::test(start_paused = true)]
async fn a_window_and_a_pause_elapse_while_the_environment_is_frozen() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 1,
            per_ms: 86_400_000,
        },
        1,
    );
    let (start, metrics) = (Instant::now(), DestinationMetrics::default());
    drop(
        limiter
            .acquire(cost(1), start, &metrics)
            .await
            .expect("available"),
    );
    clock::freeze(FAR / 2);
    assert!(limiter.acquire(cost(1), start, &metrics).await.is_none());
    clock::freeze(FAR / 2);
    drop(
        limiter
            .acquire(cost(1), start, &metrics)
            .await
            .expect("a day has passed"),
    );
    limiter.pause(FAR * 2);
    clock::freeze(FAR * 2);
    drop(
        limiter
            .acquire(cost(1), start, &metrics)
            .await
            .expect("two days have passed"),
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "no call waited");
}

#[test]
fn slots_from_before_the_clock_was_set_back_are_dropped() {
    let schedule = Schedule::of(HUBSPOT.into());
    let (now, second) = (1_700_000_000_000_000, 1_000_000);
    let mut leases = Leases::default();
    leases.add(now, 5, schedule.period, now);
    assert_eq!(leases.take(1, schedule, now, now + second), Step::At(now));
    let set_back = now - 3_600 * second;
    assert_eq!(
        leases.take(1, schedule, set_back, set_back + second),
        Step::Lease(1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Holds for any behaviour of the environments: bursts and pauses, freezes with leased slots,
    /// unused leases, stalls of the whole machine, different clocks and slow networks within the
    /// bounds of [`lease`], and pairs of requests. A budget has at least as many calls as there are
    /// environments: with fewer, those that the table does not answer exceed it.
    #[test]
    fn no_window_of_the_fleet_has_more_than_the_budget(
        seed: u64, requests in 4_u32..120, per_ms in 500_u64..12_000, count in 1_usize..=4,
    ) {
        let mut arrivals = in_virtual_time(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let window = Duration::from_millis(per_ms);
            // Clocks and network share the third of the twentieth that the grace leaves.
            let clocks = micros(window) / 120;
            let network = u64::try_from(window.as_micros() / 120).expect("fits");
            let mut environment =
                || (random.u64(0..=clocks), Duration::from_millis(random.u64(1..80)));
            let environments: Vec<_> = (0..count).map(|_| environment()).collect();
            let fleet = Fleet::new(RateLimit { requests, per_ms }, 4, &environments);
            let end = window * 6;
            let worker = |environment| {
                let mut random = random.fork();
                fleet.work(environment, end, move || {
                    let requests = if random.u32(..8) == 0 { 2 } else { 1 };
                    let delay = Duration::from_micros(random.u64(0..=network));
                    let slowness = random.f64();
                    let most = if random.u32(..10) == 0 { 1.5 } else { 0.05 };
                    let is_resting = random.u32(..10) == 0;
                    let rest = if is_resting { random.f64() * 2.0 } else { 0.0 };
                    Load {
                        requests,
                        delay,
                        latency: window.mul_f64(slowness * most),
                        rest: window.mul_f64(rest),
                    }
                })
            };
            let environments = (0..count * 4).map(|at| at % count);
            let workers = futures_util::future::join_all(environments.map(worker));
            let mut stalls = random.clone();
            let machine = async {
                loop {
                    sleep_until(Instant::now() + window.mul_f64(stalls.f64())).await;
                    tokio::time::advance(window.mul_f64(stalls.f64() * 0.1)).await;
                }
            };
            tokio::select! {
                _ = workers => {}
                () = machine => {}
            }
            fleet.arrivals.into_inner().expect("sound")
        });
        prop_assert!(!arrivals.is_empty());
        let allowed = requests as usize;
        let most = fullest(&mut arrivals, Duration::from_millis(per_ms));
        prop_assert!(most <= allowed, "{most} calls in a window of {allowed}");
    }

    #[test]
    fn no_window_of_one_environment_has_more_than_its_share(
        seed: u64, requests in 1_u32..60, per_ms in 100_u64..20_000, share in 1_u32..6,
    ) {
        let budget = Budget::from(RateLimit { requests, per_ms }).divided(share);
        let mut arrivals = in_virtual_time(async {
            let limit = RateLimit { requests, per_ms };
            let mut fleet = Fleet::new(limit, share, &[]);
            fleet.limiters.push(RateLimiter::new(limit, share));
            let mut random = fastrand::Rng::with_seed(seed);
            let worker = |_| {
                let mut random = random.fork();
                fleet.work(0, budget.window * 5, move || {
                    let latency = budget.window.mul_f64(random.f64() * 0.4);
                    let delay = latency.mul_f64(random.f64());
                    Load { requests: 1, delay, latency, rest: Duration::ZERO }
                })
            };
            futures_util::future::join_all((0..4).map(worker)).await;
            fleet.arrivals.into_inner().expect("sound")
        });
        let most = fullest(&mut arrivals, budget.window);
        prop_assert!(most <= budget.calls as usize, "{most} calls in a window of {budget:?}");
    }

    /// Holds for any use of the window before the process starts, and for any order of requests and
    /// answers.
    #[test]
    fn the_reported_calls_left_are_never_exceeded(
        seed: u64, most in 8_u32..60, per_ms in 200_u64..5_000, used in 0_usize..=100,
        workers in 1_usize..=4,
    ) {
        let (window, most_calls) = (Duration::from_millis(per_ms), most as usize);
        let (arrivals, exceeded) = in_virtual_time(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let limiter = RateLimiter::new(RateLimit { requests: most * 2, per_ms }, 1);
            let (started, metrics) = (Instant::now(), DestinationMetrics::default());
            // Before the first report the calls left are unknown: as many as are in flight at once
            // remain available.
            let mut others = Vec::new();
            for _ in 0..(most_calls - workers) * used / 100 {
                others.push(started + window.mul_f64(random.f64()));
            }
            let (arrivals, exceeded) = (Mutex::new(others), Mutex::new(0));
            let begin = started + window;
            let work = |_| {
                let mut random = random.fork();
                let (limiter, metrics) = (&limiter, &metrics);
                let (arrivals, exceeded) = (&arrivals, &exceeded);
                async move {
                    sleep_until(begin).await;
                    let end = begin + window * 4;
                    while let Some(reservation) = limiter.acquire(cost(1), end, metrics).await {
                        let sent = Instant::now();
                        sleep_until(sent + random_delay(&mut random, window)).await;
                        let now = Instant::now();
                        let left = {
                            let mut arrivals = arrivals.lock().expect("sound");
                            let taken = arrivals.iter().filter(|at| **at + window > now).count();
                            *exceeded.lock().expect("sound") += usize::from(taken >= most_calls);
                            arrivals.push(now);
                            u32::try_from(most_calls.saturating_sub(taken + 1)).expect("few")
                        };
                        sleep_until(now + random_delay(&mut random, window)).await;
                        drop(reservation);
                        let quota = Quota {
                            window: Some((most, window)),
                            window_remaining: Some(left),
                            ..Quota::default()
                        };
                        limiter.learn(quota, sent);
                    }
                }
            };
            futures_util::future::join_all((0..workers).map(work)).await;
            (arrivals.into_inner().expect("sound").len(), exceeded.into_inner().expect("sound"))
        });
        prop_assert_eq!(exceeded, 0, "calls beyond those left, of {}", arrivals);
        prop_assert!(arrivals >= most_calls, "{arrivals} calls in four windows of {most_calls}");
    }

    #[test]
    fn the_slots_of_a_window_and_its_delays_fit_into_the_budget(
        requests in 2_u32..10_000, per_ms in 100_u64..600_000,
    ) {
        let budget = Budget::from(RateLimit { requests, per_ms });
        let Schedule { period, grace } = Schedule::of(budget);
        let late = grace + micros(budget.window) / 60;
        prop_assert!((micros(budget.window) + late).div_ceil(period) <= u64::from(requests));
    }
}
