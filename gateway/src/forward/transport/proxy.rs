//! HTTP CONNECT: asks a proxy for a connection to the broker.
//!
//! Promises: reads nothing beyond the proxy's answer; takes only an answer of 2xx; a head longer than
//! [`HEAD_LEN_MAX`] is refused. Never: shows the password.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{BrokerAddress, Duplex, Failure, Login};

/// The longest answer of a proxy, bytes.
const HEAD_LEN_MAX: usize = 8 * 1024;

/// Asks for the connection.
pub(super) async fn connect(
    stream: &mut impl Duplex,
    address: &BrokerAddress,
    login: Option<&Login>,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("proxy", &error);
    stream
        .write_all(request(address, login).as_bytes())
        .await
        .map_err(failed)?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to the broker.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_LEN_MAX {
            return Err(Failure::link(format!(
                "proxy: an answer above {HEAD_LEN_MAX} bytes"
            )));
        }
        head.push(stream.read_u8().await.map_err(failed)?);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let is_http = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."));
    let is_connected = words
        .next()
        .is_some_and(|code| code.len() == 3 && code.starts_with('2'));
    if is_http && is_connected {
        Ok(())
    } else {
        let line: String = line.chars().take(100).collect();
        Err(Failure::link(format!("proxy: it answers {line:?}")))
    }
}

fn request(address: &BrokerAddress, login: Option<&Login>) -> String {
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(login) = login {
        let word = base64(format!("{}:{}", login.username, login.password).as_bytes());
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&word);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS.get(word >> (18 - 6 * place) & 63).copied();
            let digit = digit.filter(|_| place <= chunk.len()).unwrap_or(b'=');
            text.push(char::from(digit));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
