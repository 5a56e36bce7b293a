//! What the channels' tests share.

use crate::Resolve;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one request with a status line; gives back what was asked.
pub(crate) async fn answering(status: &'static str) -> (String, impl Future<Output = String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=t", listener.local_addr().unwrap());
    let asked = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = String::new();
        while !asked.ends_with('}') {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.unwrap();
            asked.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    };
    (url, asked)
}

/// Knows these references and no others.
pub(crate) fn resolving(known: &[(&str, &str)]) -> Resolve {
    let known: Vec<(String, String)> = known
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Arc::new(move |reference| {
        let found = known.iter().find(|(name, _)| name == reference);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| "it is not set".to_owned())
    })
}
