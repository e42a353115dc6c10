//! Whether a broker delivers what it grants.
//!
//! Promises: a subscription is proven when a message to ourselves has come back through each filter, and one publish
//! has come that wants an acknowledgement, a device's or ours. What the broker kept for a process before us may come
//! first and take its time: messages to ourselves that want no acknowledgement do not queue behind it. Never: a
//! message of another process or of an earlier connection counted; silence taken for a backlog for ever.

use rumqttc::{AsyncClient, Publish, QoS};

use super::{LinkError, SELF};

/// A fresh session that is silent for so many keep-alives delivers nothing.
const SILENT_PINGS_FRESH: u32 = 1;
/// A broker may wait for the acknowledgements of a process that was killed before it goes on (NATS: 30 s).
const SILENT_PINGS_RESUMED: u32 = 5;
/// Something comes all the time, but never what we send: so many keep-alives are enough.
const PINGS_MAX: u32 = 20;

/// Messages to ourselves: a broker that grants a subscription and delivers nothing is found out by them.
#[derive(Debug, Clone)]
pub(crate) struct SelfTest {
    /// One topic that each filter must match.
    pub(crate) topics: Vec<String>,
    /// Unlike that of any other process.
    pub(crate) payload: Vec<u8>,
}

/// The test of one connection.
#[derive(Debug, Default)]
pub(super) struct Trial {
    test: Option<SelfTest>,
    /// Topics that have not come back.
    missing: Vec<String>,
    /// Nothing has come that wants an acknowledgement.
    lacks_acknowledged: bool,
    is_resumed: bool,
    has_heard: bool,
    silent_pings: u32,
    pings: u32,
}

impl Trial {
    pub(super) fn new(test: Option<SelfTest>) -> Self {
        Self {
            test,
            ..Self::default()
        }
    }

    /// The broker has let us in, and kept a session for us or not.
    pub(super) fn connected(&mut self, is_resumed: bool) {
        self.is_resumed = is_resumed;
    }

    /// The subscriptions are granted.
    pub(super) fn begin(&mut self, client: &AsyncClient) {
        if let Some(test) = &self.test {
            self.missing.clone_from(&test.topics);
            self.lacks_acknowledged = true;
            self.ask(client);
        }
    }

    /// What finds no room now is asked for at the next keep-alive.
    fn ask(&self, client: &AsyncClient) {
        let Some(test) = &self.test else {
            return;
        };
        let first = test.topics.first().filter(|_| self.lacks_acknowledged);
        let acknowledged = first.map(|topic| (topic, QoS::AtLeastOnce));
        let missing = self.missing.iter().map(|topic| (topic, QoS::AtMostOnce));
        for (topic, qos) in acknowledged.into_iter().chain(missing) {
            client
                .try_publish(topic, qos, false, test.payload.clone())
                .ok();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.missing.is_empty() && !self.lacks_acknowledged
    }

    /// Takes note of a publish; whether it is one to ourselves.
    pub(super) fn hear(&mut self, publish: &Publish) -> bool {
        self.has_heard = true;
        let is_ours = self.test.is_some() && publish.topic.rsplit('/').nth(1) == Some(SELF);
        let is_of_now = (self.test.as_ref()).is_some_and(|test| publish.payload == test.payload);
        if is_of_now {
            self.missing.retain(|topic| *topic != publish.topic);
        }
        if (is_of_now || !is_ours) && publish.qos != QoS::AtMostOnce {
            self.lacks_acknowledged = false;
        }
        is_ours
    }

    /// A keep-alive has passed: what is missing is asked for again, unless it was waited for long enough.
    pub(super) fn ping(&mut self, client: &AsyncClient) -> Result<(), LinkError> {
        if self.is_over() {
            return Ok(());
        }
        self.pings += 1;
        self.silent_pings = if self.has_heard {
            0
        } else {
            self.silent_pings + 1
        };
        self.has_heard = false;
        let silent_max = if self.is_resumed {
            SILENT_PINGS_RESUMED
        } else {
            SILENT_PINGS_FRESH
        };
        if self.silent_pings >= silent_max || self.pings >= PINGS_MAX {
            return Err(LinkError::SelfTest(self.lacking()));
        }
        self.ask(client);
        Ok(())
    }

    /// A topic that nothing came back from.
    fn lacking(&self) -> String {
        let first = || self.test.as_ref()?.topics.first();
        let topic = self.missing.first().or_else(first);
        topic.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [&str; 2] = ["fleet/v1/00/CENTRE/telemetry", "fleet/v1/ff/CENTRE/alert"];

    fn trial(is_resumed: bool) -> (Trial, AsyncClient, rumqttc::EventLoop) {
        let options = rumqttc::MqttOptions::new("test", "127.0.0.1", 1);
        let (client, events) = AsyncClient::new(options, 64);
        let mut trial = Trial::new(Some(SelfTest {
            topics: TOPICS.map(str::to_owned).to_vec(),
            payload: b"now".to_vec(),
        }));
        trial.connected(is_resumed);
        trial.begin(&client);
        (trial, client, events)
    }

    fn publish(topic: &str, qos: QoS, payload: &str) -> Publish {
        Publish::new(topic, qos, payload)
    }

    #[test]
    fn a_backlog_that_comes_first_delays_no_proof() {
        let (mut trial, client, _events) = trial(true);
        for topic in TOPICS {
            assert!(!trial.is_over());
            assert!(trial.hear(&publish(topic, QoS::AtMostOnce, "now")));
        }
        assert!(
            !trial.is_over(),
            "nothing came that wants an acknowledgement"
        );
        let kept = "fleet/v1/17/truck-001/telemetry";
        assert!(!trial.hear(&publish(kept, QoS::AtLeastOnce, "reading")));
        assert!(trial.is_over());
        assert!(trial.ping(&client).is_ok());
    }

    #[test]
    fn a_message_of_another_process_proves_nothing() {
        let (mut trial, _client, _events) = trial(false);
        for topic in TOPICS {
            assert!(trial.hear(&publish(topic, QoS::AtLeastOnce, "then")));
        }
        assert!(!trial.is_over());
        for topic in TOPICS {
            assert!(trial.hear(&publish(topic, QoS::AtLeastOnce, "now")));
        }
        assert!(trial.is_over());
    }

    #[test]
    fn silence_ends_the_wait_at_once_on_a_fresh_session_and_later_on_a_resumed_one() {
        for (is_resumed, patience) in [(false, SILENT_PINGS_FRESH), (true, SILENT_PINGS_RESUMED)] {
            let (mut trial, client, _events) = trial(is_resumed);
            let borne = (0..20).take_while(|_| trial.ping(&client).is_ok()).count();
            assert_eq!(borne, patience as usize - 1);
        }
    }

    #[test]
    fn a_filter_that_delivers_nothing_is_named_however_much_the_others_deliver() {
        let (mut trial, client, _events) = trial(false);
        let error = (0..PINGS_MAX).find_map(|_| {
            trial.hear(&publish(TOPICS[0], QoS::AtLeastOnce, "now"));
            trial.ping(&client).err()
        });
        match error {
            Some(LinkError::SelfTest(topic)) => assert_eq!(topic, TOPICS[1]),
            other => panic!("{other:?}"),
        }
    }
}
