//! A display on the vehicle: the smallest client of the gateway's local broker.
//!
//! Promises: one connection, one subscription, a wait that ends. Never: a publish.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// An emulated processor answers late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connect as `display` with a clean session, keep-alive of a minute.
const CONNECT: &[u8] = b"\x10\x13\0\x04MQTT\x04\x02\0\x3c\0\x07display";
const SUBSCRIBE: u8 = 0x82;
const PUBLISH: u8 = 0x3;

/// What is retained under a topic at the broker on this machine.
///
/// # Errors
/// When nobody listens, or says nothing under the topic.
pub fn retained(port: u16, topic: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(CONNECT)?;
    let topic_len = u8::try_from(topic.len()).context("the topic is too long")?;
    let len = topic_len.checked_add(5).filter(|len| *len < 0x80);
    let len = len.context("the topic is too long")?;
    stream.write_all(&[SUBSCRIBE, len, 0, 1, 0, topic_len])?;
    stream.write_all(topic.as_bytes())?;
    stream.write_all(&[0])?;
    let (heard, payload) = published(&mut stream).context("the local broker says nothing")?;
    ensure!(heard == topic, "the local broker tells of {heard}");
    Ok(payload)
}

/// The next publish at quality 0: topic and payload.
fn published(stream: &mut impl Read) -> io::Result<(String, String)> {
    loop {
        let kind = byte(stream)?;
        let mut body = vec![0; length(stream)?];
        stream.read_exact(&mut body)?;
        if kind >> 4 != PUBLISH {
            continue;
        }
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let (topic_len, rest) = body.split_first_chunk().ok_or_else(wrong)?;
        let topic_len = usize::from(u16::from_be_bytes(*topic_len));
        let (topic, payload) = rest.split_at_checked(topic_len).ok_or_else(wrong)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return Ok((text(topic), text(payload)));
    }
}

fn byte(stream: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(u8::from_be_bytes(byte))
}

/// The remaining length: seven bits a byte, the lowest first.
fn length(stream: &mut impl Read) -> io::Result<usize> {
    let mut length = 0;
    for place in 0..4 {
        let byte = byte(stream)?;
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            return Ok(length);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_before_the_publish_are_passed_by() {
        let long = "x".repeat(200);
        let mut stream = b"\x20\x02\0\0\x90\x03\0\x01\0\x31".to_vec();
        stream.extend([0xCD, 0x01, 0, 3]);
        stream.extend(format!("a/b{long}").bytes());
        let heard = published(&mut stream.as_slice()).unwrap();
        assert_eq!(heard, ("a/b".to_owned(), long));
        assert!(published(&mut &b"\x20\x02\0"[..]).is_err());
    }
}
