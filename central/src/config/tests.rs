use std::os::unix::fs::PermissionsExt;

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    std::fs::write(&file, text).unwrap();
    load(&file).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    let sentence = parse(text).unwrap_err();
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(sentence.contains("fleet.toml"), "{sentence}");
    sentence
}

#[test]
fn a_path_is_all_that_must_be_said() {
    let config = parse("[database]\npath = \"fleet.sqlite\"\n").unwrap();
    assert_eq!(config.prefix, "fleet/v1");
    let Place::Sqlite(path) = &config.database.place else {
        panic!("{:?}", config.database.place);
    };
    assert!(path.is_absolute(), "{}", path.display());
    assert!(path.ends_with("fleet.sqlite"));
    assert_eq!(config.ingest.buckets, Buckets::ALL);
    assert_eq!(config.database.retention_days, 0);
    assert_eq!(config.ingest.commit_ms_max, 20);
    assert_eq!(config.broker.reach().host, "127.0.0.1");
    assert_eq!(config.broker.reach().port, 1883);
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    for text in [
        "[database]\npath = \"a\"\nretention_days = 9\nkeep_sealed_bytes = true\n[broker]\nlisten = \"127.0.0.1:99\"\n",
        "[database]\npath = \"a\"\n[broker]\nmode = \"external\"\nhost = \"h\"\nprefix = \"x/y\"\n[ingest]\nack_period_ms = 200\n",
        "[database]\nurl = \"postgresql://fleet@127.0.0.1:5433/fleet\"\n[ingest]\nbuckets = \"08-1f\"\n",
    ] {
        let config = parse(text).unwrap();
        assert_eq!(parse(&effective(&config).unwrap()).unwrap(), config);
    }
}

#[test]
fn a_refusal_names_key_value_and_what_is_allowed() {
    for (text, words) in [
        (
            "[database]\npth = \"a\"\n",
            vec!["line 2", "pth", "expected", "`path`"],
        ),
        (
            "[database]\npath = 7\n",
            vec!["line 2", "path = 7", "string"],
        ),
        ("[broker]\nlisten = \"127.0.0.1:1\"\n", vec!["database"]),
        (
            "[database]\npath = \"a\"\nurl = \"postgresql://h/d\"\n",
            vec!["database.path", "instead of it"],
        ),
        (
            "[database]\nurl = \"postgresql://u:secret@h/d\"\n",
            vec!["database.url", "password_file"],
        ),
        (
            "[database]\npath = \"a\"\n[ingest]\nbuckets = \"20-1f\"\n",
            vec!["ingest.buckets", "20-1f", "00-3f"],
        ),
        (
            "[database]\npath = \"a\"\n[ingest]\nbuckets = \"00-40\"\n",
            vec!["ingest.buckets", "00-40"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nmode = \"clustered\"\n",
            vec!["clustered", "embedded", "external"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nlisten = \"0.0.0.0:1883\"\n",
            vec!["broker.listen", "0.0.0.0:1883", "allow_remote = true"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nlisten = \"here\"\n",
            vec!["broker.listen", "here", "127.0.0.1:1883"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nhost = \"h\"\n",
            vec!["broker.host", "\"h\"", "external"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nprefix = \"a/+\"\n",
            vec!["broker.prefix", "a/+", "levels"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nmode = \"external\"\n",
            vec!["broker.host", "host name"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nmode = \"external\"\nhost = \"h\"\nusername = \"u\"\n",
            vec!["broker.username", "password_file"],
        ),
        (
            "[database]\npath = \"a\"\n[ingest]\ncommit_ms_max = 0\n",
            vec!["ingest.commit_ms_max", "0", "1 to 1000"],
        ),
        (
            "[database]\npath = \"a\"\n[ingest]\nack_period_ms = 60000\n",
            vec!["ingest.ack_period_ms", "60000", "30000"],
        ),
        (
            "[database]\npath = \"a\"\nretention_days = -1\n",
            vec!["retention_days = -1", "u32"],
        ),
    ] {
        let sentence = refusal(text);
        for word in words {
            assert!(sentence.contains(word), "{sentence:?} lacks {word:?}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let sentence = load(Path::new("/no/such/fleet.toml"))
        .unwrap_err()
        .to_string();
    assert!(sentence.contains("/no/such/fleet.toml"), "{sentence}");
}

#[test]
fn listening_beyond_loopback_must_be_asked_for() {
    let text =
        "[database]\npath = \"a\"\n[broker]\nlisten = \"0.0.0.0:1883\"\nallow_remote = true\n";
    let config = parse(text).unwrap();
    assert_eq!(config.broker.reach().host, "127.0.0.1");
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let text = format!(
        "[database]\npath = \"a\"\n[broker]\nmode = \"external\"\nhost = \"h\"\nusername = \"u\"\npassword_file = {secret:?}\n"
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
    let sentence = refusal(&text);
    assert!(
        sentence.contains("640") && sentence.contains("mode 600"),
        "{sentence}"
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let Broker::External(external) = parse(&text).unwrap().broker else {
        panic!("not external");
    };
    assert_eq!(external.login.unwrap().password().unwrap(), "hush");
}

const GROUP: &str = "[[group]]\nname = \"cold\"\ndevices = [\"truck-*\"]\n";

#[test]
fn a_wrong_route_group_or_desk_is_refused_with_its_place_its_value_and_what_is_allowed() {
    let webhook = |more: &str| {
        format!(
            "[[route]]\nname = \"w\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n{more}\n"
        )
    };
    let smtp = |more: &str| format!("[[route]]\nname = \"m\"\nkind = \"smtp\"\n{more}\n");
    let full =
        "host = \"h\"\ntls = \"none\"\nfrom = \"desk@example.org\"\nto = [\"ann@example.org\"]\n";
    for (text, words) in [
        (
            webhook("").replace("\"w\"", "\"W W\""),
            ["route.name", "W W", "1 to 32 of a-z"],
        ),
        (
            webhook("") + &webhook(""),
            ["route.name", "\"w\"", "each name once"],
        ),
        (
            webhook("").replace("webhook", "pager"),
            ["line", "pager", "`webhook`"],
        ),
        (
            webhook("").replace("http:", "ftp:"),
            ["route.url", "ftp://127.0.0.1:1/", "https://host:port/path"],
        ),
        (
            webhook("").replace("127", "u:secret@127"),
            ["route.url", "(with a user)", "without a password"],
        ),
        (
            webhook("severity = \"loud\""),
            ["line", "loud", "`critical`"],
        ),
        (
            webhook("kinds = [\"\"]"),
            ["route.kinds", "\"\"", "limit_*"],
        ),
        (
            webhook("groups = [\"warm\"]"),
            ["route.groups", "warm", "[[group]]"],
        ),
        (
            webhook("transitions = [\"gone\"]"),
            ["route.transitions", "gone", "acknowledged"],
        ),
        (
            webhook("timeout_ms = 1"),
            ["route.timeout_ms", "1", "100 to 60000"],
        ),
        (
            webhook("schedule = [\"someday\"]"),
            ["route.schedule", "someday", "mon-fri 06:00-22:00"],
        ),
        (
            webhook("schedule = [\"mon 06:00-22:00\"]\ntimezone = \"Mars/Base\""),
            ["route.timezone", "Mars/Base", "Europe/Berlin"],
        ),
        (
            webhook("timezone = \"UTC\""),
            ["route.timezone", "UTC", "only with schedule"],
        ),
        (webhook("port = 25"), ["route.port", "25", "only for smtp"]),
        (
            webhook("key_file = \"none\""),
            ["route.key_file", "none", "a readable file"],
        ),
        (webhook("ulr = \"x\""), ["line", "ulr", "`url`"]),
        (
            webhook("").replace("http:", "https:") + "ca_file = \"none.pem\"\n",
            ["route.ca_file", "none.pem", "a readable file"],
        ),
        (
            "[[route]]\nname = \"b\"\nkind = \"mqtt\"\nurl = \"http://h/\"\n".to_owned(),
            ["route.url", "http://h/", "only for a webhook"],
        ),
        (
            smtp(""),
            ["route.host", "\"\"", "the name of a mail server"],
        ),
        (
            smtp(&full.replace("desk@example.org", "desk")),
            ["route.from", "desk", "desk@example.org"],
        ),
        (
            smtp(&full.replace("ann@example.org", "@")),
            ["route.to", "@", "desk@example.org"],
        ),
        (
            smtp("host = \"h\"\ntls = \"none\"\nfrom = \"a@example.org\""),
            ["route.to", "\"\"", "at least one address"],
        ),
        (
            smtp(&format!("{full}username = \"ann\"")),
            ["route.username", "ann", "password_file"],
        ),
        (
            smtp(&format!("{full}key_file = \"k\"")),
            ["route.key_file", "\"k\"", "only for a webhook"],
        ),
        (
            GROUP.replace("cold", "Cold"),
            ["group.name", "Cold", "1 to 32 of a-z"],
        ),
        (
            format!("{GROUP}{GROUP}"),
            ["group.name", "cold", "each name once"],
        ),
        (
            GROUP.replace("\"truck-*\"", ""),
            ["group.devices", "\"\"", "at least one pattern"],
        ),
        (
            format!("{GROUP}silent_after_s = 1\n"),
            ["group.silent_after_s", "1", "10 to 2592000"],
        ),
        (
            format!("{GROUP}device = \"x\"\n"),
            ["line", "device", "`devices`"],
        ),
        (
            "[desk]\ncollapse_count = 1\n".to_owned(),
            ["desk.collapse_count", "1", "2 to 10000"],
        ),
        (
            "[desk]\nspool_percent = 0\n".to_owned(),
            ["desk.spool_percent", "0", "1 to 100"],
        ),
        (
            "[desk]\nescalate_severity = \"bad\"\n".to_owned(),
            ["line", "bad", "`critical`"],
        ),
    ] {
        let sentence = refusal(&format!("[database]\npath = \"a\"\n{text}"));
        for word in words {
            assert!(sentence.contains(word), "{sentence:?} lacks {word:?}");
        }
        assert!(!sentence.contains("secret"), "{sentence}");
    }
}
