//! `up` as a process: what it prints, who gets in, how it ends; and a backup brought up elsewhere.

use crate::home::{Home, alive, finished};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// Sends a request and answers what came back.
fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the server");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    said
}

#[expect(clippy::too_many_lines, reason = "a story, told in one piece")]
#[test]
fn the_server_comes_up_says_how_to_get_in_and_ends_when_asked() {
    let home = Home::new();
    let check = home.done(&["up", "--check", "--port", "0"]);
    assert!(check.out.contains("would be made"), "{check:?}");
    assert!(!home.data().exists());

    let mut server = home.start(&["--json", "up", "--port", "0"]);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let url = told["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let key = told["key"].as_str().unwrap();
    let get = |key: &str| {
        asked(
            address,
            &format!(
                "GET /api/v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n"
            ),
        )
    };
    assert!(get(key).starts_with("HTTP/1.1 200"));
    assert!(get("aw_wrong").starts_with("HTTP/1.1 401"));

    let made = home.json(
        0,
        &[
            "key", "create", "ci", "--role", "operator", "--kind", "agent",
        ],
    );
    let (id, secret) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    assert!(get(secret).starts_with("HTTP/1.1 200"));
    assert!(home.done(&["key", "list"]).out.contains("ci"));
    home.done(&["key", "revoke", id]);
    assert!(get(secret).starts_with("HTTP/1.1 401"));
    let high = home.run(&["key", "create", "x", "--role", "admin", "--kind", "service"]);
    assert!(
        high.code == 1 && high.err.contains("only people approve"),
        "{high:?}"
    );
    let again = home.json(0, &["login", "--role", "viewer", "--name", "Ann"]);
    assert!(again["url"].as_str().unwrap().starts_with(url));
    home.done(&["organization", "create", "acme"]);
    home.done(&[
        "key",
        "create",
        "ann",
        "--role",
        "admin",
        "--organization",
        "acme",
    ]);
    assert!(home.done(&["organization", "list"]).out.contains("acme"));
    let unknown = home.run(&["key", "list", "--organization", "nowhere"]);
    assert!(
        unknown.code == 1 && unknown.err.contains("no organization"),
        "{unknown:?}"
    );
    let kept = home.run(&["organization", "delete", "acme"]);
    assert!(kept.code == 2 && kept.err.contains("--yes"), "{kept:?}");
    home.done(&["organization", "delete", "acme", "--yes"]);
    assert!(home.done(&["audit", "list"]).out.contains("key.revoke"));
    assert!(home.done(&["audit", "verify"]).out.contains("intact"));
    let second = home.run(&["up", "--port", "0"]);
    assert_eq!(second.code, 75, "{second:?}");

    let file = home.work().join("b.tar.gz");
    let file = file.to_str().unwrap();
    home.done(&["backup", file]);
    let pid = server.id();
    home.done(&["daemon", "stop"]);
    assert_eq!(finished(server, &["up"]).code, 0);
    assert!(!alive(pid));

    let to = home.work().join("restored");
    let to = to.to_str().unwrap();
    assert_eq!(
        home.run(&["restore", file]).code,
        1,
        "its own data is not overwritten"
    );
    home.done(&["restore", file, "--data", to]);
    let status = home.json(0, &["daemon", "start", "--data", to]);
    assert_eq!(status["health"]["status"], "fenced");
    home.done(&["restore", "--confirm", "--data", to]);
    let status = home.json(0, &["daemon", "start", "--data", to]);
    assert_eq!(status["health"]["status"], "healthy");
    home.done(&["daemon", "stop", "--data", to]);
    assert_eq!(home.run(&["restore", "--confirm", "--data", to]).code, 1);
}
