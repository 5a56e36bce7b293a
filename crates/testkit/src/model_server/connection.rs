//! One connection: reads requests, writes answers byte by byte where an answer wants it. HTTP/1.1 by hand,
//! because a server library would not let a body be wrong.

use super::answer::{Answer, End};
use super::question::key;
use super::{ApiForm, Question, Shared};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest head of a request, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// The longest body of a request, in bytes.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// A request as it came.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Ok(Some(asked)) = read(&mut stream).await {
        let close = header(&asked.headers, "connection") == Some("close");
        let head_only = asked.method == "HEAD";
        let answer = answer(asked, &shared);
        let proper = answer.end == End::Proper;
        if write(stream.get_mut(), answer, head_only).await.is_err() || !proper || close {
            return;
        }
    }
}

fn answer(asked: Asked, shared: &Shared) -> Answer {
    let path = asked.target.split('?').next().unwrap_or("").to_owned();
    let form = match (asked.method.as_str(), path.as_str()) {
        ("POST", path) if path.ends_with("/messages") => Some(ApiForm::Anthropic),
        ("POST", path) if path.ends_with("/chat/completions") => Some(ApiForm::OpenaiChat),
        ("POST", path) if path.ends_with("/responses") => Some(ApiForm::OpenaiResponses),
        ("POST", path) if path.ends_with("/api/generate") => Some(ApiForm::OllamaGenerate),
        ("POST", path) if path.ends_with("/api/chat") => Some(ApiForm::OllamaChat),
        _ => None,
    };
    let wanted = shared.lock().key.clone();
    let open = asked.method == "HEAD";
    if !open && wanted.is_some() && key(&asked.headers) != wanted.as_deref() {
        return Answer::unauthorized(form);
    }
    let Some(form) = form else {
        return other(&asked, &path, shared);
    };
    let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else {
        let error =
            json!({"error": {"type": "invalid_request_error", "message": "the body is not JSON"}});
        return Answer::json(400, &error);
    };
    let question = Question::read(form, asked.target, asked.headers, body);
    let (question, step) = shared.ask(question);
    Answer::of(&question, &step)
}

/// Everything that is no question to a model.
fn other(asked: &Asked, path: &str, shared: &Shared) -> Answer {
    let mut state = shared.lock();
    state
        .others
        .push(format!("{} {}", asked.method, asked.target));
    let models = &state.models;
    match (asked.method.as_str(), path) {
        ("HEAD", _) | ("GET", "/") => Answer::json(200, &json!({"status": "ok"})),
        ("GET", "/api/version") => Answer::json(200, &json!({"version": "0.12.0"})),
        ("GET", "/api/tags") => {
            let row = |name: &String| json!({"name": name, "model": name, "size": 1});
            let rows: Vec<Value> = models.iter().map(row).collect();
            Answer::json(200, &json!({"models": rows}))
        }
        ("GET", path) if path.ends_with("/models") => {
            let row = |id: &String| json!({"id": id, "type": "model", "object": "model", "display_name": id, "owned_by": "testkit"});
            let rows: Vec<Value> = models.iter().map(row).collect();
            Answer::json(
                200,
                &json!({"object": "list", "data": rows, "has_more": false}),
            )
        }
        ("POST", path) if path.ends_with("/messages/count_tokens") => {
            Answer::json(200, &json!({"input_tokens": asked.body.len().div_ceil(4)}))
        }
        _ => {
            let message = format!("there is no {} {path}", asked.method);
            let error = json!({"error": {"type": "not_found", "message": message}});
            Answer::json(404, &error)
        }
    }
}

/// The next request; `None` when the client has gone.
pub(crate) async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or("").split(' ');
    let method = first.next().unwrap_or("").to_owned();
    let target = first.next().unwrap_or("").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    if header(&headers, "expect").is_some() {
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        stream.get_mut().write_all(go_on).await?;
    }
    let body = match header(&headers, "content-length") {
        Some(length) => {
            let length = length.parse().ok().filter(|length| *length <= BODY_MAX);
            let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
            stream.read_exact(&mut body).await?;
            body
        }
        None if header(&headers, "transfer-encoding").is_some() => chunks(stream).await?,
        None => Vec::new(),
    };
    Ok(Some(Asked {
        method,
        target,
        headers,
        body,
    }))
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size + body.len() > BODY_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

async fn write(stream: &mut TcpStream, answer: Answer, head_only: bool) -> io::Result<()> {
    match answer.end {
        End::Silent => return gone(stream).await,
        End::Reset => {
            // Closing with nothing to linger for sends a reset.
            rustix::net::sockopt::set_socket_linger(&*stream, Some(std::time::Duration::ZERO))?;
            return Ok(());
        }
        End::Proper | End::Cut | End::Hang | End::Blank => {}
    }
    let mut head = format!(
        "HTTP/1.1 {} {}\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
        answer.status,
        reason(answer.status)
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match answer.length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    stream.write_all(head.as_bytes()).await?;
    if head_only {
        return Ok(());
    }
    for piece in &answer.pieces {
        if !answer.pace.is_zero() {
            tokio::time::sleep(answer.pace).await;
        }
        put(stream, piece, answer.length.is_some()).await?;
    }
    match answer.end {
        End::Hang => gone(stream).await,
        End::Blank => loop {
            tokio::time::sleep(answer.pace).await;
            put(stream, b"\n", answer.length.is_some()).await?;
        },
        End::Proper if answer.length.is_none() => stream.write_all(b"0\r\n\r\n").await,
        End::Proper | End::Cut | End::Silent | End::Reset => Ok(()),
    }
}

async fn put(stream: &mut TcpStream, piece: &[u8], bare: bool) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    if bare {
        return stream.write_all(piece).await;
    }
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk).await
}

/// Waits for the client to go.
async fn gone(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        _ => "Status",
    }
}
