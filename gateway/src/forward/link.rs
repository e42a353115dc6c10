//! What passes between the delivery core and the rim that holds the connections.

use firmware_shared::topic::Topic;

/// The connections of a gateway: alerts never wait for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Connection {
    /// Telemetry, health, status; acknowledgements come in here.
    Main,
    /// Alerts.
    Alert,
}

/// One life of a connection. What belongs to an earlier life is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// Counts up with every life.
    pub number: u64,
}

/// The rim tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A connection lives; on [`Connection::Main`] the ack topic is subscribed.
    Connected(Session),
    /// The broker of this life takes at most so many messages unanswered.
    Limited {
        /// The life.
        session: Session,
        /// Messages in flight at most.
        in_flight_max: usize,
    },
    /// It is gone with everything that was in flight.
    Disconnected(Session),
    /// The attempt that a hurried link made at once, with every broker, gave no connection.
    Unreachable(Connection),
    /// The broker took a message. That is all it says.
    PubAck {
        /// Where it was published.
        session: Session,
        /// The command's token.
        token: u64,
    },
    /// The broker refuses a message and says why; it has not taken it.
    Refused {
        /// Where it was published.
        session: Session,
        /// The command's token.
        token: u64,
        /// Its words.
        reason: String,
    },
    /// A message is longer than the broker may take; it was not sent.
    TooLarge {
        /// Where it was to be published.
        session: Session,
        /// The command's token.
        token: u64,
    },
    /// A message on the topic of profiles.
    Profile {
        /// Its bytes, from anybody.
        payload: Vec<u8>,
    },
    /// A message on the ack topic.
    Received {
        /// Its bytes, from anybody.
        payload: Vec<u8>,
    },
}

/// The core asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkCommand {
    /// Publish with QoS 1.
    Publish {
        /// Where; void when this life is over.
        session: Session,
        /// Comes back in the event.
        token: u64,
        /// The topic.
        topic: Topic,
        /// The very bytes.
        payload: Vec<u8>,
    },
    /// The broker answers nothing although the connection lives: end this life.
    Reconnect {
        /// Which.
        session: Session,
    },
}

impl LinkCommand {
    /// The life that the command is for.
    #[must_use]
    pub fn session(&self) -> Session {
        match self {
            Self::Publish { session, .. } | Self::Reconnect { session } => *session,
        }
    }
}
