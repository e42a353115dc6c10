use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::{Limits, Page};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn http(folder: &std::path::Path, users: Option<&str>) -> Page {
    let users_file = users.map(|text| {
        let file = folder.join("users.toml");
        std::fs::write(&file, text).unwrap();
        file
    });
    Page {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        users_file,
        proxy: None,
        tiles_url: None,
        limits: Limits {
            connections_max: 64,
            events_max: 16,
            requests_per_s: 10,
            requests_burst: 20,
            client_s_max: 5,
            readers: 1,
        },
    }
}

fn anna() -> String {
    let hash = hash("correct horse battery").unwrap();
    format!("[[user]]\nname = \"anna\"\nrole = \"operator\"\npassword_hash = \"{hash}\"\n")
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn refused(result: Result<Option<Identity>, Problem>) -> u16 {
    result.unwrap_err().status
}

#[tokio::test]
async fn without_a_login_only_this_machine_is_answered_and_only_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), None)).unwrap();
    for host in [
        "localhost:8787",
        "127.0.0.1:8787",
        "[::1]:8787",
        "LOCALHOST",
    ] {
        let identity = access
            .identify(&headers(&[("host", host)]), HOME)
            .unwrap()
            .unwrap();
        assert_eq!(identity.role, Role::Admin, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        "localhost.evil.example:8787",
    ] {
        assert_eq!(
            refused(access.identify(&headers(&[("host", host)]), HOME)),
            403,
            "{host}"
        );
    }
    assert_eq!(
        refused(access.identify(&headers(&[("host", "localhost")]), AWAY)),
        403
    );
}

#[tokio::test]
async fn a_password_opens_a_session_and_a_wrong_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), Some(&anna()))).unwrap();
    let log_in =
        |name: &str, password: &str| access.log_in(name.to_owned(), password.to_owned(), HOME);
    assert_eq!(log_in("anna", "wrong").await.unwrap_err().status, 401);
    assert_eq!(
        log_in("nobody", "correct horse battery")
            .await
            .unwrap_err()
            .status,
        401
    );
    let begun = log_in("anna", "correct horse battery").await.unwrap();
    assert_eq!(begun.role, Role::Operator);
    let cookie = format!("other=1; {COOKIE}={}", begun.token);
    let by_cookie = access
        .identify(&headers(&[("cookie", &cookie)]), AWAY)
        .unwrap()
        .unwrap();
    assert_eq!(by_cookie.name, "anna");
    let bearer = format!("Bearer {}", begun.token);
    let sent = headers(&[("authorization", &bearer)]);
    assert_eq!(access.identify(&sent, AWAY).unwrap().unwrap().name, "anna");
    access.log_out(&sent);
    assert_eq!(refused(access.identify(&sent, AWAY)), 401);
    assert_eq!(
        access
            .identify(&headers(&[("cookie", &cookie)]), AWAY)
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_bad_token_is_an_error_and_no_token_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), Some(&anna()))).unwrap();
    assert_eq!(access.identify(&HeaderMap::new(), HOME).unwrap(), None);
    for value in ["Bearer ", "Bearer x", "Basic YTpi", "Bearer \u{e4}"] {
        let mut sent = HeaderMap::new();
        sent.insert(
            "authorization",
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        assert_eq!(refused(access.identify(&sent, HOME)), 401, "{value}");
    }
}

#[tokio::test]
async fn after_some_wrong_passwords_the_right_one_must_wait_too() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), Some(&anna()))).unwrap();
    for _ in 0..LOGINS_BURST {
        let wrong = access
            .log_in("anna".to_owned(), "wrong".to_owned(), HOME)
            .await;
        assert_eq!(wrong.unwrap_err().status, 401);
    }
    let right = access
        .log_in("anna".to_owned(), "correct horse battery".to_owned(), AWAY)
        .await;
    let problem = right.unwrap_err();
    assert_eq!(problem.status, 429);
    assert!(problem.retry_s.is_some());
}

#[tokio::test]
async fn another_site_cannot_change_anything_with_somebodys_cookie() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), Some(&anna()))).unwrap();
    let begun = access
        .log_in("anna".to_owned(), "correct horse battery".to_owned(), HOME)
        .await
        .unwrap();
    let cookie = format!("{COOKIE}={}", begun.token);
    let identity = access
        .identify(&headers(&[("cookie", &cookie)]), HOME)
        .unwrap()
        .unwrap();
    let check = |method: Method, list: &[(&'static str, &str)]| {
        access
            .check_origin(&identity, &method, &headers(list))
            .map_err(|problem| problem.field.unwrap())
    };
    let host = ("host", "fleet.example");
    assert_eq!(check(Method::GET, &[host]), Ok(()));
    assert_eq!(check(Method::POST, &[host]), Err(CSRF_HEADER.to_owned()));
    assert_eq!(
        check(Method::POST, &[host, (CSRF_HEADER, "wrong")]),
        Err(CSRF_HEADER.to_owned())
    );
    let own = (CSRF_HEADER, begun.csrf.as_str());
    assert_eq!(check(Method::POST, &[host, own]), Ok(()));
    assert_eq!(
        check(
            Method::POST,
            &[host, own, ("origin", "http://fleet.example")]
        ),
        Ok(())
    );
    assert_eq!(
        check(
            Method::POST,
            &[host, own, ("origin", "http://evil.example")]
        ),
        Err("origin".to_owned())
    );
    assert_eq!(
        check(Method::POST, &[host, own, ("sec-fetch-site", "cross-site")]),
        Err("sec-fetch-site".to_owned())
    );
}

#[tokio::test]
async fn a_user_who_is_taken_out_of_the_file_is_nobody_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&http(folder.path(), Some(&anna()))).unwrap();
    let begun = access
        .log_in("anna".to_owned(), "correct horse battery".to_owned(), HOME)
        .await
        .unwrap();
    let sent = headers(&[("authorization", &format!("Bearer {}", begun.token))]);
    let other = "[[user]]\nname = \"ben\"\nrole = \"admin\"\n";
    std::fs::write(folder.path().join("users.toml"), other).unwrap();
    lock(access.users.as_ref().unwrap()).look_now();
    assert_eq!(refused(access.identify(&sent, HOME)), 401);
}

#[tokio::test]
async fn a_proxy_is_believed_from_its_own_address_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut http = http(
        folder.path(),
        Some("[[user]]\nname = \"ben\"\nrole = \"viewer\"\n"),
    );
    http.proxy = Some(Proxy {
        user_header: "x-user".to_owned(),
        from: vec![HOME],
    });
    let access = Access::new(&http).unwrap();
    let sent = headers(&[("x-user", "ben")]);
    assert_eq!(
        access.identify(&sent, HOME).unwrap().unwrap().role,
        Role::Viewer
    );
    assert_eq!(access.identify(&sent, AWAY).unwrap(), None);
    assert_eq!(
        refused(access.identify(&headers(&[("x-user", "eve")]), HOME)),
        403
    );
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let mut rates = Rates::per_second(10, 20);
    for _ in 0..20 {
        assert_eq!(rates.take("a", 0), Ok(()));
    }
    assert_eq!(rates.take("a", 0), Err(1));
    assert_eq!(rates.take("b", 0), Ok(()));
    assert_eq!(rates.take("a", 99), Err(1));
    assert_eq!(rates.take("a", 100), Ok(()));
    assert_eq!(rates.take("a", 100), Err(1));
}

#[test]
fn names_without_end_need_no_memory_without_end() {
    let mut rates = Rates::per_second(1, 2);
    for number in 0..30_000 {
        rates.take(&format!("address {number}"), 0).unwrap();
    }
    assert!(rates.len() <= 10_000);
}

#[test]
fn users_files_with_nonsense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    for (text, why) in [
        ("", "it has no user"),
        (
            "[[user]]\nname = \"a b\"\nrole = \"viewer\"\n",
            "name \"a b\"",
        ),
        (
            "[[user]]\nname = \"a\"\nrole = \"king\"\n",
            "unknown variant",
        ),
        (
            "[[user]]\nname = \"a\"\nrole = \"viewer\"\npassword_hash = \"secret\"\n",
            "not one of argon2id",
        ),
        (
            "[[user]]\nname = \"a\"\nrole = \"viewer\"\nage = 3\n",
            "unknown field",
        ),
        (
            "[[user]]\nname = \"a\"\nrole = \"viewer\"\n[[user]]\nname = \"a\"\nrole = \"admin\"\n",
            "twice",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let found = check_users(&file).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}
