//! MQTT in a websocket: binary messages, subprotocol `mqtt`.
//!
//! Promises: what goes in comes out in order, however it is cut into messages; a ping is answered. Never: a
//! message longer than the MQTT packets that may be in it.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{BrokerAddress, Duplex, Failure};

const SUBPROTOCOL: &str = "mqtt";
const SUBPROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";
/// A packet of MQTT and what stands around it, several times over: brokers put packets together.
const MESSAGE_LEN_MAX: usize = 1024 * 1024;
/// What is read at once and becomes one message, bytes.
const CHUNK_LEN: usize = 16 * 1024;

/// Opens the websocket.
pub(super) async fn open<S: Duplex>(
    stream: S,
    address: &BrokerAddress,
    path: &str,
    is_tls: bool,
) -> Result<WebSocketStream<S>, Failure> {
    let scheme = if is_tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{address}{path}");
    let mut request = url
        .into_client_request()
        .map_err(|error| Failure::link(format!("websocket: {error}")))?;
    request
        .headers_mut()
        .insert(SUBPROTOCOL_HEADER, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LEN_MAX))
        .max_frame_size(Some(MESSAGE_LEN_MAX));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (socket, response) = opened.map_err(|error| failure(&error))?;
    let agreed = response.headers().get(SUBPROTOCOL_HEADER);
    if agreed.is_none_or(|word| word.as_bytes() != SUBPROTOCOL.as_bytes()) {
        return Err(Failure::link(
            "websocket: the broker does not agree to the subprotocol mqtt",
        ));
    }
    Ok(socket)
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Io(error) => Failure::io("websocket", error),
        Error::ConnectionClosed | Error::AlreadyClosed => Failure::broker("websocket: closed"),
        error => Failure::link(format!("websocket: {error}")),
    }
}

/// Carries bytes both ways until one side ends.
pub(super) async fn carry<S: Duplex>(
    local: UnixStream,
    socket: WebSocketStream<S>,
) -> Result<(), Failure> {
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write): (ReadHalf<_>, WriteHalf<_>) = tokio::io::split(local);
    let up = async {
        let mut chunk = vec![0; CHUNK_LEN];
        loop {
            let len = read.read(&mut chunk).await;
            let len = len.map_err(|error| Failure::io("relay", &error))?;
            let bytes = chunk.get(..len).unwrap_or_default().to_vec();
            if bytes.is_empty() {
                // A close that nobody hears is a close, too.
                sink.close().await.ok();
                return Ok(());
            }
            sink.send(Message::Binary(bytes.into()))
                .await
                .map_err(|error| failure(&error))?;
        }
    };
    let down = async {
        while let Some(message) = source.next().await {
            match message.map_err(|error| failure(&error))? {
                Message::Binary(bytes) => {
                    let written = write.write_all(&bytes).await;
                    written.map_err(|error| Failure::io("relay", &error))?;
                }
                Message::Close(_) => break,
                Message::Text(_) => {
                    return Err(Failure::link("websocket: text is not MQTT"));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Err(Failure::broker("websocket: the broker closed"))
    };
    tokio::select! {
        end = up => end,
        end = down => end,
    }
}
