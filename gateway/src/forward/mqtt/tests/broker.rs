//! A scripted MQTT 3.1.1 broker on a loopback port: what it does wrong is said per connection.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Packet kinds of a client.
pub(super) const CONNECT: u8 = 1;
pub(super) const PUBLISH: u8 = 3;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const PINGREQ: u8 = 12;
pub(super) const DISCONNECT: u8 = 14;

/// How one connection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As the specification says.
    Good,
    /// Closes when it has read so many packets of a kind, before answering the last.
    CloseAt(u8, usize),
    /// Answers a publish with bytes that are no packet.
    Garbage,
    /// Answers CONNECT and SUBSCRIBE and then nothing at all.
    Silent,
    /// Answers publishes only when so many wait, all at once.
    SlowAcks(usize),
    /// Acknowledges publishes and forgets them; closes after so many.
    Forgets(usize),
    /// Acknowledges a packet that was never sent.
    UnknownAck,
    /// Refuses the subscription.
    RefusesSubscription,
    /// Closes right after it has answered the first packet of a kind.
    CloseAfter(u8),
    /// Takes the connection and never says a word.
    Mute,
    /// Answers CONNECT with half a packet and keeps the other half.
    HalfAnswer,
    /// Answers CONNECT and no subscription.
    NoSubscription,
    /// Announces a long message and gives a byte of it for each packet that it gets.
    Drips,
    /// Answers a publish with a message longer than anybody takes.
    Oversize,
    /// With MQTT 5: takes no packet longer than this.
    TakesAtMost(u32),
    /// With MQTT 5: allows so many in flight and answers when so many wait.
    Allows(u16, usize),
    /// With MQTT 5: refuses the first publishes for want of quota.
    NoQuota(usize),
}

/// A message that the broker took and passes on.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    subscribers: Vec<(TcpStream, bool)>,
    /// The most publishes that waited for their answer at once.
    most_waiting: usize,
    /// Per connection: client id and packet kinds as they came in.
    seen: Vec<(String, Vec<u8>)>,
    wills: Vec<Vec<u8>>,
    /// What every subscriber gets first, whatever it subscribes to.
    retained: Vec<(String, Vec<u8>)>,
}

pub(super) struct Broker {
    pub(super) address: SocketAddr,
    pub(super) passed: Receiver<Passed>,
    ended: Receiver<()>,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Each main connection takes the next manner; when they run out, it is good. Alert connections
    /// are good unless `alert_too`.
    pub(super) fn start(manners: Vec<Manner>, alert_too: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (pass, passed) = bounded(100_000);
        let (end, ended) = bounded(1_000);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (all, stopped) = (shared.clone(), stop.clone());
        let manners = Arc::new(Mutex::new(manners));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let line = Line {
                    stream: stream.unwrap(),
                    pass: pass.clone(),
                    end: end.clone(),
                    shared: all.clone(),
                    manners: manners.clone(),
                    alert_too,
                };
                std::thread::spawn(move || line.run());
            }
        });
        Self {
            address,
            passed,
            ended,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Every further subscriber gets this first.
    pub(super) fn retain(&self, topic: &str, payload: &[u8]) {
        let mut shared = self.shared.lock().unwrap();
        shared.retained.push((topic.to_owned(), payload.to_vec()));
    }

    /// Publishes to every subscriber.
    pub(super) fn publish(&self, topic: &str, payload: &[u8]) {
        for (stream, is_v5) in &mut self.shared.lock().unwrap().subscribers {
            let packet = packet(0x30, &publish_body(topic, payload, *is_v5));
            // A subscriber may have gone: that is what the tests are about.
            stream.write_all(&packet).ok();
        }
    }

    /// Waits until so many connections have been read to their end.
    pub(super) fn wait_for_ends(&self, count: usize) {
        for _ in 0..count {
            self.ended.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    /// Client ids and packet kinds, connection by connection.
    pub(super) fn seen(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.lock().unwrap().seen.clone()
    }

    pub(super) fn most_waiting(&self) -> usize {
        self.shared.lock().unwrap().most_waiting
    }

    pub(super) fn wills(&self) -> Vec<Vec<u8>> {
        self.shared.lock().unwrap().wills.clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut len = body.len();
    loop {
        let digit = (len % 128) as u8;
        len /= 128;
        out.push(if len > 0 { digit | 0x80 } else { digit });
        if len == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn publish_body(topic: &str, payload: &[u8], is_v5: bool) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend(is_v5.then_some(0));
    body.extend_from_slice(payload);
    body
}

struct Line {
    stream: TcpStream,
    pass: Sender<Passed>,
    end: Sender<()>,
    shared: Arc<Mutex<Shared>>,
    manners: Arc<Mutex<Vec<Manner>>>,
    alert_too: bool,
}

impl Line {
    fn run(mut self) {
        // A connection that breaks ends its thread; the test looks at what came of it.
        self.serve().ok();
        self.stream.shutdown(Shutdown::Both).ok();
        self.end.send(()).ok();
    }

    fn serve(&mut self) -> std::io::Result<()> {
        let (first, connect) = self.read_packet()?;
        assert_eq!(first >> 4, CONNECT);
        let fields = Connect::parse(&connect);
        let index = {
            let mut shared = self.shared.lock().unwrap();
            shared.wills.extend(fields.will);
            shared.seen.push((fields.client_id.clone(), vec![CONNECT]));
            shared.seen.len() - 1
        };
        let mut manner = Manner::Good;
        if fields.client_id.ends_with("-m") || self.alert_too {
            let mut manners = self.manners.lock().unwrap();
            if !manners.is_empty() {
                manner = manners.remove(0);
            }
        }
        if manner == Manner::CloseAt(CONNECT, 1) {
            return Ok(());
        }
        let is_v5 = fields.is_v5;
        match manner {
            Manner::Mute => return self.listen(),
            Manner::HalfAnswer => {
                self.stream.write_all(&[0x20])?;
                return self.listen();
            }
            Manner::TakesAtMost(most) => {
                self.stream.write_all(&[0x20, 8, 0, 0, 5, 0x27])?;
                self.stream.write_all(&most.to_be_bytes())?;
            }
            Manner::Allows(most, _) => {
                let [high, low] = most.to_be_bytes();
                self.stream
                    .write_all(&[0x20, 6, 0, 0, 3, 0x21, high, low])?;
            }
            _ if is_v5 => self.stream.write_all(&[0x20, 3, 0, 0, 0])?,
            _ => self.stream.write_all(&[0x20, 2, 0, 0])?,
        }
        if manner == Manner::CloseAfter(CONNECT) {
            return Ok(());
        }
        let mut waiting: Vec<[u8; 2]> = Vec::new();
        let mut publishes = 0;
        loop {
            let (first, body) = self.read_packet()?;
            let kind = first >> 4;
            let count = {
                let mut shared = self.shared.lock().unwrap();
                let kinds = &mut shared.seen[index].1;
                kinds.push(kind);
                kinds.iter().filter(|k| **k == kind).count()
            };
            if manner == Manner::CloseAt(kind, count) {
                return Ok(());
            }
            match kind {
                SUBSCRIBE if manner == Manner::NoSubscription => {}
                SUBSCRIBE => {
                    let code = if manner == Manner::RefusesSubscription {
                        0x80
                    } else {
                        0
                    };
                    let answer = if is_v5 {
                        packet(0x90, &[body[0], body[1], 0, code])
                    } else {
                        packet(0x90, &[body[0], body[1], code])
                    };
                    self.stream.write_all(&answer)?;
                    let retained = self.shared.lock().unwrap().retained.clone();
                    for (topic, payload) in retained {
                        let body = publish_body(&topic, &payload, is_v5);
                        self.stream.write_all(&packet(0x31, &body))?;
                    }
                    let subscriber = (self.stream.try_clone()?, is_v5);
                    self.shared.lock().unwrap().subscribers.push(subscriber);
                    if manner == Manner::Drips {
                        // 100,000 bytes are to come.
                        self.stream.write_all(&[0x30, 0xA0, 0x8D, 0x06])?;
                    }
                }
                _ if manner == Manner::Drips => self.stream.write_all(&[0])?,
                PINGREQ if manner != Manner::Silent => self.stream.write_all(&[0xD0, 0])?,
                PUBLISH if manner == Manner::Silent => {}
                PUBLISH => {
                    publishes += 1;
                    let (passed, id) = parse_publish(&body, is_v5);
                    match manner {
                        Manner::Garbage => return self.stream.write_all(&[0xFF; 40]),
                        Manner::Oversize => {
                            let body = publish_body(&passed.topic, &[0; 200_000], is_v5);
                            // It may be gone before it has read all of it.
                            self.stream.write_all(&packet(0x30, &body)).ok();
                            return self.listen();
                        }
                        Manner::UnknownAck => return self.stream.write_all(&[0x40, 2, 0, 150]),
                        Manner::Forgets(max) => {
                            self.stream.write_all(&[0x40, 2, id[0], id[1]])?;
                            if publishes >= max {
                                return Ok(());
                            }
                        }
                        Manner::NoQuota(count) if publishes <= count => {
                            self.stream.write_all(&[0x40, 3, id[0], id[1], 0x97])?;
                        }
                        Manner::SlowAcks(min) | Manner::Allows(_, min) => {
                            self.pass.send(passed).ok();
                            waiting.push(id);
                            let mut shared = self.shared.lock().unwrap();
                            shared.most_waiting = shared.most_waiting.max(waiting.len());
                            drop(shared);
                            if waiting.len() >= min {
                                for id in waiting.drain(..) {
                                    self.stream.write_all(&[0x40, 2, id[0], id[1]])?;
                                }
                            }
                        }
                        _ => {
                            self.pass.send(passed).ok();
                            self.stream.write_all(&[0x40, 2, id[0], id[1]])?;
                        }
                    }
                }
                DISCONNECT => return Ok(()),
                _ => {}
            }
            if manner == Manner::CloseAfter(kind) {
                return Ok(());
            }
        }
    }

    /// Reads and says nothing until the other side has enough.
    fn listen(&mut self) -> std::io::Result<()> {
        loop {
            self.read_packet()?;
        }
    }

    fn read_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            len |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }
}

/// What the broker needs of a CONNECT packet.
struct Connect {
    is_v5: bool,
    client_id: String,
    will: Option<Vec<u8>>,
}

impl Connect {
    fn parse(body: &[u8]) -> Self {
        let flags = body[7];
        assert_eq!(flags & 0x02, 0x02, "clean session");
        let is_v5 = body[6] == 5;
        // Properties here and before the will are short.
        let skip = |rest: &[u8]| {
            if is_v5 { 1 + usize::from(rest[0]) } else { 0 }
        };
        let mut rest = &body[10..];
        rest = &rest[skip(rest)..];
        let client_id = String::from_utf8(field(&mut rest)).unwrap();
        let will = (flags & 0x04 != 0).then(|| {
            rest = &rest[skip(rest)..];
            field(&mut rest);
            field(&mut rest)
        });
        Self {
            is_v5,
            client_id,
            will,
        }
    }
}

fn field(rest: &mut &[u8]) -> Vec<u8> {
    let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let bytes = rest[2..2 + len].to_vec();
    *rest = &rest[2 + len..];
    bytes
}

fn parse_publish(body: &[u8], is_v5: bool) -> (Passed, [u8; 2]) {
    let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + len].to_vec()).unwrap();
    let passed = Passed {
        topic,
        // MQTT 5 has properties in front; ours has none.
        payload: body[4 + len + usize::from(is_v5)..].to_vec(),
    };
    (passed, [body[2 + len], body[3 + len]])
}
