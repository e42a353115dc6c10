//! The shipped configurations of Mosquitto and NATS: certificates for everybody, and each may do only its own.
//!
//! The files are those of `central/brokers`, with their paths and ports put into the test's folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use firmware_shared::topic::{self, Leaf};
use libtest_mimic::Trial;
use rumqttc::{
    Client, Connection, Event, MqttOptions, Packet, QoS, SubscribeReasonCode, TlsConfiguration,
    Transport,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::authority::Authority;
use tests::broker::{Broker, Kind};
use tests::fleet::{Centre, CentreSetup, PATIENCE};
use tests::link::free_port;
use tests::store::Store;
use tests::wait;

use crate::database::frames;
use crate::needs::{self, Peers};
use crate::world::central;

pub(crate) fn trials() -> Vec<Trial> {
    let over = |kind, name: &str| {
        needs::peers(
            &format!("access::over_{name}_a_device_speaks_and_hears_only_for_itself"),
            Some(kind),
            false,
            each_its_own,
        )
    };
    vec![
        over(Kind::Mosquitto, "mosquitto"),
        over(Kind::Nats, "nats"),
        needs::peers(
            "access::an_ingest_to_which_the_broker_delivers_nothing_refuses_to_run",
            Some(Kind::Mosquitto),
            false,
            deaf,
        ),
    ]
}

fn transport(authority: &Authority, common_name: Option<&str>) -> anyhow::Result<Transport> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(
        authority.folder().join("ca.crt"),
    )?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match common_name {
        None => builder.with_no_client_auth(),
        Some(name) => builder.with_client_auth_cert(
            vec![CertificateDer::from_pem_file(
                authority.folder().join(format!("{name}.crt")),
            )?],
            PrivateKeyDer::from_pem_file(authority.folder().join(format!("{name}.key")))?,
        )?,
    };
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(
        Arc::new(config),
    )))
}
/// The shipped file with places of this test.
fn shipped(file: &str, places: &[(&str, String)]) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../central/brokers")
        .join(file);
    let mut text = std::fs::read_to_string(&path).with_context(|| file.to_owned())?;
    for (from, to) in places {
        anyhow::ensure!(text.contains(from), "{file} does not say {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Starts the broker with the shipped configuration.
fn broker(kind: Kind, program: &Path, folder: &Path) -> anyhow::Result<Broker> {
    let (port, place) = (free_port()?, folder.join("broker"));
    std::fs::create_dir_all(&place)?;
    let tls = format!("{}/", folder.join("tls").display());
    let config = match kind {
        Kind::Mosquitto => {
            std::fs::write(place.join("fleet.acl"), shipped("mosquitto.acl", &[])?)?;
            let store = place.join("store");
            std::fs::create_dir_all(&store)?;
            let text = shipped(
                "mosquitto.conf",
                &[
                    ("listener 8883", format!("listener {port} 127.0.0.1")),
                    ("/etc/fleet/", tls),
                    (
                        "/etc/mosquitto/fleet.acl",
                        place.join("fleet.acl").display().to_string(),
                    ),
                    ("/var/lib/mosquitto/", format!("{}/", store.display())),
                ],
            )?;
            format!("user root\n{text}")
        }
        Kind::Nats => {
            let script =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../central/brokers/nats-device");
            let output = std::process::Command::new(script)
                .args(["truck-001", "truck-002"])
                .output()?;
            anyhow::ensure!(output.status.success(), "nats-device: {output:?}");
            std::fs::write(place.join("devices.conf"), output.stdout)?;
            shipped(
                "nats.conf",
                &[
                    ("127.0.0.1:4222", format!("127.0.0.1:{}", free_port()?)),
                    ("0.0.0.0", "127.0.0.1".to_owned()),
                    ("port: 8883", format!("port: {port}")),
                    ("/etc/fleet/", tls),
                    (
                        "/var/lib/nats/jetstream",
                        place.join("jetstream").display().to_string(),
                    ),
                ],
            )?
        }
    };
    Broker::with_config(kind, program, &place, port, &config)
}

/// A centre with its certificate, not started.
fn centre(folder: &Path, port: u16) -> anyhow::Result<Centre> {
    let tls = folder.join("tls");
    let setup = CentreSetup {
        broker: format!(
            "mode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}\nca_file = \"{0}/ca.crt\"\n\
             cert_file = \"{0}/fleet-central.crt\"\nkey_file = \"{0}/fleet-central.key\"\n",
            tls.display()
        ),
        ..CentreSetup::default()
    };
    Centre::new(central(), &folder.join("centre"), port, &setup)
}

/// A device as the broker sees it. Connects again when it is thrown out.
struct Peer<'a> {
    authority: &'a Authority,
    name: &'static str,
    port: u16,
    filters: Vec<String>,
    client: Client,
    connection: Connection,
    heard: Vec<(String, Vec<u8>)>,
    lives: u32,
}

impl<'a> Peer<'a> {
    fn connect(authority: &'a Authority, name: &'static str, port: u16) -> anyhow::Result<Self> {
        let (client, connection) = open(authority, name, port, 0)?;
        let mut peer = Self {
            authority,
            name,
            port,
            filters: Vec::new(),
            client,
            connection,
            heard: Vec::new(),
            lives: 0,
        };
        peer.wait_for("CONNACK", |event| {
            matches!(event, Event::Incoming(Packet::ConnAck(_)))
        })?;
        Ok(peer)
    }

    fn topic(&self, leaf: Leaf<'_>) -> String {
        topic::topic(topic::PREFIX_DEFAULT, &self.name.parse().unwrap(), leaf)
            .unwrap()
            .to_string()
    }

    /// Subscribes; `false` when the broker refuses in so many words or hangs up.
    fn subscribe(&mut self, filter: &str) -> anyhow::Result<bool> {
        self.client.subscribe(filter, QoS::AtMostOnce)?;
        let mut granted = false;
        let lives = self.lives;
        self.wait_for("SUBACK", |event| match event {
            Event::Incoming(Packet::SubAck(ack)) => {
                granted = ack
                    .return_codes
                    .iter()
                    .all(|c| *c != SubscribeReasonCode::Failure);
                true
            }
            Event::Incoming(Packet::ConnAck(_)) => true,
            _ => false,
        })?;
        if granted && lives == self.lives {
            self.filters.push(filter.to_owned());
        }
        Ok(granted)
    }

    /// Publishes, and waits until the broker has answered or hung up.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)?;
        self.wait_for("PUBACK", |event| {
            matches!(
                event,
                Event::Incoming(Packet::PubAck(_) | Packet::ConnAck(_))
            )
        })
    }

    fn wait_for(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> anyhow::Result<()> {
        let begin = wait::now();
        while begin.elapsed() < PATIENCE {
            let event = match self.connection.recv_timeout(Duration::from_millis(200)) {
                Ok(Ok(event)) => event,
                Ok(Err(_)) => {
                    // Thrown out: a fresh client, with what it was allowed to hear.
                    self.lives += 1;
                    anyhow::ensure!(
                        self.lives < 50,
                        "{} is thrown out again and again",
                        self.name
                    );
                    (self.client, self.connection) =
                        open(self.authority, self.name, self.port, self.lives)?;
                    for filter in &self.filters {
                        self.client.subscribe(filter, QoS::AtMostOnce)?;
                    }
                    continue;
                }
                Err(_) => continue,
            };
            if let Event::Incoming(Packet::Publish(publish)) = &event {
                self.heard
                    .push((publish.topic.clone(), publish.payload.to_vec()));
            }
            if wanted(&event) {
                return Ok(());
            }
        }
        anyhow::bail!("{} waits in vain for {what}", self.name)
    }

    /// Waits for the next message on a topic.
    fn hear(&mut self, topic: &str) -> anyhow::Result<()> {
        let is_it = |event: &Event| matches!(event, Event::Incoming(Packet::Publish(publish)) if publish.topic == topic);
        self.wait_for(topic, is_it)
    }
}

fn open(
    authority: &Authority,
    name: &str,
    port: u16,
    life: u32,
) -> anyhow::Result<(Client, Connection)> {
    let mut options = MqttOptions::new(format!("{name}-{life}"), "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(30));
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    options.set_transport(transport(authority, Some(name))?);
    Ok(Client::new(options, 16))
}

fn each_its_own(peers: &Peers) -> anyhow::Result<()> {
    let (kind, program) = peers.broker.clone().context("no broker")?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(&folder.path().join("tls"))?;
    for name in [
        "broker",
        "fleet-central",
        "truck-001",
        "truck-002",
        "stranger",
    ] {
        authority.issue(name)?;
    }
    let broker = broker(kind, &program, folder.path())?;
    let mut centre = centre(folder.path(), broker.port())?;
    // Starting includes the self-test: everything that an ingest needs is allowed.
    centre.start()?;
    let (topic_a, frames_a) = frames("truck-001")?;
    let (topic_b, frames_b) = frames("truck-002")?;
    let mut a = Peer::connect(&authority, "truck-001", broker.port())?;
    let mut b = Peer::connect(&authority, "truck-002", broker.port())?;
    let (ack_a, ack_b) = (a.topic(Leaf::Ack), b.topic(Leaf::Ack));
    anyhow::ensure!(
        a.subscribe(&ack_a)? && b.subscribe(&ack_b)?,
        "own acknowledgements"
    );

    // What A must not do: speak as B, hear B, forge an acknowledgement or a command, even to itself.
    let all_acks = "fleet/v1/+/+/ack";
    for filter in [
        ack_b.as_str(),
        all_acks,
        "fleet/v1/+/truck-002/#",
        "#",
        topic_b.as_str(),
    ] {
        a.subscribe(filter)?;
    }
    a.publish(&topic_b, &frames_b[1])?;
    let forged = b"forged";
    for topic in [
        &ack_b,
        &ack_a,
        &b.topic(Leaf::Cmd("stop")),
        &a.topic(Leaf::Cmd("stop")),
    ] {
        a.publish(topic, forged)?;
    }
    // What each may do.
    b.publish(&topic_b, &frames_b[0])?;
    b.hear(&ack_b)?;
    a.publish(&topic_a, &frames_a[0])?;
    a.hear(&ack_a)?;

    let stored = |device: &str| -> anyhow::Result<i64> {
        let sql = "SELECT count(*) FROM readings WHERE device = ?1";
        Store::at(centre.place())?.number_of(sql, device)
    };
    anyhow::ensure!(stored("truck-001")? == 30, "A's own frame is not stored");
    anyhow::ensure!(
        stored("truck-002")? == 30,
        "the frame that A sent as B is stored"
    );
    for (name, heard, own) in [("A", &a.heard, &ack_a), ("B", &b.heard, &ack_b)] {
        anyhow::ensure!(!heard.is_empty());
        let foreign: Vec<_> = heard.iter().filter(|(topic, _)| topic != own).collect();
        anyhow::ensure!(foreign.is_empty(), "{name} hears {foreign:?}");
        let is_forged = heard.iter().any(|(_, payload)| payload == forged);
        anyhow::ensure!(!is_forged, "{name} hears a forged acknowledgement");
    }
    // Without a certificate, or with one that nobody knows, there is no way in.
    for name in [None, Some("stranger")] {
        refused(&authority, name, broker.port(), kind)?;
    }
    Ok(())
}

/// Whoever is not of the fleet is not let in, or may at least do nothing.
fn refused(authority: &Authority, name: Option<&str>, port: u16, kind: Kind) -> anyhow::Result<()> {
    let mut options = MqttOptions::new("nobody", "127.0.0.1", port);
    options.set_transport(transport(authority, name)?);
    let (client, mut connection) = Client::new(options, 16);
    let (topic, frames) = frames("truck-002")?;
    client.publish(&topic, QoS::AtLeastOnce, false, frames[1].clone())?;
    let begin = wait::now();
    while begin.elapsed() < PATIENCE {
        match connection.recv_timeout(Duration::from_millis(200)) {
            Ok(Err(_)) => return Ok(()),
            // Mosquitto knows the authority; a stranger is a device without data, whose publish is thrown away.
            Ok(Ok(Event::Incoming(Packet::PubAck(_))))
                if kind == Kind::Mosquitto && name.is_some() =>
            {
                return Ok(());
            }
            Ok(Ok(Event::Incoming(Packet::PubAck(_)))) => anyhow::bail!("{name:?} was let in"),
            _ => {}
        }
    }
    anyhow::bail!("{name:?} was neither let in nor refused")
}

fn deaf(peers: &Peers) -> anyhow::Result<()> {
    let (kind, program) = peers.broker.clone().context("no broker")?;
    let folder = tempfile::tempdir()?;
    let acl = folder.path().join("acl");
    // Mosquitto grants every subscription and delivers only what may be read.
    std::fs::write(
        &acl,
        "topic write fleet/#\ntopic read fleet/v1/+/+/status\n",
    )?;
    let more = format!("acl_file {}\n", acl.display());
    let broker = Broker::start(kind, &program, &folder.path().join("broker"), &more)?;
    let centre = Centre::external(central(), &folder.path().join("centre"), broker.port())?;
    let mut process = centre.launch()?;
    let status = process.wait(PATIENCE)?;
    let log = process.log_tail();
    anyhow::ensure!(status.code() == Some(1), "ended with {status}:\n{log}");
    anyhow::ensure!(
        log.contains("refuses to run") && log.contains("telemetry"),
        "{log}"
    );
    Ok(())
}
