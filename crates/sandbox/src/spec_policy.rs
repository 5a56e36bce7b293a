//! The one way from a spec to a sandbox policy, for tests, previews and production alike.
//!
//! The same spec gives the same view from inside wherever it runs: the same paths, the same variables, the
//! same path of the CA bundle, the same names of hosts. Only what stands behind them differs ([`Routes`]).
//! It lives here because `verify` and `runtime` need it and neither may know the other; the rest of this
//! crate knows no specs.

use crate::policy::{
    Access as Bound, HostRule, Limits, Mount, Network, Policy, Publish, Route, SyntheticFile, Tier,
};
use agentwright_domain::spec::{Access, HostPort, SecretPermission, Spec, Trigger};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the CA bundle is, inside.
pub const CA_BUNDLE: &str = "/run/ca/bundle.pem";
/// Where programs given with an automation are, inside; first on its `PATH`.
pub const PROGRAMS: &str = "/run/bin";
/// Where distributions keep the CA bundle.
const HOST_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Variables by which common programs find the bundle.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];
const MIB: u64 = 1 << 20;

/// What stands behind declared hosts and ports.
#[derive(Clone, Debug)]
pub enum Routes {
    /// The real hosts, private ones included where they are declared; a service is published as its
    /// trigger says.
    Production,
    /// The real public hosts and no private ones; nothing is published. For a preview, before a yes.
    Preview,
    /// Fixtures, and no other host.
    Fixtures {
        /// Declared host → where its fixture listens.
        addresses: BTreeMap<HostPort, SocketAddr>,
        /// The only authority that is trusted inside, PEM.
        ca_bundle: String,
    },
}

/// Why a policy cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no directory is given for the declared folder {0:?}")]
pub struct FolderMissing(pub String);

/// The limits that a spec asks for. A service has no wall clock limit.
pub fn limits(spec: &Spec) -> Limits {
    Limits {
        wall_ms: match spec.trigger {
            Trigger::Service { .. } => None,
            Trigger::Schedule { .. } | Trigger::Once | Trigger::Manual => {
                Some(spec.limits.wall_s.saturating_mul(1000))
            }
        },
        memory_bytes: spec.limits.memory_mib.saturating_mul(MIB),
        processes: u64::from(spec.limits.processes),
        disk_bytes: spec.limits.disk_mib.saturating_mul(MIB),
        ..Limits::default()
    }
}

/// Makes the policy. `folders` maps each declared folder's name to the directory of the host that is
/// bound for it; `app` is bound read-only, `state` writable. Secrets are added by the caller ([`add_secret`]).
///
/// # Errors
/// When a declared folder has no directory: the spec's own path is never taken silently.
pub fn policy(
    spec: &Spec,
    app: &Path,
    state: &Path,
    folders: &BTreeMap<String, PathBuf>,
    routes: &Routes,
    limits: Limits,
) -> Result<Policy, FolderMissing> {
    let mut mounts = vec![
        mount(app, "/app".into(), Bound::Read),
        mount(state, "/state".into(), Bound::Write),
    ];
    for folder in &spec.permissions.folders {
        let name = folder.name.as_str();
        let host = folders
            .get(name)
            .ok_or_else(|| FolderMissing(name.to_owned()))?;
        let access = match folder.access {
            Access::Read => Bound::Read,
            Access::Write => Bound::Write,
        };
        mounts.push(mount(host, format!("/data/{name}"), access));
    }
    let mut files = Vec::new();
    let mut env = BTreeMap::from([
        ("TZ".to_owned(), zone(spec)),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ]);
    match routes {
        Routes::Fixtures { ca_bundle, .. } => files.push(SyntheticFile {
            inside: CA_BUNDLE.into(),
            content: ca_bundle.clone().into_bytes(),
            mode: 0o644,
        }),
        Routes::Production | Routes::Preview => {
            if let Some(bundle) = host_bundle() {
                mounts.push(mount(&bundle, CA_BUNDLE.into(), Bound::Read));
            }
        }
    }
    for name in BUNDLE_VARIABLES {
        env.insert((*name).to_owned(), CA_BUNDLE.to_owned());
    }
    env.extend(spec.permissions.environment.clone());
    Ok(Policy {
        mounts,
        files,
        env,
        workdir: "/state".into(),
        network: Network::Allow(rules(spec, routes)),
        publish: published(spec, routes),
        limits,
        minimum: Tier::Full,
    })
}

/// Shows declared programs that lie outside `/usr`: name → executable on the host. Others are left out.
pub fn add_programs(policy: &mut Policy, spec: &Spec, programs: &BTreeMap<String, PathBuf>) {
    for (name, host) in programs {
        if spec.permissions.programs.contains(name) {
            policy
                .mounts
                .push(mount(host, format!("{PROGRAMS}/{name}"), Bound::Read));
        }
    }
}

/// Hands in a secret as it was declared: as a variable, or as a file that lies in memory only and that nobody but the
/// automation reads, with the variable that points there. A value of several lines ends as a file of lines does; keys
/// in PEM are refused by programs without it.
pub fn add_secret(policy: &mut Policy, secret: &SecretPermission, value: &str) {
    let Some(path) = secret.file() else {
        policy.env.insert(secret.is_set_as(), value.to_owned());
        return;
    };
    let end = if value.contains('\n') && !value.ends_with('\n') {
        "\n"
    } else {
        ""
    };
    policy.env.insert(secret.is_set_as(), path.clone());
    policy.files.push(SyntheticFile {
        inside: path.into(),
        content: format!("{value}{end}").into_bytes(),
        mode: 0o400,
    });
}

/// Takes writing from all declared folders: for a look at real data. `/state` stays writable.
pub fn read_only(policy: &mut Policy) {
    for mount in &mut policy.mounts {
        if mount.inside.starts_with("/data") {
            mount.access = Bound::Read;
        }
    }
}

fn mount(host: &Path, inside: String, access: Bound) -> Mount {
    Mount {
        host: host.to_owned(),
        inside: inside.into(),
        access,
    }
}

fn host_bundle() -> Option<PathBuf> {
    HOST_BUNDLES
        .iter()
        .find_map(|path| std::fs::canonicalize(path).ok())
}

fn rules(spec: &Spec, routes: &Routes) -> Vec<HostRule> {
    let rule = |host: &HostPort, route| HostRule {
        host: host.host.clone(),
        port: host.port,
        route,
    };
    let public = spec.permissions.network.iter();
    let private = spec.permissions.allow_private.iter();
    match routes {
        Routes::Production => public
            .map(|host| rule(host, Route::Public))
            .chain(private.map(|host| rule(host, Route::Private)))
            .collect(),
        Routes::Preview => public.map(|host| rule(host, Route::Public)).collect(),
        Routes::Fixtures { addresses, .. } => public
            .chain(private)
            .filter_map(|host| Some(rule(host, Route::Fixture(*addresses.get(host)?))))
            .collect(),
    }
}

fn published(spec: &Spec, routes: &Routes) -> Option<Publish> {
    match (&spec.trigger, routes) {
        (Trigger::Service { port, publish, .. }, Routes::Production) => Some(Publish {
            inside_port: *port,
            host: SocketAddr::from((Ipv4Addr::LOCALHOST, *publish)),
        }),
        _ => None,
    }
}

/// The zone that the automation's clock shows, where the machine has its file; UTC otherwise.
pub fn zone(spec: &Spec) -> String {
    match &spec.trigger {
        Trigger::Schedule { zone, .. } => usable_zone(zone),
        Trigger::Service { .. } | Trigger::Once | Trigger::Manual => "UTC".to_owned(),
    }
}

/// The zone files that programs inside read; `/usr` is the same inside and outside.
const ZONES: &str = "/usr/share/zoneinfo";

/// The asked zone where the machine has its file: programs silently fall back to UTC where it does not.
fn usable_zone(asked: &str) -> String {
    let shaped = !asked.split('/').any(|part| part.is_empty() || part == "..");
    if shaped && Path::new(ZONES).join(asked).is_file() {
        asked.to_owned()
    } else {
        "UTC".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "service", "command": ["python3"],
            "permissions": {
                "folders": [{"name": "in", "path": "/srv/in", "access": "read"},
                            {"name": "out", "path": "/srv/out", "access": "write"}],
                "network": ["example.org:443"], "allow_private": ["db:5432"],
                "environment": {"LEVEL": "info"}
            },
            "trigger": {"type": "service", "port": 8000, "publish": 9000, "health_path": "/health"},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []}
        }))
        .unwrap()
    }

    fn folders() -> BTreeMap<String, PathBuf> {
        BTreeMap::from([
            ("in".into(), "/t/in".into()),
            ("out".into(), "/t/out".into()),
        ])
    }

    fn make(routes: &Routes) -> Policy {
        policy(
            &spec(),
            Path::new("/t/app"),
            Path::new("/t/state"),
            &folders(),
            routes,
            limits(&spec()),
        )
        .unwrap()
    }

    #[test]
    fn test_and_production_look_the_same_from_inside() {
        let fixtures = Routes::Fixtures {
            addresses: BTreeMap::from([
                (
                    HostPort {
                        host: "example.org".into(),
                        port: 443,
                    },
                    "127.0.0.1:1".parse().unwrap(),
                ),
                (
                    HostPort {
                        host: "db".into(),
                        port: 5432,
                    },
                    "127.0.0.1:2".parse().unwrap(),
                ),
            ]),
            ca_bundle: "pem".into(),
        };
        let test = make(&fixtures);
        let production = make(&Routes::Production);
        let inside = |policy: &Policy| {
            let mut paths: Vec<PathBuf> = policy
                .mounts
                .iter()
                .map(|mount| mount.inside.clone())
                .chain(policy.files.iter().map(|file| file.inside.clone()))
                .filter(|path| path.as_path() != Path::new(CA_BUNDLE))
                .collect();
            paths.sort();
            paths
        };
        let names = |policy: &Policy| match &policy.network {
            Network::Allow(rules) => rules.iter().map(|r| (r.host.clone(), r.port)).collect(),
            Network::Off => Vec::new(),
        };
        assert_eq!(inside(&test), inside(&production));
        assert_eq!(test.env, production.env);
        assert_eq!(names(&test), names(&production));
        assert_eq!(
            (&test.workdir, &test.limits),
            (&production.workdir, &production.limits)
        );
        assert_eq!(production.publish.unwrap().inside_port, 8000);
        assert_eq!(test.publish, None);
    }

    #[test]
    fn a_preview_reaches_no_private_host() {
        let preview = make(&Routes::Preview);
        let Network::Allow(rules) = preview.network else {
            panic!("a network")
        };
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].route, Route::Public);
    }

    #[test]
    fn access_is_exactly_as_declared() {
        let policy = make(&Routes::Production);
        let access = |inside: &str| {
            policy
                .mounts
                .iter()
                .find(|m| m.inside == Path::new(inside))
                .map(|m| m.access)
        };
        assert_eq!(access("/app"), Some(Bound::Read));
        assert_eq!(access("/state"), Some(Bound::Write));
        assert_eq!(access("/data/in"), Some(Bound::Read));
        assert_eq!(access("/data/out"), Some(Bound::Write));
        assert_eq!(policy.limits.wall_ms, None);
    }

    #[test]
    fn a_look_at_real_data_writes_nowhere_but_into_its_state() {
        let mut policy = make(&Routes::Preview);
        read_only(&mut policy);
        let writable = policy.mounts.iter().filter(|m| m.access == Bound::Write);
        let writable: Vec<&Path> = writable.map(|m| m.inside.as_path()).collect();
        assert_eq!(writable, [Path::new("/state")]);
    }

    #[test]
    fn only_declared_programs_are_shown() {
        let mut spec = spec();
        spec.permissions.programs = vec!["claude".into()];
        let mut policy = make(&Routes::Production);
        let programs = BTreeMap::from([
            ("claude".into(), "/opt/c".into()),
            ("other".into(), "/opt/o".into()),
        ]);
        add_programs(&mut policy, &spec, &programs);
        let shown = policy
            .mounts
            .iter()
            .filter(|m| m.inside.starts_with(PROGRAMS));
        assert_eq!(
            shown.map(|m| m.inside.clone()).collect::<Vec<_>>(),
            [PathBuf::from("/run/bin/claude")]
        );
    }

    #[test]
    fn a_secret_comes_as_the_variable_or_the_file_that_was_declared() {
        let secret = |form: &str| -> SecretPermission {
            serde_json::from_value(json!({"variable": "KEY", "reference": "env:TOKEN", "as": form}))
                .unwrap()
        };
        let mut policy = Policy::default();
        add_secret(&mut policy, &secret("variable"), "a\nb");
        assert_eq!(policy.env["KEY"], "a\nb");
        assert!(policy.files.is_empty());

        let mut policy = Policy::default();
        add_secret(&mut policy, &secret("file"), "a\nb");
        add_secret(&mut policy, &secret("file"), "one");
        assert_eq!(policy.env.len(), 1);
        assert_eq!(policy.env["KEY_FILE"], "/run/secrets/KEY");
        let files = policy.files.iter();
        let files: Vec<_> = files.map(|f| (f.content.as_slice(), f.mode)).collect();
        assert_eq!(files, [(&b"a\nb\n"[..], 0o400), (&b"one"[..], 0o400)]);
        assert_eq!(policy.files[0].inside, Path::new("/run/secrets/KEY"));
    }

    #[test]
    fn a_zone_that_the_machine_does_not_have_becomes_utc() {
        assert_eq!(usable_zone("Mars/Olympus"), "UTC");
        assert_eq!(usable_zone("../../etc/passwd"), "UTC");
    }

    #[test]
    fn a_folder_without_a_directory_is_refused() {
        let error = policy(
            &spec(),
            Path::new("/t/app"),
            Path::new("/t/state"),
            &BTreeMap::new(),
            &Routes::Production,
            limits(&spec()),
        );
        assert_eq!(error, Err(FolderMissing("in".into())));
    }
}
