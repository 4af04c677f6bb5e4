//! An SQS queue: all its messages, taken away from others for a while only.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use indicatif::ProgressBar;

use super::failure::Failure;

/// Messages in one call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const AT_ONCE: usize = 10;

/// A long poll asks all of SQS's servers; a short one may find nothing where there is something.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
const POLL_SECONDS: i32 = 1;

/// So many answers in a row that hold nothing new are the end: messages come back while the rest is
/// read.
const ANSWERS_WITHOUT_NEWS: u32 = 3;

/// What is held in memory at a time.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    /// How long a message that was received stays hidden from others.
    hidden_secs: i32,
}

/// The messages that are hidden from others: their latest handles, by their ids.
pub(crate) type Held = BTreeMap<String, String>;

/// A message that was not seen before.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
}

/// About how many messages there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    /// To receive.
    pub(crate) visible: u64,
    /// Held by another reader.
    hidden: u64,
}

impl Depth {
    /// Says why no message was received.
    pub(crate) fn emptiness(self) -> String {
        match self.hidden {
            0 => "the queue is empty".to_owned(),
            hidden => format!("nothing to receive; held by another reader for a while: {hidden}"),
        }
    }
}

/// What was received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: Vec<Message>,
    /// Nothing else was there.
    pub(crate) is_all: bool,
}

impl Queue {
    pub(crate) fn new(aws: &SdkConfig, url: &str, hidden_secs: i32) -> Self {
        Self {
            client: Client::new(aws),
            url: url.to_owned(),
            hidden_secs,
        }
    }

    /// Asks how many messages there are.
    pub(crate) async fn depth(&self) -> Result<Depth, Failure> {
        let (visible, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let call = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = call
            .attribute_names(visible.clone())
            .attribute_names(hidden.clone())
            .send()
            .await;
        let answer =
            answer.map_err(|error| self.failure("looking at", "sqs:GetQueueAttributes", &error))?;
        let attributes = answer.attributes.unwrap_or_default();
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

    /// Receives until nothing new comes, or `most` messages are there, or as many as may be held in
    /// memory. Each message once, however often it comes; `held` knows those that came before, and
    /// takes the handles of all.
    pub(crate) async fn receive(
        &self,
        most: usize,
        held: &mut Held,
        progress: &ProgressBar,
    ) -> Result<Received, Failure> {
        let mut received = Received::default();
        let (mut bytes, mut without_news) = (0, 0);
        while received.messages.len() < most && bytes < MOST_BYTES {
            let messages = self.receive_some(most - received.messages.len()).await?;
            let before = received.messages.len();
            let was_empty = messages.is_empty();
            for (message, handle) in messages {
                // Of one that has come back, only the latest handle is sure to be good.
                if held.insert(message.id.clone(), handle).is_none() {
                    bytes += message.body.len();
                    received.messages.push(message);
                }
            }
            progress.set_position(held.len() as u64);
            without_news = if received.messages.len() > before {
                0
            } else {
                without_news + 1
            };
            if was_empty || without_news == ANSWERS_WITHOUT_NEWS {
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
        let call = call.max_number_of_messages(i32::try_from(most.min(AT_ONCE)).unwrap_or(1));
        let answer = call.visibility_timeout(self.hidden_secs).send().await;
        let answer =
            answer.map_err(|error| self.failure("receiving from", "sqs:ReceiveMessage", &error))?;
        let message = |message: aws_sdk_sqs::types::Message| {
            let body = message.body.unwrap_or_default();
            Some((
                Message {
                    id: message.message_id?,
                    body,
                },
                message.receipt_handle?,
            ))
        };
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(message)
            .collect())
    }

    /// Lets others see these messages again, now. One that cannot be let go is seen by itself after
    /// a while.
    pub(crate) async fn release(&self, held: &Held) {
        let handles: Vec<&String> = held.values().collect();
        for part in handles.chunks(AT_ONCE) {
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

    /// Deletes these messages; says of each whether it is gone.
    pub(crate) async fn delete(&self, handles: &[&str]) -> Result<Vec<bool>, Failure> {
        let mut gone = vec![false; handles.len()];
        for (part, gone) in handles.chunks(AT_ONCE).zip(gone.chunks_mut(AT_ONCE)) {
            let entry = |(at, handle): (usize, &&str)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(*handle)
                    .build()
                    .ok()
            };
            let entries = part.iter().enumerate().filter_map(entry).collect();
            let call = self.client.delete_message_batch().queue_url(&self.url);
            let answer = call.set_entries(Some(entries)).send().await;
            let answer = answer
                .map_err(|error| self.failure("deleting from", "sqs:DeleteMessage", &error))?;
            for done in answer.successful() {
                if let Some(gone) = done
                    .id()
                    .parse()
                    .ok()
                    .and_then(|at: usize| gone.get_mut(at))
                {
                    *gone = true;
                }
            }
        }
        Ok(gone)
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
