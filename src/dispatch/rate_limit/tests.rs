//! The limiter in virtual time: alone, and several environments with one table in memory.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::time::sleep_until;

use super::lease::{LeaseRequest, Leased, Leases, Micros, Schedule, Step, micros};
use super::*;

const MILLI: Duration = Duration::from_millis(1);
const FAR: Duration = Duration::from_hours(24);

/// The item of the state table, as one environment sees it: through its own clock and network.
#[derive(Debug)]
pub(super) struct MemoryTable {
    item: Arc<Item>,
    started: Instant,
    /// How far this environment's clock is ahead.
    ahead: Micros,
    latency: Duration,
}

#[derive(Debug, Default)]
struct Item {
    next: Mutex<Option<Micros>>,
    leases: Mutex<Vec<(Micros, Micros)>>,
    is_silent: std::sync::atomic::AtomicBool,
}

impl MemoryTable {
    /// What [`LeaseTable`] does by conditional writes.
    pub(super) async fn lease(&self, ask: LeaseRequest) -> Result<Leased, LeaseError> {
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
            .filter(|next| *next >= ask.oldest)
            .unwrap_or(ask.earliest);
        if first > ask.latest {
            return Ok(Leased::TooLate(first));
        }
        *next = Some(first + ask.length());
        self.item
            .leases
            .lock()
            .expect("sound")
            .push((first, first + ask.length()));
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

/// The most calls in any stretch of the length `window`.
fn busiest(arrivals: &mut [Duration], window: Duration) -> usize {
    arrivals.sort_unstable();
    let inside = |at: usize| {
        arrivals[at..]
            .iter()
            .take_while(|time| **time < arrivals[at] + window)
            .count()
    };
    (0..arrivals.len()).map(inside).max().unwrap_or(0)
}

/// More will come.
fn need(requests: u32) -> RequestCost {
    RequestCost {
        requests,
        in_all: u32::MAX,
    }
}

/// Environments that share a budget.
struct Fleet {
    budget: RateLimit,
    item: Arc<Item>,
    limiters: Vec<RateLimiter>,
    started: Instant,
    arrivals: Mutex<Vec<Duration>>,
    /// Whether the system reports the calls left in its window.
    reports: bool,
}

impl Fleet {
    /// Environments with these clocks, and tables so far away.
    fn new(budget: RateLimit, share: u32, environments: &[(Micros, Duration)]) -> Self {
        let (item, started) = (Arc::new(Item::default()), Instant::now());
        let limiter = |(ahead, latency): &(Micros, Duration)| {
            let table = MemoryTable {
                item: Arc::clone(&item),
                started,
                ahead: *ahead,
                latency: *latency,
            };
            let limiter = RateLimiter::new(budget, share);
            limiter.share(Table::Memory(table));
            limiter
        };
        let limiters = environments.iter().map(limiter).collect();
        Self {
            budget,
            item,
            limiters,
            started,
            arrivals: Mutex::default(),
            reports: true,
        }
    }

    /// The same, with one environment more, which the table does not answer.
    fn cut_off(budget: RateLimit, share: u32, environments: &[(Micros, Duration)]) -> Self {
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

    /// What the system tells in its answers.
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

    /// One worker of one environment: calls of `requests`, one after the other and each with this
    /// latency, `delay` of which is the way there, and `rest` before each next one; until `end`.
    async fn work(&self, environment: usize, end: Duration, mut next: impl FnMut() -> Load) {
        let meter = DestinationMetrics::default();
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
                let Some(places) = limiter
                    .acquire(need(left), self.started + end, &meter)
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
                drop(places);
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
fn alone_an_environment_uses_more_than_nine_tenths_of_its_share() {
    in_virtual_time(async {
        let limiter = RateLimiter::new(HUBSPOT, 4);
        let (start, meter) = (Instant::now(), DestinationMetrics::default());
        for _ in 0..250 {
            let places = limiter
                .acquire(need(1), start + FAR, &meter)
                .await
                .expect("in time");
            sleep_until(Instant::now() + MILLI * 300).await;
            drop(places);
        }
        // 250 calls are ten windows' worth; the first window's calls wait for nobody.
        assert!(
            (90..=111).contains(&start.elapsed().as_secs()),
            "{:?} for 250 calls",
            start.elapsed()
        );
    });
}

#[test]
fn four_environments_use_more_than_nine_tenths_of_the_budget_with_about_a_write_a_second_each() {
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
        assert!(busiest(&mut arrivals, Duration::from_secs(10)) <= 100);
        let writes = fleet.item.leases.lock().expect("sound").len();
        assert!(
            (4 * 60..=4 * 150).contains(&writes),
            "{writes} writes of 4 environments in 120 s"
        );
    });
}

#[test]
fn one_busy_environment_may_use_what_the_others_do_not() {
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
fn a_silent_table_delays_little_and_leaves_each_its_share() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5); 4]);
        let silent = |is: bool| {
            fleet
                .item
                .is_silent
                .store(is, std::sync::atomic::Ordering::Relaxed);
        };
        let outage = async {
            for is_silent in [true, false, true, false] {
                silent(is_silent);
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
        assert!(busiest(&mut arrivals, Duration::from_secs(10)) <= 100);
        let used = arrivals.len() * 100 / 1320;
        assert!((75..=100).contains(&used), "{used} % of the budget");
    });
}

/// What an environment that leases, and one that is cut off from the table, come to in the fullest
/// window.
fn fullest_with_one_cut_off(reports: bool) -> usize {
    in_virtual_time(async {
        let mut fleet = Fleet::cut_off(HUBSPOT, 2, &[(0, MILLI * 5)]);
        fleet.reports = reports;
        let end = Duration::from_mins(2);
        // The leasing one is at it already when the other one comes.
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
        busiest(
            &mut fleet.arrivals.into_inner().expect("sound"),
            Duration::from_secs(10),
        )
    })
}

#[test]
fn an_environment_that_the_table_does_not_answer_adds_at_most_its_share() {
    let fullest = fullest_with_one_cut_off(false);
    assert!(
        (130..=150).contains(&fullest),
        "{fullest} calls in a window of 100, and a share of 50"
    );
}

#[test]
fn where_the_system_reports_the_calls_left_such_an_environment_makes_none_beyond_them() {
    let fullest = fullest_with_one_cut_off(true);
    assert!(
        (95..=100).contains(&fullest),
        "{fullest} calls in a window of 100"
    );
}

#[test]
fn a_hiccup_of_the_table_sends_nobody_alone() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        let silent = |is: bool| {
            fleet
                .item
                .is_silent
                .store(is, std::sync::atomic::Ordering::Relaxed);
        };
        silent(true);
        let hiccup = async {
            sleep_until(Instant::now() + MILLI * 250).await;
            silent(false);
        };
        let meter = DestinationMetrics::default();
        let (places, ()) = tokio::join!(
            fleet.limiters[0].acquire(need(1), fleet.started + FAR, &meter),
            hiccup
        );
        assert!(!places.expect("in time").is_alone);
        assert!(
            fleet.started.elapsed() < MILLI * 350,
            "{:?}",
            fleet.started.elapsed()
        );
    });
}

#[test]
fn no_more_is_leased_than_is_known_to_be_needed() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI * 5)]);
        let meter = DestinationMetrics::default();
        for in_all in (1..=40).rev() {
            let need = RequestCost {
                requests: 1,
                in_all,
            };
            drop(
                fleet.limiters[0]
                    .acquire(need, fleet.started + FAR, &meter)
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
fn an_impossible_queue_is_no_queue() {
    in_virtual_time(async {
        let fleet = Fleet::new(HUBSPOT, 4, &[(0, MILLI)]);
        let an_hour = micros(Duration::from_hours(1));
        *fleet.item.next.lock().expect("sound") = Some(1_700_000_000_000_000 + an_hour);
        let meter = DestinationMetrics::default();
        assert!(
            fleet.limiters[0]
                .acquire(need(1), fleet.started + Duration::from_mins(2), &meter)
                .await
                .is_some()
        );
        *fleet.item.next.lock().expect("sound") = Some(1_700_000_000_000_000 + an_hour / 100);
        sleep_until(Instant::now() + Duration::from_secs(6)).await;
        assert!(
            fleet.limiters[0]
                .acquire(need(1), fleet.started + Duration::from_secs(20), &meter)
                .await
                .is_none()
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_too_late_is_not_begun() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 1,
            per_ms: 1000,
        },
        1,
    );
    let (start, meter) = (Instant::now(), DestinationMetrics::default());
    drop(limiter.acquire(need(1), start, &meter).await.expect("room"));
    assert!(
        limiter
            .acquire(need(1), start + MILLI * 500, &meter)
            .await
            .is_none()
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    limiter.pause(Duration::from_secs(7));
    assert!(
        limiter
            .acquire(need(1), start + Duration::from_mins(1), &meter)
            .await
            .is_some()
    );
    assert!(start.elapsed() >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn places_that_were_not_used_are_free_at_once() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 2,
            per_ms: 1000,
        },
        1,
    );
    let (start, meter) = (Instant::now(), DestinationMetrics::default());
    for _ in 0..10 {
        limiter
            .acquire(need(1), start, &meter)
            .await
            .expect("room")
            .give_back();
    }
    for _ in 0..2 {
        drop(limiter.acquire(need(1), start, &meter).await.expect("room"));
    }
    assert!(limiter.acquire(need(1), start, &meter).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_the_answers_tell_slows_down_and_new_settings_forget_no_call() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 100,
            per_ms: 1000,
        },
        1,
    );
    let (start, meter) = (Instant::now(), DestinationMetrics::default());
    let take = async |limiter: &RateLimiter| {
        drop(
            limiter
                .acquire(need(1), start + FAR, &meter)
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
        "two and 48 are half of the budget"
    );
    assert!(
        limiter
            .acquire(need(1), Instant::now(), &meter)
            .await
            .is_none(),
        "and no more"
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
        "the calls of the last window were made"
    );
}

#[tokio::test(start_paused = true)]
async fn a_window_and_a_pause_pass_while_the_environment_is_frozen() {
    let limiter = RateLimiter::new(
        RateLimit {
            requests: 1,
            per_ms: 86_400_000,
        },
        1,
    );
    let (start, meter) = (Instant::now(), DestinationMetrics::default());
    drop(limiter.acquire(need(1), start, &meter).await.expect("room"));
    clock::freeze(FAR / 2);
    assert!(limiter.acquire(need(1), start, &meter).await.is_none());
    clock::freeze(FAR / 2);
    drop(
        limiter
            .acquire(need(1), start, &meter)
            .await
            .expect("a day has passed"),
    );
    limiter.pause(FAR * 2);
    clock::freeze(FAR * 2);
    drop(
        limiter
            .acquire(need(1), start, &meter)
            .await
            .expect("two days have passed"),
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waited");
}

#[test]
fn slots_that_were_leased_before_the_clock_was_put_back_hold_up_no_call() {
    let schedule = Schedule::of(HUBSPOT.into());
    let (now, second) = (1_700_000_000_000_000, 1_000_000);
    let mut leases = Leases::default();
    leases.put(now, 5, schedule.period, now);
    assert_eq!(leases.take(1, schedule, now, now + second), Step::At(now));
    let put_back = now - 3_600 * second;
    assert_eq!(
        leases.take(1, schedule, put_back, put_back + second),
        Step::Lease(1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the environments do: bursts and pauses, freezes with slots in hand, leases not used
    /// up, stalls of the whole machine, clocks apart and networks slow within the bounds of
    /// [`lease`], and pairs of requests. With a budget of fewer calls than environments, those that
    /// the table does not answer could not but meet.
    #[test]
    fn no_window_of_the_fleet_has_more_than_the_budget(
        seed: u64, requests in 4_u32..120, per_ms in 500_u64..12_000, count in 1_usize..=4,
    ) {
        let mut arrivals = in_virtual_time(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let window = Duration::from_millis(per_ms);
            // Clocks and network share the third that the grace leaves of the twentieth.
            let clocks = micros(window) / 120;
            let network = u64::try_from(window.as_micros() / 120).expect("fits");
            let mut environment =
                || (random.u64(0..=clocks), Duration::from_millis(random.u64(1..80)));
            let environments: Vec<_> = (0..count).map(|_| environment()).collect();
            let fleet = Fleet::new(RateLimit { requests, per_ms }, 4, &environments);
            let end = window * 6;
            let worker = |environment| {
                let mut random = random.fork();
                fleet.work(environment, end, move || Load {
                    requests: if random.u32(..8) == 0 { 2 } else { 1 },
                    delay: Duration::from_micros(random.u64(0..=network)),
                    latency: window.mul_f64(random.f64() * if random.u32(..10) == 0 { 1.5 } else { 0.05 }),
                    rest: if random.u32(..10) == 0 { window.mul_f64(random.f64() * 2.0) } else { Duration::ZERO },
                })
            };
            let workers = futures_util::future::join_all((0..count * 4).map(|at| at % count).map(worker));
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
        let most = busiest(&mut arrivals, Duration::from_millis(per_ms));
        prop_assert!(most <= allowed, "{most} calls in a window of {allowed}");
    }

    #[test]
    fn no_window_of_one_environment_has_more_than_its_share(
        seed: u64, requests in 1_u32..60, per_ms in 100_u64..20_000, share in 1_u32..6,
    ) {
        let budget = Budget::from(RateLimit { requests, per_ms }).divided(share);
        let mut arrivals = in_virtual_time(async {
            let limiter = RateLimiter::new(RateLimit { requests, per_ms }, share);
            let fleet =
                Fleet { budget: RateLimit { requests, per_ms }, item: Arc::default(), limiters: vec![limiter], started: Instant::now(), arrivals: Mutex::default(), reports: true };
            let mut random = fastrand::Rng::with_seed(seed);
            let worker = |_| {
                let mut random = random.fork();
                fleet.work(0, budget.window * 5, move || {
                    let latency = budget.window.mul_f64(random.f64() * 0.4);
                    Load { requests: 1, delay: latency.mul_f64(random.f64()), latency, rest: Duration::ZERO }
                })
            };
            futures_util::future::join_all((0..4).map(worker)).await;
            fleet.arrivals.into_inner().expect("sound")
        });
        let most = busiest(&mut arrivals, budget.window);
        prop_assert!(most <= budget.calls as usize, "{most} calls in a window of {budget:?}");
    }

    /// Whatever others have used of the system's window when a process takes over, and however
    /// answers and requests overtake each other.
    #[test]
    fn the_calls_left_that_the_system_reports_are_never_exceeded(
        seed: u64, most in 8_u32..60, per_ms in 200_u64..5_000, used in 0_usize..=100, workers in 1_usize..=4,
    ) {
        let (window, most_calls) = (Duration::from_millis(per_ms), most as usize);
        let (arrivals, exceeded) = in_virtual_time(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let limiter = RateLimiter::new(RateLimit { requests: most * 2, per_ms }, 1);
            let (started, meter) = (Instant::now(), DestinationMetrics::default());
            // Before the first report nothing is known: there is room for as many as may be under
            // way.
            let others = (0..(most_calls - workers) * used / 100).map(|_| started + window.mul_f64(random.f64()));
            let (arrivals, exceeded) = (Mutex::new(others.collect::<Vec<_>>()), Mutex::new(0));
            let begin = started + window;
            let slow = |random: &mut fastrand::Rng| if random.u32(..10) == 0 { 0.2 } else { 0.02 };
            let work = |_| {
                let mut random = random.fork();
                let (limiter, meter, arrivals, exceeded) = (&limiter, &meter, &arrivals, &exceeded);
                async move {
                    sleep_until(begin).await;
                    while let Some(places) = limiter.acquire(need(1), begin + window * 4, meter).await {
                        let sent = Instant::now();
                        sleep_until(sent + window.mul_f64(random.f64() * slow(&mut random))).await;
                        let now = Instant::now();
                        let left = {
                            let mut arrivals = arrivals.lock().expect("sound");
                            let taken = arrivals.iter().filter(|at| **at + window > now).count();
                            *exceeded.lock().expect("sound") += usize::from(taken >= most_calls);
                            arrivals.push(now);
                            u32::try_from(most_calls.saturating_sub(taken + 1)).expect("few")
                        };
                        sleep_until(now + window.mul_f64(random.f64() * slow(&mut random))).await;
                        drop(places);
                        let told = Some((most, window));
                        limiter.learn(Quota { window: told, window_remaining: Some(left), ..Quota::default() }, sent);
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
    fn a_period_and_the_grace_fit_into_the_window(requests in 2_u32..10_000, per_ms in 100_u64..600_000) {
        let budget = Budget::from(RateLimit { requests, per_ms });
        let Schedule { period, grace } = Schedule::of(budget);
        let late = grace + micros(budget.window) / 60;
        prop_assert!((micros(budget.window) + late).div_ceil(period) <= u64::from(requests));
    }
}
