//! The allow-list: what is declared is reached, nothing else is, and the log says both.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentwright_sandbox::{HostRule, Network, Policy, Report, Route, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{python, sandbox_with};

/// An HTTP server that answers every request with its first line and its Host header.
async fn http_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let host = head
                    .lines()
                    .find(|l| l.to_ascii_lowercase().starts_with("host:"))
                    .unwrap_or_default();
                let body = format!("{}|{host}", head.lines().next().unwrap());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    address
}

/// A server that answers bytes with the same bytes.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            });
        }
    });
    address
}

fn rule(host: &str, port: u16, route: Route) -> HostRule {
    HostRule {
        host: host.into(),
        port,
        route,
    }
}

async fn run_with(settings: Settings, rules: Vec<HostRule>, script: &str) -> Report {
    let policy = Policy {
        network: Network::Allow(rules),
        ..Policy::default()
    };
    let report = sandbox_with(settings)
        .run(policy, python(script), CancellationToken::new())
        .await
        .unwrap();
    assert!(
        report.succeeded(),
        "{:?} {} {}",
        report.ending,
        report.stdout.text(),
        report.stderr.text()
    );
    report
}

fn resolving(lookup: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Settings {
    Settings {
        lookup: Some(Arc::new(move |host, _| Ok(lookup(host)))),
        ..Settings::default()
    }
}

const GET: &str = "import urllib.request,urllib.error,sys\ndef get(u):\n  try: r=urllib.request.urlopen(u,timeout=5); return r.status,r.read().decode()\n  except urllib.error.HTTPError as e: return e.code,e.read().decode().strip()\n  except Exception as e: return 'failed',type(e).__name__\n";

#[tokio::test]
async fn a_declared_host_answers_through_the_proxy_and_everything_else_is_refused_and_logged() {
    let server = http_server().await;
    let script = format!(
        "{GET}print(get('http://api.example.org/a?b=1'))\nprint(get('http://other.example.org/'))\nprint(get('http://api.example.org:81/'))\nprint(get('http://169.254.169.254/latest'))\nprint(get('http://localhost:{}/'))",
        server.port()
    );
    let report = run_with(
        Settings::default(),
        vec![rule("api.example.org", 80, Route::Fixture(server))],
        &script,
    )
    .await;
    let text = report.stdout.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0], "(200, 'GET /a?b=1 HTTP/1.1|Host: api.example.org')",
        "{text}"
    );
    assert!(
        lines[1].contains("403") && lines[1].contains("other.example.org:80 is not declared"),
        "{text}"
    );
    assert!(
        lines[2].contains("403") && lines[2].contains("api.example.org:81 is not declared"),
        "{text}"
    );
    assert!(lines[3].contains("403"), "{text}");
    assert!(lines[4].contains("failed"), "{text}");
    let first = &report.network[0];
    assert!(
        first.allowed
            && first.method.as_deref() == Some("GET")
            && first.path.as_deref() == Some("/a?b=1")
            && first.status == Some(200)
    );
    assert!(first.received_bytes > 10, "{first:?}");
    assert_eq!(report.network.iter().filter(|d| !d.allowed).count(), 3);
}

#[tokio::test]
async fn the_host_header_cannot_lie() {
    let server = http_server().await;
    let script = "import socket\ns=socket.create_connection(('127.0.0.1',3128))\ns.sendall(b'GET http://api.example.org/x HTTP/1.1\\r\\nHost: internal.example.org\\r\\nConnection: close, X-Secret\\r\\nX-Secret: 1\\r\\n\\r\\n')\nd=b''\nwhile True:\n  c=s.recv(4096)\n  if not c: break\n  d+=c\nprint(d.decode().splitlines()[-1])";
    let report = run_with(
        Settings::default(),
        vec![rule("api.example.org", 80, Route::Fixture(server))],
        script,
    )
    .await;
    assert_eq!(
        report.stdout.text(),
        "GET /x HTTP/1.1|Host: api.example.org\n"
    );
}

#[tokio::test]
async fn names_that_lead_to_private_addresses_are_refused_unless_approved() {
    let server = http_server().await;
    let settings = || {
        resolving(|host| {
            vec![
                if host == "meta.example.org" {
                    "169.254.169.254"
                } else {
                    "127.0.0.1"
                }
                .parse()
                .unwrap(),
            ]
        })
    };
    let script = format!(
        "{GET}print(get('http://rebound.example.org:{0}/'))\nprint(get('http://meta.example.org:{0}/'))",
        server.port()
    );
    let public = |host: &str| rule(host, server.port(), Route::Public);
    let report = run_with(
        settings(),
        vec![public("rebound.example.org"), public("meta.example.org")],
        &script,
    )
    .await;
    assert!(
        report.stdout.text().lines().all(|l| l.contains("403")),
        "{}",
        report.stdout.text()
    );
    assert!(
        report.network[0]
            .reason
            .contains("127.0.0.1, which is this machine's loopback"),
        "{:?}",
        report.network
    );
    let private = |host: &str| rule(host, server.port(), Route::Private);
    let report = run_with(
        settings(),
        vec![private("rebound.example.org"), private("meta.example.org")],
        &script,
    )
    .await;
    let text = report.stdout.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("200") && lines[1].contains("403"),
        "{text}"
    );
}

#[tokio::test]
async fn a_second_answer_of_the_resolver_is_never_asked_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    // A public address that answers nobody first, loopback afterwards: a rebinding name.
    let settings = resolving(move |_| {
        vec![
            if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                "192.0.2.1"
            } else {
                "127.0.0.1"
            }
            .parse()
            .unwrap(),
        ]
    });
    let script = format!("{GET}print(get('http://twice.example.org/'))");
    let report = run_with(
        settings,
        vec![rule("twice.example.org", 80, Route::Public)],
        &script,
    )
    .await;
    assert!(report.stdout.text().contains("403"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let mixed = resolving(|_| vec!["1.1.1.1".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
    let report = run_with(
        mixed,
        vec![rule("twice.example.org", 80, Route::Public)],
        &script,
    )
    .await;
    assert!(
        report.network[0]
            .reason
            .contains("10.0.0.1, which is private"),
        "one bad address refuses the name"
    );
}

const TLS: &str = "import ssl,socket\ndef hello(name):\n  b_in,b_out=ssl.MemoryBIO(),ssl.MemoryBIO()\n  c=ssl.create_default_context(); c.check_hostname=False; c.verify_mode=ssl.CERT_NONE\n  o=c.wrap_bio(b_in,b_out,server_hostname=name)\n  try: o.do_handshake()\n  except ssl.SSLWantReadError: pass\n  return b_out.read()\ndef connect(target):\n  s=socket.create_connection(('127.0.0.1',3128)); s.settimeout(5)\n  s.sendall(b'CONNECT '+target+b' HTTP/1.1\\r\\nHost: '+target+b'\\r\\n\\r\\n')\n  a=b''\n  while b'\\r\\n\\r\\n' not in a: a+=s.recv(1)\n  return s,a.split(b' ')[1].decode()\ndef echoed(s,data):\n  s.sendall(data)\n  got=b''\n  try:\n    while len(got)<len(data):\n      c=s.recv(65536)\n      if not c: break\n      got+=c\n  except ConnectionError: pass\n  return got==data\n";

#[tokio::test]
async fn a_tunnel_is_for_the_named_host_only() {
    let server = echo_server().await;
    let script = format!(
        "{TLS}s,c=connect(b'api.example.org:443'); print(c,echoed(s,hello('api.example.org')))\ns,c=connect(b'api.example.org:443'); print(c,echoed(s,hello('neighbour.example.org')))\ns,c=connect(b'api.example.org:443'); print(c,echoed(s,hello(None)))\ns,c=connect(b'api.example.org:443'); print(c,echoed(s,b'plain text\\n'))\ns,c=connect(b'other.example.org:443'); print(c)\ns,c=connect(b'api.example.org:22'); print(c)"
    );
    let report = run_with(
        Settings::default(),
        vec![rule("api.example.org", 443, Route::Fixture(server))],
        &script,
    )
    .await;
    assert_eq!(
        report.stdout.text(),
        "200 True\n200 False\n200 False\n200 False\n403\n403\n"
    );
    let reasons: Vec<&str> = report.network.iter().map(|d| d.reason.as_str()).collect();
    assert!(
        report.network[0].allowed && report.network[0].sent_bytes > 100,
        "{:?}",
        report.network[0]
    );
    assert!(
        reasons[1].contains("asks for neighbour.example.org") && !report.network[1].allowed,
        "{reasons:?}"
    );
    assert!(
        reasons[2].contains("does not name its host")
            && reasons[3].contains("not spoken to in TLS"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn a_hello_in_small_pieces_is_read_whole() {
    let server = echo_server().await;
    let script = format!(
        "{TLS}import time\ns,c=connect(b'api.example.org:443')\nh=hello('api.example.org')\nfor i in range(0,len(h),97): s.sendall(h[i:i+97]); time.sleep(0.002)\ngot=b''\nwhile len(got)<len(h): got+=s.recv(65536)\nprint(got==h)"
    );
    let report = run_with(
        Settings::default(),
        vec![rule("api.example.org", 443, Route::Fixture(server))],
        &script,
    )
    .await;
    assert_eq!(report.stdout.text(), "True\n");
}

#[tokio::test]
async fn a_database_is_reached_by_its_own_name_and_port_without_a_proxy() {
    let server = echo_server().await;
    let script = "import socket,os\ns=socket.create_connection(('db.example.org',5432),5); s.sendall(b'select'); print(s.recv(10).decode())\nprint(os.environ['AGENTWRIGHT_ROUTE_DB_EXAMPLE_ORG_5432'])\nh,p=os.environ['AGENTWRIGHT_ROUTE_DB_EXAMPLE_ORG_5432'].split(':')\ns=socket.create_connection((h,int(p)),5); s.sendall(b'again'); print(s.recv(10).decode())\ntry: socket.create_connection(('db.example.org',5433),2)\nexcept OSError as e: print(e.errno)\nprint(os.environ['AGENTWRIGHT_ROUTE_LOW_EXAMPLE_ORG_25'])\ns=socket.create_connection(('low.example.org',10025),5); s.sendall(b'mail'); print(s.recv(10).decode())\ns=socket.create_connection(('localhost',5434),5); s.sendall(b'near'); print(s.recv(10).decode())";
    let rules = vec![
        rule("db.example.org", 5432, Route::Fixture(server)),
        rule("low.example.org", 25, Route::Fixture(server)),
        rule("localhost", 5434, Route::Fixture(server)),
    ];
    let report = run_with(Settings::default(), rules, script).await;
    assert_eq!(
        report.stdout.text(),
        "select\n127.0.1.1:5432\nagain\n111\n127.0.1.2:10025\nmail\nnear\n"
    );
    assert_eq!(report.network.iter().filter(|d| d.allowed).count(), 4);
    assert!(
        report
            .network
            .iter()
            .all(|d| d.sent_bytes > 0 && d.received_bytes == d.sent_bytes),
        "{:?}",
        report.network
    );
}

#[tokio::test]
async fn the_command_itself_can_not_listen_on_low_ports_or_hold_capabilities() {
    let server = echo_server().await;
    let script = "import socket\nprint([l for l in open('/proc/self/status') if l.startswith(('CapEff','CapPrm','CapAmb','CapInh'))])\ntry: socket.socket().bind(('127.0.0.1',80)); print('bound')\nexcept PermissionError: print('refused')";
    let report = run_with(
        Settings::default(),
        vec![rule("low.example.org", 25, Route::Fixture(server))],
        script,
    )
    .await;
    let text = report.stdout.text();
    assert!(
        text.matches("0000000000000000").count() == 4 && text.ends_with("refused\n"),
        "{text}"
    );
}

#[tokio::test]
async fn rules_that_are_not_exact_hosts_are_refused() {
    for (host, port) in [
        ("*.example.org", 80),
        ("", 80),
        ("a b", 80),
        ("api.example.org", 0),
    ] {
        let policy = Policy {
            network: Network::Allow(vec![rule(host, port, Route::Public)]),
            ..Policy::default()
        };
        assert!(
            crate::support::sandbox()
                .start(policy, python(""))
                .await
                .is_err(),
            "{host}:{port}"
        );
    }
}
