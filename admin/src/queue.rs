//! SQS queue whose messages are read to the end. Other readers do not see a message for the
//! visibility timeout.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use indicatif::ProgressBar;

use super::failure::Failure;

/// Maximum number of messages of one call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const MAX_BATCH: usize = 10;

/// Wait time of a long poll. A long poll queries all servers of SQS; a short poll can miss
/// messages.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
const POLL_SECONDS: i32 = 1;

/// Number of consecutive responses without a new message that end the read. Messages whose
/// visibility timeout has passed are received again while the rest is read.
const MAX_RESPONSES_WITHOUT_NEW: u32 = 3;

/// Limit of the messages in memory, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Client of a queue.
#[derive(Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    /// Visibility timeout of received messages, in seconds.
    hidden_secs: i32,
}

/// Messages that other readers do not see: the latest receipt handle by message id.
pub(crate) type Held = BTreeMap<String, String>;

/// Message that was not received before.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
}

/// Approximate number of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    /// Messages that can be received.
    pub(crate) visible: u64,
    /// Messages that another reader holds.
    hidden: u64,
}

impl Depth {
    /// Returns the reason why no message was received.
    pub(crate) fn describe_empty(self) -> String {
        match self.hidden {
            0 => "the queue is empty".to_owned(),
            hidden => format!("nothing to receive; held by another reader for a while: {hidden}"),
        }
    }
}

/// Messages of one read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: Vec<Message>,
    /// Whether the queue was read to its end.
    pub(crate) is_all: bool,
}

impl Queue {
    /// Creates a client for the queue.
    pub(crate) fn new(aws: &SdkConfig, url: &str, hidden_secs: i32) -> Self {
        Self {
            client: Client::new(aws),
            url: url.to_owned(),
            hidden_secs,
        }
    }

    /// Reads the approximate number of messages.
    pub(crate) async fn depth(&self) -> Result<Depth, Failure> {
        let (visible, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let call = self.client.get_queue_attributes().queue_url(&self.url);
        let response = call
            .attribute_names(visible.clone())
            .attribute_names(hidden.clone())
            .send()
            .await;
        let response = response.map_err(|error| {
            self.failure("reading the depth of", "sqs:GetQueueAttributes", &error)
        })?;
        let attributes = response.attributes.unwrap_or_default();
        let number = |name| {
            attributes
                .get(&name)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default()
        };
        Ok(Depth {
            visible: number(visible),
            hidden: number(hidden),
        })
    }

    /// Receives messages until no new one arrives, `most` are received, or the memory limit is
    /// reached. Returns each message once, even if SQS delivers it again: `held` contains the
    /// messages of earlier reads, and receives the handles of all.
    pub(crate) async fn receive(
        &self,
        most: usize,
        held: &mut Held,
        progress: &ProgressBar,
    ) -> Result<Received, Failure> {
        let mut received = Received::default();
        let (mut bytes, mut responses_without_new) = (0, 0);
        while received.messages.len() < most && bytes < MAX_BYTES {
            let messages = self.receive_some(most - received.messages.len()).await?;
            let before = received.messages.len();
            let was_empty = messages.is_empty();
            for (message, handle) in messages {
                // Only the latest handle of a message is certain to be valid.
                if held.insert(message.id.clone(), handle).is_none() {
                    bytes += message.body.len();
                    received.messages.push(message);
                }
            }
            progress.set_position(held.len() as u64);
            if received.messages.len() > before {
                responses_without_new = 0;
            } else {
                responses_without_new += 1;
            }
            if was_empty || responses_without_new == MAX_RESPONSES_WITHOUT_NEW {
                received.is_all = true;
                break;
            }
        }
        Ok(received)
    }

    async fn receive_some(&self, most: usize) -> Result<Vec<(Message, String)>, Failure> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .wait_time_seconds(POLL_SECONDS);
        let call = call.max_number_of_messages(i32::try_from(most.min(MAX_BATCH)).unwrap_or(1));
        let response = call.visibility_timeout(self.hidden_secs).send().await;
        let response = response
            .map_err(|error| self.failure("receiving from", "sqs:ReceiveMessage", &error))?;
        let mut messages = Vec::new();
        for message in response.messages.unwrap_or_default() {
            if let (Some(id), Some(handle)) = (message.message_id, message.receipt_handle) {
                let body = message.body.unwrap_or_default();
                messages.push((Message { id, body }, handle));
            }
        }
        Ok(messages)
    }

    /// Makes these messages visible to other readers again. A message whose release fails becomes
    /// visible at the end of its visibility timeout.
    pub(crate) async fn release(&self, held: &Held) {
        let handles: Vec<&String> = held.values().collect();
        for part in handles.chunks(MAX_BATCH) {
            let entry = |(at, handle): (usize, &&String)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(at.to_string());
                entry
                    .receipt_handle(*handle)
                    .visibility_timeout(0)
                    .build()
                    .ok()
            };
            let entries = part.iter().enumerate().filter_map(entry).collect();
            let call = self
                .client
                .change_message_visibility_batch()
                .queue_url(&self.url);
            let _ = call.set_entries(Some(entries)).send().await;
        }
    }

    /// Deletes these messages. Returns for each message whether it was deleted.
    pub(crate) async fn delete(&self, handles: &[&str]) -> Result<Vec<bool>, Failure> {
        let mut deleted = vec![false; handles.len()];
        for (part, deleted) in handles.chunks(MAX_BATCH).zip(deleted.chunks_mut(MAX_BATCH)) {
            let entry = |(at, handle): (usize, &&str)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(*handle)
                    .build()
                    .ok()
            };
            let entries = part.iter().enumerate().filter_map(entry).collect();
            let call = self.client.delete_message_batch().queue_url(&self.url);
            let response = call.set_entries(Some(entries)).send().await;
            let response = response
                .map_err(|error| self.failure("deleting from", "sqs:DeleteMessage", &error))?;
            for entry in response.successful() {
                let at = entry.id().parse::<usize>().ok();
                if let Some(deleted) = at.and_then(|at| deleted.get_mut(at)) {
                    *deleted = true;
                }
            }
        }
        Ok(deleted)
    }

    fn failure<E, R>(
        &self,
        doing: &str,
        permission: &str,
        error: &aws_sdk_sqs::error::SdkError<E, R>,
    ) -> Failure
    where
        E: aws_sdk_sqs::error::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        Failure::aws(
            &format!("{doing} the queue {}", self.url),
            permission,
            error,
        )
    }
}
