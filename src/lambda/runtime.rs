//! Lambda's runtime, with a layer that bypasses its parsing of events.
//!
//! The runtime deserializes an event's JSON before the handler gets it. Even into a type that only
//! keeps the text, this is a parse and a copy of up to 6 MB: a ninth of all the work
//! (`benches/README.md`). [`RawBodyLayer`] hands the body to the handler as it came.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::Service;
use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use tokio::task::futures::TaskLocalFuture;

use super::Handler;

tokio::task_local! {
    /// The body of the invocation in progress. An environment may run several at once, each in a
    /// task of its own.
    static BODY: Bytes;
}

/// Polls for events and handles them, until Lambda ends the process.
///
/// # Errors
/// Outside of Lambda, where the runtime's variables are missing. Where the Runtime API fails at a
/// poll or a response; with several workers, once none is left.
pub async fn run(handler: Handler) -> Result<(), Error> {
    let service = service_fn(move |event: LambdaEvent<()>| {
        let handler = handler.clone();
        async move {
            handler
                .handle(LambdaEvent::new(BODY.get(), event.context))
                .await
        }
    });
    // The runtime panics where a variable of Lambda is missing.
    let runtime = catch_unwind(AssertUnwindSafe(|| Runtime::new(service)))
        .map_err(|panic| message(&*panic))?;
    runtime
        .layer(layer_fn(RawBodyLayer))
        .layer(TracingLayer::new())
        .run_concurrent()
        .await
}

/// Returns the message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the Lambda runtime panicked").to_owned()
}

/// Gives the runtime the body `null`, and keeps the invocation's own one in [`BODY`].
#[derive(Clone)]
struct RawBodyLayer<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for RawBodyLayer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let body = mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        BODY.scope(body, self.0.call(invocation))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn each_concurrent_invocation_has_its_own_body() {
        let mut service = RawBodyLayer(service_fn(async |invocation: LambdaInvocation| {
            assert_eq!(invocation.body, "null", "the runtime parses null");
            yield_now().await;
            Ok::<_, Infallible>(BODY.get())
        }));
        let handled = ["one", "two", "three"].map(|body| {
            let (parts, ()) = hyper::Response::new(()).into_parts();
            service.call(LambdaInvocation {
                parts,
                body: body.into(),
                context: lambda_runtime::Context::default(),
            })
        });
        let bodies: Vec<_> = join_all(handled)
            .await
            .into_iter()
            .map(Result::unwrap_or_default)
            .collect();
        assert_eq!(bodies, ["one", "two", "three"]);
    }
}
