//! The rim of the routes: each has one task that does what the core decided.
//!
//! Promises: an attempt ends within the route's time; what one route waits for costs no other; bodies go out byte
//! for byte as they are stored. Never: a judgement about what is told; a secret in a log.

mod alertmanager;
mod http;
mod mail;

use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::core::{Attempt, IN_FLIGHT_MAX, Notification, Outcome};
use crate::config::{External, Route, Target};
use crate::mqtt::publisher::Publisher;

/// Attempts of one route that wait for its task: those in flight and a reminder.
const QUEUE_MAX: usize = IN_FLIGHT_MAX + 1;

/// How one attempt ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) route: usize,
    /// 0 for a reminder.
    pub(super) id: i64,
    pub(super) outcome: Outcome,
}

/// Where the broker is, and how its topics begin.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) reach: External,
    pub(crate) prefix: String,
}

/// The routes' tasks.
#[derive(Debug)]
pub(super) struct Senders {
    queues: Vec<mpsc::Sender<Attempt>>,
    /// Without routes nobody else holds it, and a channel that is closed wakes the desk all the time.
    _ended: Sender<Ended>,
    /// Ends with the process: what is in flight is tried again at the next start.
    _thread: Option<std::thread::JoinHandle<()>>,
}

/// The room that the ends of all attempts need.
pub(super) fn ended_max(routes: usize) -> usize {
    routes.max(1) * QUEUE_MAX
}

/// Starts a task per route, all on one thread.
///
/// # Errors
/// When there is no thread.
pub(super) fn start(
    routes: &[Route],
    place: &Place,
    seed: u64,
    ended: Sender<Ended>,
) -> std::io::Result<Senders> {
    let mut queues = Vec::new();
    let mut works = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let (queue_in, queue) = mpsc::channel(QUEUE_MAX);
        queues.push(queue_in);
        works.push((index, route.clone(), queue));
    }
    if works.is_empty() {
        return Ok(Senders {
            queues,
            _ended: ended,
            _thread: None,
        });
    }
    let (place, held) = (place.clone(), ended.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("routes".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for (index, route, queue) in works {
                    let way = Way::new(&route, &place, seed);
                    let timeout = Duration::from_millis(route.timeout_ms.into());
                    tasks.spawn(serve(
                        index,
                        way,
                        timeout,
                        queue,
                        place.prefix.clone(),
                        held.clone(),
                    ));
                }
                while tasks.join_next().await.is_some() {}
            });
        })?;
    Ok(Senders {
        queues,
        _ended: ended,
        _thread: Some(thread),
    })
}

impl Senders {
    /// Hands an attempt to its route; `false` when the task is gone.
    pub(super) fn send(&self, route: usize, attempt: Attempt) -> bool {
        self.queues
            .get(route)
            .is_some_and(|queue| queue.try_send(attempt).is_ok())
    }
}

/// How a route reaches its receiver.
#[derive(Debug, Clone)]
enum Way {
    Mqtt(Publisher),
    Webhook(http::Webhook),
    Alertmanager(alertmanager::Alertmanager),
    Mail(mail::Mail),
}

impl Way {
    fn new(route: &Route, place: &Place, seed: u64) -> Self {
        match &route.target {
            Target::Mqtt => Self::Mqtt(Publisher::start(
                place.reach.clone(),
                format!("fleet-desk-{}-{seed:016x}", route.name),
            )),
            Target::Webhook(webhook) => Self::Webhook(http::Webhook::new(webhook)),
            Target::Alertmanager(http) => Self::Alertmanager(alertmanager::Alertmanager::new(http)),
            Target::Smtp(smtp) => Self::Mail(mail::Mail::new(smtp, route.timeout_ms)),
        }
    }

    async fn tell(&self, prefix: &str, attempt: &Attempt) -> Outcome {
        match (self, attempt) {
            (Self::Alertmanager(way), Attempt::Remind { items }) => way.remind(items).await,
            (_, Attempt::Remind { .. }) => Outcome::Delivered,
            (way, Attempt::Tell(owed)) => {
                let notification = match Notification::parse(&owed.body) {
                    Ok(notification) => notification,
                    Err(error) => {
                        return Outcome::Refused {
                            why: format!("what is stored cannot be read: {error}"),
                        };
                    }
                };
                match way {
                    Self::Mqtt(publisher) => {
                        mqtt(publisher, prefix, &notification, &owed.body).await
                    }
                    Self::Webhook(way) => way.tell(&notification, &owed.body).await,
                    Self::Alertmanager(way) => way.tell(&notification).await,
                    Self::Mail(way) => way.tell(&notification).await,
                }
            }
        }
    }
}

/// One publish per group of the device; the key in it is the same.
async fn mqtt(
    publisher: &Publisher,
    prefix: &str,
    notification: &Notification,
    body: &str,
) -> Outcome {
    let alert = &notification.alert;
    let none = [NO_GROUP.to_owned()];
    let groups = match alert.groups.is_empty() {
        true => &none[..],
        false => &alert.groups[..],
    };
    for group in groups {
        let topic = format!("{prefix}/alerts/{group}/{}", alert.severity.name());
        if let Err(why) = publisher.publish(topic, body.as_bytes().to_vec()).await {
            return Outcome::Down {
                why,
                retry_ms: None,
            };
        }
    }
    Outcome::Delivered
}

/// Stands in a topic for the group of a device that has none.
const NO_GROUP: &str = "none";

async fn serve(
    index: usize,
    way: Way,
    timeout: Duration,
    mut queue: mpsc::Receiver<Attempt>,
    prefix: String,
    ended: Sender<Ended>,
) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            attempt = queue.recv() => {
                let Some(attempt) = attempt else { return };
                let prefix = prefix.clone();
                let way = way.clone();
                running.spawn(async move {
                    let id = attempt.id();
                    let told = tokio::time::timeout(timeout, way.tell(&prefix, &attempt)).await;
                    let outcome = told.unwrap_or_else(|_| Outcome::Down {
                        why: format!("no answer within {} ms", timeout.as_millis()),
                        retry_ms: None,
                    });
                    Ended { route: index, id, outcome }
                });
            }
            Some(end) = running.join_next(), if !running.is_empty() => {
                // There is room for every attempt that can run.
                if let Ok(end) = end {
                    ended.try_send(end).ok();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desk_without_routes_is_not_woken_by_them() {
        let (ended_in, ended) = crossbeam_channel::bounded(ended_max(0));
        let place = Place {
            reach: External {
                host: "127.0.0.1".to_owned(),
                port: 1,
                login: None,
                tls: None,
            },
            prefix: "fleet/v1".to_owned(),
        };
        let senders = start(&[], &place, 1, ended_in).unwrap();
        assert_eq!(
            ended.try_recv().err(),
            Some(crossbeam_channel::TryRecvError::Empty)
        );
        drop(senders);
        assert_eq!(
            ended.try_recv().err(),
            Some(crossbeam_channel::TryRecvError::Disconnected)
        );
    }
}
