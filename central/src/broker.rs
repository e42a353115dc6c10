//! The only file that names rumqttd: a broker inside this process, for one box and for tests.
//!
//! Promises: MQTT 3.1.1 on one address, payloads up to 128 KiB, memory bounded per topic filter, its own
//! threads; when it ends, the caller hears of it. Never: ingest's data in its hands; it has no persistence,
//! no TLS and no access control.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, SegmentConfig, ServerSettings};

const PAYLOAD_LEN_MAX: usize = 128 * 1024;
const CONNECTIONS_MAX: usize = 10_000;
/// Two segments of this size per filter that only one device reads (its acks): what is consumed stays
/// until a segment is full, so this times the number of devices is memory.
const DEVICE_SEGMENT_LEN: usize = 64 * 1024;
/// Two segments of this size per filter of the centre: a burst of the whole fleet must fit, for what
/// overflows comes only when the devices send it again.
const FLEET_SEGMENT_LEN: usize = 8 * 1024 * 1024;
const SEGMENTS: usize = 2;
const START_STEP_MS: u64 = 10;
const START_STEPS_MAX: u32 = 500;

/// A running broker.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Closes when it has ended.
    pub(crate) ended: Receiver<()>,
}

/// Starts a broker on the address (port 0: one that is free) and waits until it listens. `filters` are
/// those of the centre.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn start(listen: SocketAddr, filters: &[String]) -> io::Result<Embedded> {
    // The broker neither reports a failed bind nor the port that it got, so both are found out here.
    let address = TcpListener::bind(listen)?.local_addr()?;
    let config = config(address, filters);
    let (alive, ended) = bounded::<()>(0);
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            let _alive = alive;
            if let Err(error) = Broker::new(config).start() {
                tracing::error!(%error, "the broker cannot start");
            }
        })?;
    for _ in 0..START_STEPS_MAX {
        if TcpStream::connect(address).is_ok() {
            return Ok(Embedded { address, ended });
        }
        if ended.recv_timeout(Duration::from_millis(START_STEP_MS))
            != Err(RecvTimeoutError::Timeout)
        {
            break;
        }
    }
    Err(io::Error::other(format!(
        "the broker does not listen on {address}"
    )))
}

fn config(listen: SocketAddr, filters: &[String]) -> Config {
    let fleet = SegmentConfig {
        max_segment_size: FLEET_SEGMENT_LEN,
        max_segment_count: SEGMENTS,
    };
    let server = ServerSettings {
        name: "mqtt".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: PAYLOAD_LEN_MAX,
            max_inflight_count: 200,
            auth: None,
            external_auth: None,
            dynamic_filters: false,
        },
    };
    Config {
        id: 0,
        router: RouterConfig {
            max_connections: CONNECTIONS_MAX,
            max_outgoing_packet_count: 200,
            max_segment_size: DEVICE_SEGMENT_LEN,
            max_segment_count: SEGMENTS,
            custom_segment: Some(
                filters
                    .iter()
                    .map(|filter| (filter.clone(), fleet.clone()))
                    .collect(),
            ),
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("mqtt".to_owned(), server)])),
        ..Config::default()
    }
}
