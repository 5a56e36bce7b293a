//! Hosts that the spec does not declare, and any use of the network where it declares none.

use super::source::{Language, Source, pattern};
use super::{Finding, Rule};
use agentwright_domain::spec::{HostPort, Spec, Trigger};
use regex::Regex;
use std::sync::LazyLock;

pattern!(
    URL,
    r#"\b(https?|wss?|ftps?|postgres(?:ql)?|mysql|redis|amqp|smtp|ssh|sftp)://(?:[^\s/@'"<>]*@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?"#
);
pattern!(
    CONNECT,
    r#"\b(sqlite3\.)?(?:connect|connect_ex|create_connection|HTTPS?Connection|SMTP(?:_SSL)?|FTP(?:_TLS)?|IMAP4(?:_SSL)?|POP3(?:_SSL)?|Telnet)\(\s*\(?\s*["']([A-Za-z0-9._:-]+)["']"#
);
pattern!(
    CLIENT,
    r"^\s*(?:import|from)\s+(urllib\.request|urllib3|http\.client|socket|ssl|ftplib|smtplib|imaplib|poplib|telnetlib|xmlrpc\.client|requests|httpx|aiohttp|paramiko|websockets?|boto3|pycurl)\b"
);
pattern!(
    LISTED,
    r"^\s*import\s+.*\b(socket|requests|httpx|aiohttp|paramiko|ftplib|smtplib)\b"
);
pattern!(
    TOOL,
    r#"(?:^|[;&|(`{]|\b(?:then|do|else|exec|sudo|env|xargs|command|if|while|until|!)\s)\s*(curl|wget|nc|ncat|netcat|telnet|ssh|scp|sftp|ftp|rsync\s+[^;]*::?|socat|dig|nslookup|ping|git\s+(?:clone|fetch|pull|push)|pip3?\s+install|npm\s+(?:i|install)|apt(?:-get)?\s+install)\b"#
);
pattern!(QUOTED, r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"#);
pattern!(
    CONNECTS,
    r"\b(?:curl|wget|nc|ncat|socat|ssh|scp|rsync|git|pip3?|npm|fetch|open|get|post|connect)\b"
);
pattern!(DEV_TCP, r"/dev/(?:tcp|udp)/([A-Za-z0-9.-]+)/");

/// Addresses that are names of vocabularies, and names kept for documentation: never connected to.
static NAMES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"^(?:www\.)?w3\.org$",
        r"^purl\.org$",
        r"^purl\.[a-z]+\.org$",
        r"^xmlns\.com$",
        r"^(?:www\.)?schema\.org$",
        r"^json-schema\.org$",
        r"^(?:www\.)?itunes\.com$",
        r"^search\.yahoo\.com$",
        r"^wellformedweb\.org$",
        r"^jsonfeed\.org$",
        r"^www\.rssboard\.org$",
        r"^(?:.*\.)?example(?:\.(?:com|org|net))?$",
        r"^(?:.*\.)?(?:test|invalid)$",
    ]
    .iter()
    .filter_map(|text| Regex::new(text).ok())
    .collect()
});

pub(super) fn check(source: &Source<'_>, spec: &Spec, found: &mut Vec<Finding>) {
    let declared: Vec<&HostPort> = spec
        .permissions
        .network
        .iter()
        .chain(&spec.permissions.allow_private)
        .collect();
    let service = matches!(spec.trigger, Trigger::Service { .. });
    let mut report = |line: usize, what: String| {
        found.push(Finding {
            rule: Rule::Network,
            path: source.path.to_owned(),
            line,
            what,
        });
    };
    for (i, line) in source.code.iter().enumerate() {
        for (host, port) in hosts(line) {
            if !known(&host, port, &declared) {
                report(
                    i + 1,
                    format!("it names {host}, which the spec does not declare"),
                );
            }
        }
        if source.language == Language::Python && declared.is_empty() {
            let client = CLIENT.captures(line).or_else(|| LISTED.captures(line));
            // A service listens; what it imports for that says nothing yet.
            let listens = |name: &str| service && matches!(name, "socket" | "ssl");
            if let Some(client) = client.filter(|client| !listens(&client[1])) {
                report(
                    i + 1,
                    format!("it uses {}, but the spec declares no host", &client[1]),
                );
            }
        }
    }
    if declared.is_empty() {
        for (number, line) in source.commands() {
            if let Some(tool) = TOOL.captures(&line) {
                let tool = tool[1]
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                report(
                    number,
                    format!("it runs {tool}, but the spec declares no host"),
                );
            }
        }
    }
}

/// Hosts that a line names as places to connect to, with their ports where known.
fn hosts(line: &str) -> Vec<(String, Option<u16>)> {
    let mut hosts = Vec::new();
    let said = said(line);
    for url in URL.captures_iter(line) {
        let at = url.get(0).map_or(0, |all| all.start());
        if said.iter().any(|text| text.contains(&at)) {
            continue;
        }
        let port = url.get(3).and_then(|port| port.as_str().parse().ok());
        let usual = match &url[1] {
            "https" | "wss" => Some(443),
            "http" | "ws" => Some(80),
            _ => None,
        };
        hosts.push((url[2].to_ascii_lowercase(), port.or(usual)));
    }
    let others = CONNECT
        .captures_iter(line)
        // A database of that kind is a file, or in memory.
        .filter(|found| found.get(1).is_none())
        .filter_map(|found| found.get(2))
        .chain(DEV_TCP.captures_iter(line).filter_map(|found| found.get(1)));
    hosts.extend(others.map(|host| (host.as_str().to_ascii_lowercase(), None)));
    hosts
}

/// Where texts for people stand on a line: in quotes, with words before the address, and no program
/// that would connect among them.
fn said(line: &str) -> Vec<std::ops::Range<usize>> {
    QUOTED
        .find_iter(line)
        .filter(|text| {
            let before = URL
                .find(text.as_str())
                .map_or("", |url| &text.as_str()[..url.start()]);
            before.split_whitespace().count() >= 2 && !CONNECTS.is_match(before)
        })
        .map(|text| text.range())
        .collect()
}

fn known(host: &str, port: Option<u16>, declared: &[&HostPort]) -> bool {
    let host = host.trim_matches(['[', ']']);
    let own = host == "localhost" || host == "::1" || host == "0.0.0.0" || host.starts_with("127.");
    // A host that is put together when it runs cannot be read here; the walls hold it.
    let open = host.is_empty() || host.ends_with('.') || !host.contains(['.', ':']);
    own || open
        || NAMES.iter().any(|name| name.is_match(host))
        || declared
            .iter()
            .any(|at| at.host == host && port.is_none_or(|port| port == at.port))
}
