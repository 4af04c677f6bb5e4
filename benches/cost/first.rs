//! The first delivery of a new environment, as in a deployment: TLS on every hop, the document, the
//! secrets, the queue and the table in an emulation of AWS.

use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use testkit::deployment::Deployment;
use testkit::runtime_api::Function;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::process::{BINARY, cpu, invoke};
use crate::record;

/// Processes of each measurement.
const STARTS: usize = 9;

/// Invocations of a process after its first one.
const WARM: usize = 9;

/// Part of a processor that Lambda gives to 512 MB: 1,769 MB have a whole one.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const QUOTA: f64 = 0.29;

/// Time in which a throttled process runs for [`QUOTA`] and stands still for the rest.
const PERIOD: Duration = Duration::from_millis(20);

/// Time between two invocations of a process: longer than that between two slots of the rate limit,
/// for which an invocation would wait otherwise.
const PAUSE: Duration = Duration::from_millis(250);

/// Largest own time of a first invocation, as a multiple of a warm one's.
const MOST: f64 = 2.0;

/// Longest time to the acknowledgement at full speed.
pub(crate) const LONGEST: Duration = Duration::from_millis(250);

/// Result of the measurement at one speed. Times are medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstDelivery {
    /// Time from the start of the process to its first poll.
    pub(crate) init: Duration,
    /// Time from the start of the process to the response to its first invocation, after both
    /// systems acknowledged their records.
    pub(crate) acknowledged: Duration,
    /// Time of the first invocation.
    pub(crate) first: Duration,
    /// Time of an invocation after it.
    pub(crate) warm: Duration,
    /// Own time of the first invocation: its CPU time, without the times of the systems and of the
    /// emulation.
    pub(crate) own_first: Duration,
    /// Own time of an invocation after it.
    pub(crate) own_warm: Duration,
    /// TLS handshakes during the first invocations, with each service of [`Deployment::handshakes`].
    pub(crate) handshakes: [usize; 6],
}

/// Speed of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    Full,
    /// A whole processor until the first poll, as in Lambda's init phase, and [`QUOTA`] after it.
    QuotaAfterInit,
    /// [`QUOTA`] from the first instruction on: slower than Lambda.
    Quota,
}

/// Measures at full speed, with the quota after the first poll, and with the quota throughout.
pub(crate) async fn measure() -> Result<[FirstDelivery; 3], String> {
    let deployment = Deployment::start().await;
    let variables = deployment.variables().await;
    let mut measured = Vec::new();
    for speed in [Speed::Full, Speed::QuotaAfterInit, Speed::Quota] {
        measured.push(of_speed(&deployment, &variables, speed).await?);
    }
    if let Some(violation) = deployment.mocks.violations().first() {
        return Err(format!("a protocol violation: {violation}"));
    }
    for at_speed in &measured {
        let ratio = at_speed.ratio();
        if ratio > MOST || at_speed.handshakes != [0; 6] {
            return Err(format!(
                "a first invocation takes {ratio:.2} of a warm one, with handshakes: {:?}",
                at_speed.handshakes
            ));
        }
    }
    let acknowledged = measured[0].acknowledged;
    if acknowledged > LONGEST {
        return Err(format!(
            "the first records are acknowledged after {acknowledged:?}"
        ));
    }
    measured.try_into().map_err(|_| "three speeds".to_owned())
}

impl FirstDelivery {
    /// Returns the own time of the first invocation, as a multiple of a warm one's.
    pub(crate) fn ratio(&self) -> f64 {
        self.own_first.as_secs_f64() / self.own_warm.as_secs_f64()
    }
}

async fn of_speed(
    deployment: &Deployment,
    variables: &[(String, String)],
    speed: Speed,
) -> Result<FirstDelivery, String> {
    let (mut inits, mut acknowledged) = (Vec::new(), Vec::new());
    let (mut firsts, mut warms, mut handshakes) = (Vec::new(), Vec::new(), [0; 6]);
    let (mut own_firsts, mut own_warms) = (Vec::new(), Vec::new());
    let event = Bytes::from(record::event_of(2, 2, &["lead", "customer"]));
    for _ in 0..STARTS {
        let mut function = Function::start(Path::new(BINARY), variables).await;
        let mut throttle = (speed == Speed::Quota).then(|| Throttle::start(&function));
        let init = function.time_to_first_poll().await;
        inits.push(init.ok_or_else(|| format!("no start: {:?}", function.lines()))?);
        if speed == Speed::QuotaAfterInit {
            throttle = Some(Throttle::start(&function));
        }
        let before = deployment.handshakes();
        let (first, own) = timed(&mut function, &event).await?;
        firsts.push(first);
        own_firsts.push(own);
        acknowledged.push(function.started_at.elapsed());
        for (at, now) in deployment.handshakes().into_iter().enumerate() {
            handshakes[at] += now - before[at];
        }
        for _ in 0..WARM {
            sleep_until(Instant::now() + PAUSE).await;
            let (warm, own) = timed(&mut function, &event).await?;
            warms.push(warm);
            own_warms.push(own);
        }
        drop(throttle);
        function.kill().await;
    }
    Ok(FirstDelivery {
        init: median(inits),
        acknowledged: median(acknowledged),
        first: median(firsts),
        warm: median(warms),
        own_first: median(own_firsts),
        own_warm: median(own_warms),
        handshakes,
    })
}

/// Returns the time of an invocation, and its CPU time.
async fn timed(function: &mut Function, event: &Bytes) -> Result<(Duration, Duration), String> {
    let before = cpu(function)?;
    let time = invoke(function, event).await?;
    Ok((time, cpu(function)?.saturating_sub(before)))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Stops and continues a process, so that it runs for a part of the time. A process that waits for
/// an answer loses that time too, which a quota of Lambda would leave to it.
pub(crate) struct Throttle {
    process: Option<Pid>,
    switching: AbortHandle,
}

impl Throttle {
    pub(crate) fn start(function: &Function) -> Self {
        let id = function.id().and_then(|id| i32::try_from(id).ok());
        let process = id.and_then(Pid::from_raw);
        let switching = tokio::spawn(async move {
            let Some(process) = process else { return };
            let mut period = Instant::now();
            loop {
                let _ = kill_process(process, Signal::CONT);
                sleep_until(period + PERIOD.mul_f64(QUOTA)).await;
                let _ = kill_process(process, Signal::STOP);
                period = (period + PERIOD).max(Instant::now());
                sleep_until(period).await;
            }
        });
        Self {
            process,
            switching: switching.abort_handle(),
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.switching.abort();
        if let Some(process) = self.process {
            let _ = kill_process(process, Signal::CONT);
        }
    }
}
