//! A connection that is not waited for for ever.
//!
//! Promises: a client that does not take an answer within its time is cut off; what hyper says by itself about a
//! request that it cannot read becomes a problem in JSON, too. Never: a slow client that costs more than its
//! own connection.

use std::future::{Future, Pending, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Timeout, timeout};

use super::problem::Problem;

type Clock = Pin<Box<Timeout<Pending<()>>>>;

/// A stream whose writes must get on.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Clock>,
    /// What of a replaced answer is not written yet.
    instead: Vec<u8>,
    written: usize,
    /// Something was read that nothing was written about.
    has_unanswered: bool,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
            instead: Vec::new(),
            written: 0,
            has_unanswered: false,
        }
    }

    /// Whether a request has begun to come in.
    pub(super) fn has_unanswered(&self) -> bool {
        self.has_unanswered
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    /// Lets the write pass, or fails when it has waited too long.
    fn paced<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let clock = self
            .waiting
            .get_or_insert_with(|| Box::pin(timeout(patience, pending())));
        match clock.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn write_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .instead
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            let rest = rest.to_vec();
            let written = Pin::new(&mut self.stream).poll_write(cx, &rest);
            self.written += ready!(self.paced(written, cx))?;
        }
        self.instead.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.has_unanswered |= buffer.filled().len() > before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_unanswered = false;
        ready!(self.write_instead(cx))?;
        if let Some(problem) = own_words(bytes) {
            self.instead = problem;
            // The replaced bytes count as taken; what stands for them goes out with the next flush.
            ready!(self.write_instead(cx))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.paced(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.paced(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(cx))?;
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.paced(ended, cx)
    }
}

/// The answer to a request whose head does not come.
pub(super) fn too_slow(seconds: u32) -> Vec<u8> {
    answer(&Problem::field(
        StatusCode::REQUEST_TIMEOUT,
        "client_s_max",
        format!("{seconds} s"),
        "the request did not come in time",
    ))
}

/// What stands for an answer that hyper gives by itself: a head of 4xx without a body.
fn own_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(bytes).ok()?;
    let code = head
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| head.strip_prefix("HTTP/1.0 "))?;
    let is_empty =
        head.ends_with("\r\n\r\n") && head.to_ascii_lowercase().contains("content-length: 0\r\n");
    let status = StatusCode::from_bytes(code.as_bytes().get(..3)?).ok()?;
    (is_empty && status.is_client_error()).then_some(())?;
    let problem = match status {
        StatusCode::URI_TOO_LONG => {
            Problem::field(status, "path", "65534 bytes", "the path is too long")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::field(
            status,
            "headers",
            "64 headers in 16384 bytes",
            "the head of the request is too large",
        ),
        _ => Problem::field(
            status,
            "request",
            "HTTP/1.1, RFC 9112",
            "the request cannot be read",
        ),
    };
    Some(answer(&problem))
}

fn answer(problem: &Problem) -> Vec<u8> {
    let body = problem.json();
    let (status, title, length) = (problem.status, problem.title, body.len());
    let mut bytes = format!(
        "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_refusal_is_replaced() {
        let replaced = |head: &str| own_words(head.as_bytes()).is_some();
        assert!(replaced(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: x\r\n\r\n"
        ));
        assert!(replaced(
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        ));
        assert!(!replaced("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!replaced(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"
        ));
        assert!(!replaced("content-length: 0\r\n\r\n"));
    }
}
