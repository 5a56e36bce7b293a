//! Paths and addresses as people write them, made absolute by reading alone: nothing is looked up.

use crate::plan::Context;
use crate::vocabulary::EXTENSIONS;
use url::{Host, Url};

/// The extension, in lower case, if the last part of the path has a known one.
pub(crate) fn extension(path: &str) -> Option<String> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    if path.ends_with('/') {
        return None;
    }
    let (stem, extension) = last.rsplit_once('.')?;
    let extension = extension.to_ascii_lowercase();
    let known = EXTENSIONS.contains(&extension.as_str());
    (known && !stem.is_empty()).then_some(extension)
}

/// Files that go without an extension.
const BARE_FILES: [&str; 10] = [
    "syslog",
    "messages",
    "dmesg",
    "maillog",
    "secure",
    "access_log",
    "error_log",
    "readme",
    "license",
    "makefile",
];

/// Whether a path names a file: by its extension, or because files of this name have none.
pub(crate) fn names_file(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    extension(path).is_some() || BARE_FILES.contains(&last.as_str())
}

/// Makes a path absolute: `~` is the home directory, everything else starts at the base directory.
///
/// # Errors
/// Says what is wrong with it and what to write instead.
pub(crate) fn absolute(path: &str, context: &Context) -> Result<String, String> {
    if path.chars().any(char::is_control) {
        return Err("a path cannot hold control characters".to_owned());
    }
    if path.len() > 4096 {
        return Err("the path is too long".to_owned());
    }
    let windows = path.as_bytes().get(1) == Some(&b':') && path.contains('\\');
    if windows || path.starts_with("\\\\") {
        return Err(format!(
            "{path} is a path of Windows; write it as it is on this machine, for example /mnt/c/…"
        ));
    }
    let full = if path == "~" || path.starts_with("~/") {
        let home = context
            .home
            .as_deref()
            .ok_or("there is no home directory here; write the whole path")?;
        format!("{home}{}", &path[1..])
    } else if path.starts_with('~') {
        return Err(format!(
            "{path}: other people's home directories are written in full"
        ));
    } else if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", context.base_dir)
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts
                    .pop()
                    .ok_or_else(|| format!("{path} leads above the root directory"))?;
            }
            _ => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Folders that no automation may write into, themselves or (for those that end in `/`) below them.
const KEPT: &[&str] = &[
    "/", "/bin/", "/boot/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/root", "/run/",
    "/sbin/", "/sys/", "/usr/", "/var", "/home",
];

/// Refuses system folders as places to write.
///
/// # Errors
/// Names the folder and what to do.
pub(crate) fn writable(path: &str) -> Result<(), String> {
    let kept = KEPT.iter().any(|kept| {
        let folder = kept.trim_end_matches('/');
        path == folder
            || (path == "/" && *kept == "/")
            || (kept.len() > 1 && kept.ends_with('/') && path.starts_with(kept))
    });
    if kept {
        return Err(format!(
            "{path} belongs to the system; choose a folder of your own"
        ));
    }
    Ok(())
}

/// An http or https address in its normal form.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| format!("{text} is not an address: {why}"))?;
    if !matches!(url.scheme(), "http" | "https" | "postgres" | "postgresql") {
        return Err(format!("{text}: only http and https addresses can be used"));
    }
    if url.host().is_none() {
        return Err(format!("{text} names no host"));
    }
    if url.password().is_some() || (!url.username().is_empty() && url.scheme().starts_with("http"))
    {
        return Err("an address must not hold a user name or password; hand secrets in as env:NAME, file:/PATH or vault:MOUNT/PATH#FIELD".to_owned());
    }
    Ok(url)
}

/// `host:port` of an address.
pub(crate) fn host_port(url: &Url) -> Option<String> {
    let host = match url.host()? {
        Host::Ipv6(address) => format!("[{address}]"),
        Host::Ipv4(address) => address.to_string(),
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
    };
    let known = if url.scheme().starts_with("postgres") {
        Some(5432)
    } else {
        url.port_or_known_default()
    };
    Some(format!("{host}:{}", url.port().or(known)?))
}

/// Whether a host is private: only reachable with a yes of its own.
pub(crate) fn private(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        let [a, b, ..] = address.octets();
        let shared = a == 100 && (64..128).contains(&b);
        return address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || shared;
    }
    if let Ok(address) = host.parse::<std::net::Ipv6Addr>() {
        let first = address.segments()[0];
        return address.is_loopback()
            || address.is_unspecified()
            || (first & 0xfe00) == 0xfc00
            || (first & 0xffc0) == 0xfe80;
    }
    let suffixes = [
        ".local",
        ".lan",
        ".internal",
        ".localhost",
        ".home",
        ".home.arpa",
    ];
    host == "localhost" || !host.contains('.') || suffixes.iter().any(|end| host.ends_with(end))
}
