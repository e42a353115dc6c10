use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::child::Child;
use super::keeper::{Login, Settings, line};
use super::*;
use crate::config::LoginFile;

/// What the broker's own test says that it understands.
const LINES: &str = include_str!("../../../../gateway-broker/tests/lines.jsonl");

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let tick = crossbeam_channel::tick(Duration::from_millis(10));
    for _ in 0..6000 {
        if let Some(found) = look() {
            return found;
        }
        tick.recv().unwrap();
    }
    panic!("{what} did not happen within a minute");
}

/// A program in place of the broker; it is called `broker` in the folder.
fn program(folder: &Path, script: &str) -> PathBuf {
    let file = folder.join("broker");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    file
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn is_gone(id: &str) -> bool {
    !Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn lines_are_those_that_the_broker_understands() {
    let settings = Settings {
        listen: "127.0.0.1:1884".parse().unwrap(),
        login: Some(Login {
            username: "display".to_owned(),
            password: "hunter2".to_owned(),
        }),
    };
    let messages = [
        Message::new("local/alerts/7", "{\"name\":\"\u{fc}ber\"}\n", false),
        Message::new("local/alerts/open", "[]", true),
    ];
    let mut all = line(&settings).unwrap();
    for message in &messages {
        all.extend(line(message).unwrap());
    }
    assert_eq!(String::from_utf8(all).unwrap(), LINES);
}

#[test]
fn a_broker_that_is_killed_is_started_again_and_told_what_is_retained() {
    let folder = tempfile::tempdir().unwrap();
    let [secret, ids, told] = ["secret", "ids", "told"].map(|name| folder.path().join(name));
    std::fs::write(&secret, "hunter2\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let (ids_name, told_name) = (ids.display(), told.display());
    let script = format!("echo $$ >> {ids_name}\nexec cat >> {told_name}");
    let mut broker = LocalBroker::start(&LocalBrokerConfig {
        listen: "127.0.0.1:1884".parse().unwrap(),
        login: Some(LoginFile {
            username: "display".to_owned(),
            password_file: secret,
        }),
        program: Some(program(folder.path(), &script)),
    })
    .unwrap();
    broker.tell("7", "{\"state\":\"raised\"}", false);
    broker.tell("8", "{\"state\":\"raised\"}", false);
    broker.tell("8", "{\"state\":\"closed\"}", true);
    broker.tell_open("[7]");
    until("the broker is told", || {
        (lines(&told).len() == 6).then_some(())
    });
    let first = lines(&ids).remove(0);
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{first}/{file}")).unwrap();
        assert!(
            !String::from_utf8_lossy(&text).contains("hunter2"),
            "{file}"
        );
    }
    let id = Pid::from_raw(first.parse().unwrap()).unwrap();
    kill_process(id, Signal::KILL).unwrap();
    let all = until("the next broker is told", || {
        let all = lines(&told);
        (all.len() == 9).then_some(all)
    });
    assert!(all[6].contains("hunter2"), "the settings come first");
    assert!(all[7].contains("local/alerts/7") && all[7].contains("raised"));
    assert!(all[8].contains("local/alerts/open") && all[8].contains("[7]"));
    let second = lines(&ids).remove(1);
    broker.close();
    assert!(is_gone(&first) && is_gone(&second));
}

#[test]
fn a_broker_that_takes_nothing_is_given_up_within_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &gate, fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    // It waits for somebody at the gate, and never reads what it is told.
    let script = format!("read line < {}", gate.display());
    let mut child = Child::start(&program(folder.path(), &script)).unwrap();
    let error = child.say(&vec![b'x'; 1024 * 1024], 20).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let status = child.reap().unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}
