//! Our own HTTP requests to a service inside the walls: one request, one connection, bounded.

use crate::probe::plan::Request;
use agentwright_sandbox::Running;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// How long an answer may take.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
pub(crate) const ANSWER_MAX: usize = 4 << 20;
/// What clients usually send: a service shall not tell our requests from others by what they lack.
const USUAL: [(&str, &str); 2] = [("user-agent", "curl/8.5.0"), ("accept", "*/*")];

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Makes a request.
pub(crate) async fn ask(service: &Running, request: &Request) -> Result<Answer, String> {
    let asked = format!("{} {}", request.method, request.path);
    match tokio::time::timeout(ANSWER_LIMIT, exchange(service, request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{asked}: {error}")),
        Err(_) => Err(format!(
            "{asked}: no answer within {} s",
            ANSWER_LIMIT.as_secs()
        )),
    }
}

async fn exchange(service: &Running, request: &Request) -> Result<Answer, String> {
    let stream = service
        .connect(request.port)
        .await
        .map_err(|error| error.to_string())?;
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.path)
        .header("host", format!("127.0.0.1:{}", request.port))
        .header("connection", "close");
    for (name, value) in USUAL {
        if !request
            .headers
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
        {
            builder = builder.header(name, value);
        }
    }
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    let request = builder.body(body).map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer's body: {error}"))?;
        Ok(Answer {
            status,
            body: body.to_bytes().to_vec(),
        })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end first, with the answer's last bytes already read.
        _ = connection => answer.await,
    }
}
