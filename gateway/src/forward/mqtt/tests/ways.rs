//! The ways to a broker, end to end: MQTT 5, other brokers, a proxy, TLS, a websocket.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::front::{Authority, Front, Manners};
use super::*;
use crate::clock;
use crate::forward::transport::{Access, BrokerAddress, Keys, Login, Route, TimeFloor};

fn address_of(socket: std::net::SocketAddr) -> BrokerAddress {
    BrokerAddress {
        host: socket.ip().to_string(),
        port: socket.port(),
    }
}

/// A bench whose broker stands behind a front.
fn behind(
    manners: Vec<Manner>,
    front: Manners,
    rim: impl FnOnce(&mut MqttConfig),
) -> (Bench, Front) {
    let broker = Broker::start(manners, false);
    let front = Front::start(broker.address, front);
    let mut config = rim_config(&broker, 30);
    config.brokers = vec![address_of(front.address)];
    rim(&mut config);
    (Bench::over(broker, config, patient()), front)
}

fn years_around_the_build() -> [i32; 2] {
    let years = i32::try_from(clock::BUILD_UTC_MS / (365 * 86_400_000)).unwrap();
    [1970 + years - 2, 1970 + years + 3]
}

#[test]
fn mqtt_5_delivers_and_a_refusal_is_not_taken_for_an_answer() {
    let broker = Broker::start(vec![Manner::NoQuota(3)], false);
    let mut rim = rim_config(&broker, 30);
    rim.version = MqttVersion::V5;
    let mut bench = Bench::over(broker, rim, patient());
    bench.accept(40);
    bench.run_until("refusals", |bench| {
        bench.deliver.stats().counts.refused == 3
    });
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 1);
    assert_eq!(broker.wills().len(), 1);
}

#[test]
fn mqtt_5_keeps_the_receive_maximum_of_the_broker() {
    let broker = Broker::start(vec![Manner::Allows(10, 8)], false);
    let mut rim = rim_config(&broker, 30);
    rim.version = MqttVersion::V5;
    let mut bench = Bench::over(broker, rim, patient());
    bench.accept(200);
    bench.run_until("most of it", |bench| {
        let mut stored = bench.centre.database.stored.values();
        stored.any(|stored| stored.count() > 400)
    });
    assert_eq!(main_connections(&bench.broker), 1);
    assert!((8..=10).contains(&bench.broker.most_waiting()));
}

#[test]
fn the_next_broker_is_taken_when_the_first_gives_no_connection_and_left_when_it_is_back() {
    let first = Broker::start(vec![Manner::CloseAt(CONNECT, 1)], false);
    let second = Broker::start(Vec::new(), false);
    let mut rim = rim_config(&first, 30);
    rim.brokers.push(address_of(second.address));
    rim.return_ms = 200;
    let mut bench = Bench::over(second, rim, patient());
    bench.accept(20);
    bench.run_until("the second broker", |bench| {
        main_connections(&bench.broker) == 1
    });
    let count = |first: &Broker| main_connections(first);
    bench.run_until("the return", |_| count(&first) == 2);
    // From here on the centre listens at the first one.
    bench.broker = first;
    let first = bench.finish();
    assert_eq!(main_connections(&first), 2);
}

#[test]
fn a_proxy_lets_through_who_shows_the_password_and_is_asked_for_the_broker() {
    let front = Manners {
        proxy: Some("Proxy-Authorization: Basic dTpwYXNz".to_owned()),
        ..Manners::default()
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let (mut bench, front) = behind(Vec::new(), front, |rim| {
        rim.route.proxy = rim.brokers.pop();
        rim.brokers.push(BrokerAddress {
            host: "broker.example".to_owned(),
            port: 1883,
        });
        rim.access = Access::new(move || {
            let times = counter.fetch_add(1, Ordering::SeqCst);
            // The password is put right while the gateway runs.
            let password = if times < 2 { "wrong" } else { "pass" };
            Ok(Keys {
                proxy_login: Some(Login {
                    username: "u".to_owned(),
                    password: password.to_owned(),
                }),
                ..Keys::default()
            })
        });
    });
    bench.accept(20);
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 1);
    assert!(asked.load(Ordering::SeqCst) >= 4);
    let head = front.told.recv().unwrap();
    assert!(head.starts_with("CONNECT broker.example:1883 HTTP/1.1\r\nHost: "));
}

#[test]
fn both_sides_show_their_certificates_and_a_renewed_one_counts_at_the_next_connection() {
    let authority = Authority::new();
    let server = authority.sign("127.0.0.1", years_around_the_build());
    let own = authority.sign("truck-001", years_around_the_build());
    let front = Manners {
        tls: Some(authority.server(&server)),
        ..Manners::default()
    };
    let stranger = Authority::new();
    let foreign = stranger.bytes(Some(&own));
    let (without, with) = (authority.bytes(None), authority.bytes(Some(&own)));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let (mut bench, front) = behind(Vec::new(), front, |rim| {
        rim.route.tls = true;
        // A machine that starts in 1970.
        rim.floor = TimeFloor::with_clock(|| 0);
        rim.access = Access::new(move || {
            let tls = match counter.fetch_add(1, Ordering::SeqCst) {
                0..2 => foreign.clone(),
                2..4 => without.clone(),
                _ => with.clone(),
            };
            Ok(Keys {
                tls,
                ..Keys::default()
            })
        });
    });
    bench.accept(20);
    let broker = bench.finish();
    assert_eq!(main_connections(&broker), 1);
    assert!(asked.load(Ordering::SeqCst) >= 6);
    let told: Vec<String> = front.told.try_iter().collect();
    let count = |words: &str| told.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("received fatal alert"), 2, "{told:?}");
    assert_eq!(count("no certificates"), 2, "{told:?}");
}

#[test]
fn a_certificate_that_is_over_or_not_yet_valid_is_refused() {
    let [first, last] = years_around_the_build();
    for years in [[first - 3, first - 1], [last + 40, last + 41]] {
        let authority = Authority::new();
        let server = authority.sign("127.0.0.1", years);
        let own = authority.sign("truck-001", years);
        let front = Manners {
            tls: Some(authority.server(&server)),
            ..Manners::default()
        };
        let bytes = authority.bytes(Some(&own));
        let (bench, front) = behind(Vec::new(), front, |rim| {
            rim.route.tls = true;
            rim.access = Access::new(move || {
                Ok(Keys {
                    tls: bytes.clone(),
                    ..Keys::default()
                })
            });
        });
        for _ in 0..4 {
            let told = front.told.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(told.contains("ertificate"), "{told}");
        }
        assert_eq!(main_connections(&bench.broker), 0);
    }
}

#[test]
fn a_websocket_carries_mqtt_in_pieces_with_and_without_tls() {
    let authority = Authority::new();
    let server = authority.sign("127.0.0.1", years_around_the_build());
    let own = authority.sign("truck-001", years_around_the_build());
    for tls in [false, true] {
        let front = Manners {
            websocket: true,
            tls: tls.then(|| authority.server(&server)),
            ..Manners::default()
        };
        let bytes = authority.bytes(Some(&own));
        let (mut bench, _front) = behind(vec![Manner::CloseAt(PUBLISH, 5)], front, |rim| {
            rim.route = Route {
                tls,
                websocket: Some("/way".to_owned()),
                proxy: None,
            };
            rim.access = Access::new(move || {
                Ok(Keys {
                    tls: bytes.clone(),
                    ..Keys::default()
                })
            });
        });
        bench.accept(60);
        let broker = bench.finish();
        assert_eq!(main_connections(&broker), 2);
        broker.wait_for_ends(3);
        let (_, kinds) = broker.seen().pop().unwrap();
        assert!(kinds.contains(&DISCONNECT) || broker.seen().len() > 2);
    }
}
