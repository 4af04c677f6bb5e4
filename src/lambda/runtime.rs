//! Lambda's runtime, and a way around its reading of events.
//!
//! The runtime reads an event's JSON into a type that owns all it holds, in a reader that keeps
//! account of where it is. Even for a type that only keeps the text, this is a whole read and a
//! copy of up to 6 MB, before the handler reads it in earnest: a ninth of all the work
//! (`benches/README.md`). So the body goes past it.

use std::mem;
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::Service;
use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use tokio::task::futures::TaskLocalFuture;

use crate::handler::Handler;

tokio::task_local! {
    /// The body of the invocation under way: an environment may have several at once, each in a
    /// task of its own.
    static BODY: Bytes;
}

/// Polls for events and handles them, until Lambda ends the process.
///
/// # Errors
/// Where the Runtime API fails at a poll or at an answer; with several workers, once none is left.
///
/// # Panics
/// Outside of Lambda: the runtime wants its variables.
pub async fn run(handler: Handler) -> Result<(), Error> {
    let service = service_fn(move |event: LambdaEvent<()>| {
        let handler = handler.clone();
        async move {
            handler
                .handle(LambdaEvent::new(BODY.get(), event.context))
                .await
        }
    });
    Runtime::new(service)
        .layer(layer_fn(RawBodyLayer))
        .layer(TracingLayer::new())
        .run_concurrent()
        .await
}

/// Leaves the runtime a body that takes no time to read, and the invocation's own one to [`BODY`].
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
    async fn of_several_invocations_at_once_each_has_its_own_body() {
        let mut service = RawBodyLayer(service_fn(async |invocation: LambdaInvocation| {
            assert_eq!(invocation.body, "null", "what the runtime reads");
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
