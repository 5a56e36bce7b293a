//! Requests as bytes, answers as they come: for what the typed client hides.

use crate::support::World;
use serde_json::Value;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status and the code of a refusal, whose form is checked.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{problem}"
        );
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_ne!(problem["detail"], "", "{problem}");
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

impl World {
    pub(crate) fn socket(&self) -> PathBuf {
        self.data().join("daemon.sock")
    }

    /// Sends a JSON body, or none where it is null.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(method, path, "", body).await
    }

    /// The same with more header lines, each ended.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Value,
    ) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let kind = match body.is_empty() {
            true => "",
            false => "content-type: application/json\r\n",
        };
        let head = format!("{kind}{headers}");
        self.send(method, path, &head, body.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    /// Sends exactly this body under these header lines.
    pub(crate) async fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        let host = if head.contains("host:") {
            ""
        } else {
            "host: example.test:8400\r\n"
        };
        let request = format!(
            "{method} {path} HTTP/1.0\r\n{host}{head}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // The other side may answer before it has read everything.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        parsed(&bytes)
    }

    /// A stream of server-sent events.
    pub(crate) async fn lines(&self, path: &str, headers: &str) -> Lines {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.0\r\nhost: x\r\naccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = Lines(BufReader::new(stream));
        assert!(lines.line().await.unwrap().contains(" 200 "));
        while !lines.line().await.unwrap().is_empty() {}
        lines
    }

    /// A WebSocket, or the answer that refuses it.
    pub(crate) async fn websocket(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, Answer> {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let url = format!("ws://example.test:8400{path}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => {
                let head: String = response
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
                    .collect();
                Err(Answer {
                    status: response.status().as_u16(),
                    head,
                    body: response.body().clone().unwrap_or_default(),
                })
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn parsed(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[end + 4..].to_vec();
    Answer { status, head, body }
}

/// Server-sent events as they come.
pub(crate) struct Lines(BufReader<UnixStream>);

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sse {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Lines {
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// The next event; `None` when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Sse> {
        let mut sse = Sse::default();
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => sse.id = id.to_owned(),
                Some(("event", event)) => sse.event = event.to_owned(),
                Some(("data", data)) => sse.data = serde_json::from_str(data).unwrap(),
                Some(_) => panic!("{line}"),
                None if line.is_empty() && !sse.event.is_empty() => return Some(sse),
                None => {}
            }
        }
    }
}

/// A WebSocket.
pub(crate) struct Socket(WebSocketStream<UnixStream>);

impl Socket {
    /// The next message; the code and reason of the close when it is over.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<(u16, String)>> {
        use futures::StreamExt as _;
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    let told = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    return Err(told);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Everything to the end, and how it ended.
    pub(crate) async fn all(mut self) -> (Vec<Value>, Option<(u16, String)>) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Ok(message) => all.push(message),
                Err(end) => return (all, end),
            }
        }
    }
}
