use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::archive::on_path;

fn remote(host: &str) -> Remote {
    Remote {
        host: host.to_owned(),
        ssh_config: Some("/tmp/config".into()),
        bus: "/dev/i2c-1".to_owned(),
    }
}

fn words(command: &Command) -> Vec<String> {
    command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

const OPTIONS: [&str; 8] = [
    "-F",
    "/tmp/config",
    "-o",
    "BatchMode=yes",
    "-o",
    "ExitOnForwardFailure=yes",
    "-o",
    "ServerAliveInterval=5",
];

#[test]
fn a_line_for_the_board_is_one_word_behind_the_host() {
    let found = words(&remote("pi@board").call("uname -m; ls '/dev'"));
    let expected = [&OPTIONS[..], &["--", "pi@board", "uname -m; ls '/dev'"]].concat();
    assert_eq!(found, expected);
}

#[test]
fn a_host_that_looks_like_an_option_is_none() {
    let found = words(&remote("-oProxyCommand=x").call("true"));
    let dashes = found.iter().position(|word| word == "--").unwrap();
    assert_eq!(found[dashes + 1], "-oProxyCommand=x");
}

#[test]
fn a_tunnel_goes_from_loopback_to_loopback() {
    let found = words(&remote("pi@board").tunnel(0, 1883));
    let expected = [
        &OPTIONS[..],
        &["-N", "-R", "127.0.0.1:0:127.0.0.1:1883", "--", "pi@board"],
    ]
    .concat();
    assert_eq!(found, expected);
}

#[test]
fn a_word_stays_one_word_whatever_is_in_it() {
    for word in ["plain", "with space", "don't; rm -rf $HOME", "`x`"] {
        let output = Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(word))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), word);
    }
}

#[test]
fn the_port_that_the_board_chose_is_heard() {
    let said = "Warning: added\nAllocated port 41234 for remote forward to 127.0.0.1:1883\n";
    assert_eq!(allocated(said.as_bytes()).unwrap(), 41234);
    let error = allocated("remote port forwarding failed\n".as_bytes()).unwrap_err();
    assert!(error.to_string().contains("forwarding failed"), "{error}");
}

/// A daemon of ours on loopback, with keys of its own.
struct Daemon {
    _daemon: Held,
    _folder: tempfile::TempDir,
    remote: Remote,
}

impl Daemon {
    /// `None` where there is no sshd; a failure in CI.
    fn start() -> Option<Self> {
        if !on_path("sshd") || !on_path("ssh-keygen") {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "sshd is not installed"
            );
            eprintln!("skipped: sshd is not installed (Debian package openssh-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(name)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        std::fs::copy(at("user.pub"), at("authorized")).unwrap();
        // A daemon without privileges refuses to run as root without this folder.
        std::fs::create_dir_all("/run/sshd").ok();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            at("host"),
            at("authorized")
        );
        std::fs::write(at("sshd_config"), text).unwrap();
        let program = if Path::new("/usr/sbin/sshd").exists() {
            "/usr/sbin/sshd"
        } else {
            "sshd"
        };
        let daemon = Command::new(program)
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stderr(File::create(at("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Held(daemon);
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let config = format!(
            "Host board\n HostName 127.0.0.1\n Port {port}\n User {user}\n IdentityFile {}\n \
             IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile {}\n",
            at("user"),
            at("known")
        );
        std::fs::write(at("config"), config).unwrap();
        let remote = Remote {
            host: "board".to_owned(),
            ssh_config: Some(at("config").into()),
            bus: String::new(),
        };
        wait_for("sshd", PATIENCE, || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })
        .unwrap();
        Some(Self {
            _daemon: daemon,
            _folder: folder,
            remote,
        })
    }
}

#[test]
fn over_a_real_ssh_lines_run_files_arrive_and_a_tunnel_leads_here() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    let remote = &daemon.remote;
    assert_eq!(remote.run("printf 'a b'; echo").unwrap(), "a b");
    let error = remote.run("echo why >&2; exit 3").unwrap_err().to_string();
    assert!(error.contains("why") && error.contains('3'), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, [0, 159, 10, 13]).unwrap();
    let name = format!("test-{}", std::process::id());
    remote.run(&format!("mkdir -p {FOLDER}")).unwrap();
    remote.copy(&file, &name, 0o700).unwrap();
    let seen = remote
        .run(&format!(
            "stat -c %a {FOLDER}/{name}; od -An -tu1 {FOLDER}/{name}; rm {FOLDER}/{name}; rmdir {FOLDER}"
        ))
        .unwrap();
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["700", "0", "159", "10", "13"]
    );

    let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = broker.local_addr().unwrap().port();
    let tunnel = Tunnel::open(remote, 0, port).unwrap();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, tunnel.board_port)).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut served, _) = broker.accept().unwrap();
    let mut bytes = [0; 5];
    served.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    let board_port = tunnel.board_port;
    drop(tunnel);
    wait_for("the end of the tunnel", PATIENCE, || {
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, board_port))
            .is_err()
            .then_some(()))
    })
    .unwrap();
}
