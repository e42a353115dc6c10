//! Publishing with an answer: a connection of its own for those who must know that the broker has it.
//!
//! Promises: a publish is answered once, when the broker has acknowledged it or its connection is over; a connection
//! begins with the first publish after the last one ended. Never: a publish repeated here; that is the caller's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, QoS};
use tokio::sync::{mpsc, oneshot};

use super::{LinkConfig, open};
use crate::config::External;

/// Publishes on their way to the broker: more than any caller has in flight.
const REQUESTS_MAX: usize = 16;

type Reply = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
struct Request {
    topic: String,
    payload: Vec<u8>,
    reply: Reply,
}

/// Publishes at one broker.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
}

/// Publishes without an answer: those whose number is not known yet, and the others by number.
#[derive(Debug, Default)]
struct Waiting {
    queued: VecDeque<Reply>,
    numbered: HashMap<u16, Reply>,
}

impl Publisher {
    /// Begins a task on the runtime of the caller; it ends with the last clone.
    pub(crate) fn start(reach: External, client_id: String) -> Self {
        let (requests_in, requests) = mpsc::channel(REQUESTS_MAX);
        let config = LinkConfig {
            reach,
            client_id,
            is_persistent: false,
            filters: Vec::new(),
            self_test: None,
        };
        tokio::spawn(serve(config, requests));
        Self {
            requests: requests_in,
        }
    }

    /// Publishes at least once; `Ok` when the broker has acknowledged it.
    ///
    /// # Errors
    /// Why the connection ended before.
    pub(crate) async fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            topic,
            payload,
            reply,
        };
        let gone = || "the connection to the broker has ended".to_owned();
        self.requests.send(request).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn serve(config: LinkConfig, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.recv().await {
        let (client, events) = match open(&config) {
            Ok(opened) => opened,
            Err(error) => {
                // Who asked may have given up.
                first.reply.send(Err(error.to_string())).ok();
                continue;
            }
        };
        let waiting = Mutex::new(Waiting::default());
        // Neither is cancelled before the connection is over: a cancelled poll may leave half a packet behind.
        let end = tokio::select! {
            why = hear(events, &waiting) => Some(why),
            () = speak(&client, first, &mut requests, &waiting) => None,
        };
        let Waiting { queued, numbered } =
            waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        let why = end.unwrap_or_else(|| "the process stops".to_owned());
        for reply in queued.into_iter().chain(numbered.into_values()) {
            reply.send(Err(why.clone())).ok();
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears until the connection ends; why it did.
async fn hear(mut events: EventLoop, waiting: &Mutex<Waiting>) -> String {
    loop {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(number))) => {
                let mut waiting = lock(waiting);
                if let Some(reply) = waiting.queued.pop_front() {
                    waiting.numbered.insert(number, reply);
                }
            }
            Ok(Event::Incoming(Packet::PubAck(ack))) => {
                if let Some(reply) = lock(waiting).numbered.remove(&ack.pkid) {
                    reply.send(Ok(())).ok();
                }
            }
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

async fn speak(
    client: &AsyncClient,
    first: Request,
    requests: &mut mpsc::Receiver<Request>,
    waiting: &Mutex<Waiting>,
) {
    let mut next = Some(first);
    while let Some(request) = next {
        lock(waiting).queued.push_back(request.reply);
        let published = client
            .publish(request.topic, QoS::AtLeastOnce, false, request.payload)
            .await;
        if published.is_err() {
            return;
        }
        next = requests.recv().await;
    }
}
