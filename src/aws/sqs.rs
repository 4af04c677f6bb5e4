//! Amazon SQS as the dead-letter queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::services::{DeadLetterQueue, Sent, ServiceCall};

impl DeadLetterQueue for Client {
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, ()> {
        let call = self.get_queue_attributes().queue_url(url);
        async move { drop(call.send().await) }.boxed()
    }

    fn send<'a>(&'a self, url: &'a str, messages: Vec<(usize, String)>) -> ServiceCall<'a, Sent> {
        let entries = messages.into_iter().filter_map(|(at, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(message)
                .build()
                .ok()
        });
        let call = self
            .send_message_batch()
            .queue_url(url)
            .set_entries(Some(entries.collect()));
        async move {
            let answer = call.send().await.map_err(SdkError::into_service_error)?;
            Ok(Sent {
                stored: answer
                    .successful()
                    .iter()
                    .filter_map(|success| success.id().parse().ok())
                    .collect(),
                refused: answer
                    .failed()
                    .iter()
                    .map(|failure| failure.code().to_owned())
                    .collect(),
            })
        }
        .boxed()
    }
}
