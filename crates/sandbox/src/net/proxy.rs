//! The HTTP proxy of a sandbox: CONNECT and absolute-form requests to declared hosts, nothing else.
//!
//! Follows no redirects, keeps no upstream connection, and sends the authority it has judged as `Host`,
//! whatever the client put there. Start at [`serve`].

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::tunnel::{self, MAX_CONNECTION_BYTES};
use super::{CONNECT_TIMEOUT, Entry, Net};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, Failure>;

/// Headers between a client and its proxy only (RFC 9110, 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
];
/// Path and query kept in the log.
const MAX_LOGGED_PATH: usize = 512;
const HTTP: u16 = 80;

/// Serves one connection of the command.
pub(super) async fn serve(net: &Arc<Net>, stream: TcpStream) {
    let service = service_fn(|request| {
        let net = Arc::clone(net);
        async move { Ok::<_, std::convert::Infallible>(answer(&net, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECT_TIMEOUT)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(net: &Arc<Net>, request: Request<Incoming>) -> Response<Body> {
    let answered = if request.method() == Method::CONNECT {
        connect(net, request).await
    } else {
        forward(net, request).await
    };
    answered.unwrap_or_else(|(status, why)| {
        let text = Full::new(Bytes::from(format!("sandbox: {why}\n")))
            .map_err(|never| match never {})
            .boxed();
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response
    })
}

type Refusal = (StatusCode, String);

async fn connect(net: &Arc<Net>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let bad = || {
        (
            StatusCode::BAD_REQUEST,
            "CONNECT needs host:port".to_owned(),
        )
    };
    let authority = request.uri().authority().ok_or_else(bad)?;
    let (host, port) = (
        authority.host().to_owned(),
        authority.port_u16().ok_or_else(bad)?,
    );
    let admitted = net
        .admit(&host, port, None)
        .await
        .map_err(|why| (StatusCode::FORBIDDEN, why))?;
    let carrying = Arc::clone(net);
    net.spawn(async move {
        if let Ok(client) = hyper::upgrade::on(request).await {
            tunnel::run(&carrying, TokioIo::new(client), admitted, &host, port).await;
        }
    });
    Ok(Response::new(
        Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed(),
    ))
}

async fn forward(
    net: &Arc<Net>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let uri = request.uri().clone();
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| {
        (
            StatusCode::BAD_REQUEST,
            "this proxy takes CONNECT and http://host/path".to_owned(),
        )
    })?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let logged: String = path.chars().take(MAX_LOGGED_PATH).collect();
    let port = authority.port_u16().unwrap_or(HTTP);
    let http = (request.method().to_string(), logged);
    let admitted = net
        .admit(authority.host(), port, Some(http))
        .await
        .map_err(|why| (StatusCode::FORBIDDEN, why))?;
    let bad = |e: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, e.to_string());
    strip(request.headers_mut());
    let named = authority.as_str().rsplit('@').next().unwrap_or_default();
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(named).map_err(|e| bad(&e))?);
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| bad(&e))?;
    let gone = |e: hyper::Error| (StatusCode::BAD_GATEWAY, format!("the host broke off: {e}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(admitted.stream))
            .await
            .map_err(gone)?;
    net.spawn(async move { drop(connection.await) });
    let entry = admitted.entry;
    let request =
        request.map(|body| counted(net, entry, body, |decision| &mut decision.sent_bytes));
    let mut response = sender.send_request(request).await.map_err(gone)?;
    net.amend(entry, |decision| {
        decision.status = Some(response.status().as_u16());
    });
    strip(response.headers_mut());
    Ok(response.map(|body| counted(net, entry, body, |decision| &mut decision.received_bytes)))
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

/// The body, its bytes counted in the log and limited.
fn counted(
    net: &Arc<Net>,
    entry: Entry,
    body: Incoming,
    field: fn(&mut crate::report::NetworkDecision) -> &mut u64,
) -> Body {
    let net = Arc::clone(net);
    let limit = usize::try_from(MAX_CONNECTION_BYTES).unwrap_or(usize::MAX);
    let body = body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            net.amend(entry, |decision| *field(decision) += data.len() as u64);
        }
        frame
    });
    Limited::new(body, limit).boxed()
}
