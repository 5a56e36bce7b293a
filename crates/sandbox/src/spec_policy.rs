//! The one function from a spec to a sandbox policy, so that tests and production look alike inside.
//!
//! It lives here because both `verify` and `runtime` need it and neither may know the other. The rest
//! of this crate does not know specs. Start at [`spec_policy`].

use crate::policy::{
    Access, HostRule, Limits, Mount, Network, Policy, Publish, Route, SyntheticFile,
};
use agentwright_domain::spec::{self, HostPort, Spec, Trigger};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the parts of a spec lie on this host, this time.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The code: `/app`, read-only.
    pub app: PathBuf,
    /// The private directory: `/state`, writable.
    pub state: PathBuf,
    /// Declared folder → directory on the host, in place of the declared path (tests).
    pub folders: BTreeMap<String, PathBuf>,
    /// Whether writable folders may be written to.
    pub folder_access: FolderAccess,
    /// Declared host → fixture that answers for it (tests).
    pub fixtures: BTreeMap<HostPort, SocketAddr>,
    /// Declared program → executable on the host, for those outside `/usr`.
    pub programs: BTreeMap<String, PathBuf>,
    /// Files given as bytes, for example a fake `claude` in `/run/bin`.
    pub files: Vec<SyntheticFile>,
    /// Variables beside the spec's own: resolved secrets, fixtures.
    pub environment: BTreeMap<String, String>,
    /// Where a service is published in place of `127.0.0.1:<publish>`.
    pub publish: Option<SocketAddr>,
}

/// What may be done with the declared folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FolderAccess {
    /// What the spec declares.
    #[default]
    AsDeclared,
    /// Only reading: a preview on real data.
    ReadOnly,
}

const MIB: u64 = 1024 * 1024;

/// The policy for one run of a spec's command. Everything that the spec does not declare is denied.
#[must_use]
pub fn spec_policy(spec: &Spec, place: &Place) -> Policy {
    let mut env = spec.permissions.environment.clone();
    env.extend(place.environment.clone());
    Policy {
        mounts: mounts(spec, place),
        files: place.files.clone(),
        env,
        workdir: PathBuf::from("/state"),
        network: network(spec, place),
        publish: publish(spec, place),
        limits: limits(spec),
        ..Policy::default()
    }
}

fn mounts(spec: &Spec, place: &Place) -> Vec<Mount> {
    let mount = |host: &Path, inside: String, access| Mount {
        host: host.to_owned(),
        inside: PathBuf::from(inside),
        access,
    };
    let mut mounts = vec![
        mount(&place.app, "/app".into(), Access::Read),
        mount(&place.state, "/state".into(), Access::Write),
    ];
    for folder in &spec.permissions.folders {
        let name = folder.name.as_str();
        let declared = PathBuf::from(&folder.path);
        let host = place.folders.get(name).unwrap_or(&declared);
        let access = match (folder.access, place.folder_access) {
            (spec::Access::Write, FolderAccess::AsDeclared) => Access::Write,
            (spec::Access::Write, FolderAccess::ReadOnly) | (spec::Access::Read, _) => Access::Read,
        };
        mounts.push(mount(host, format!("/data/{name}"), access));
    }
    for (name, host) in &place.programs {
        if spec.permissions.programs.contains(name) {
            mounts.push(mount(host, format!("/run/bin/{name}"), Access::Read));
        }
    }
    mounts
}

fn network(spec: &Spec, place: &Place) -> Network {
    let rule = |at: &HostPort, real: Route| HostRule {
        host: at.host.clone(),
        port: at.port,
        route: place
            .fixtures
            .get(at)
            .map_or(real, |to| Route::Fixture(*to)),
    };
    let public = spec
        .permissions
        .network
        .iter()
        .map(|at| rule(at, Route::Public));
    let private = spec
        .permissions
        .allow_private
        .iter()
        .map(|at| rule(at, Route::Private));
    let rules: Vec<HostRule> = public.chain(private).collect();
    if rules.is_empty() {
        Network::Off
    } else {
        Network::Allow(rules)
    }
}

fn publish(spec: &Spec, place: &Place) -> Option<Publish> {
    match &spec.trigger {
        Trigger::Service { port, publish, .. } => Some(Publish {
            inside_port: *port,
            host: place
                .publish
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, *publish))),
        }),
        Trigger::Schedule { .. } | Trigger::Once | Trigger::Manual => None,
    }
}

fn limits(spec: &Spec) -> Limits {
    let wall_ms = match &spec.trigger {
        Trigger::Service { .. } => None,
        Trigger::Schedule { .. } | Trigger::Once | Trigger::Manual => {
            Some(spec.limits.wall_s.saturating_mul(1000))
        }
    };
    Limits {
        wall_ms,
        memory_bytes: spec.limits.memory_mib.saturating_mul(MIB),
        processes: u64::from(spec.limits.processes),
        disk_bytes: spec.limits.disk_mib.saturating_mul(MIB),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(trigger: serde_json::Value) -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "script",
            "command": ["python3", "/app/main.py"], "trigger": trigger,
            "permissions": {
                "folders": [
                    {"name": "in", "path": "/srv/in", "access": "read"},
                    {"name": "out", "path": "/srv/out", "access": "write"},
                ],
                "network": ["example.org:443"], "allow_private": ["10.0.0.5:80"],
                "programs": ["claude"], "environment": {"A": "1"},
            },
            "limits": {"wall_s": 5, "memory_mib": 64, "processes": 8, "disk_mib": 10},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
        }))
        .unwrap()
    }

    fn at(policy: &Policy, inside: &str) -> (PathBuf, Access) {
        let found = policy
            .mounts
            .iter()
            .find(|m| m.inside == Path::new(inside))
            .unwrap();
        (found.host.clone(), found.access)
    }

    #[test]
    fn production_binds_exactly_what_is_declared() {
        let place = Place {
            app: "/d/app".into(),
            state: "/d/state".into(),
            programs: [
                ("claude".into(), "/opt/claude".into()),
                ("other".into(), "/opt/o".into()),
            ]
            .into(),
            environment: [("SECRET".into(), "s".into())].into(),
            ..Place::default()
        };
        let policy = spec_policy(&spec(json!({"type": "manual"})), &place);
        assert_eq!(at(&policy, "/app"), ("/d/app".into(), Access::Read));
        assert_eq!(at(&policy, "/state"), ("/d/state".into(), Access::Write));
        assert_eq!(at(&policy, "/data/in"), ("/srv/in".into(), Access::Read));
        assert_eq!(at(&policy, "/data/out"), ("/srv/out".into(), Access::Write));
        assert_eq!(
            at(&policy, "/run/bin/claude"),
            ("/opt/claude".into(), Access::Read)
        );
        assert_eq!(policy.mounts.len(), 5);
        assert_eq!(
            policy.env,
            [("A".into(), "1".into()), ("SECRET".into(), "s".into())].into()
        );
        assert_eq!(policy.limits.wall_ms, Some(5000));
        assert_eq!(policy.limits.memory_bytes, 64 * MIB);
        assert_eq!(policy.publish, None);
        let Network::Allow(rules) = policy.network else {
            panic!("hosts are declared")
        };
        assert_eq!(rules[0].route, Route::Public);
        assert_eq!(rules[1].route, Route::Private);
    }

    #[test]
    fn a_test_replaces_folders_and_hosts_and_nothing_else() {
        let fixture: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let declared: HostPort = "example.org:443".to_owned().try_into().unwrap();
        let place = Place {
            folders: [
                ("in".into(), "/t/in".into()),
                ("out".into(), "/t/out".into()),
            ]
            .into(),
            fixtures: [(declared, fixture)].into(),
            ..Place::default()
        };
        let production = spec_policy(&spec(json!({"type": "manual"})), &Place::default());
        let test = spec_policy(&spec(json!({"type": "manual"})), &place);
        let inside = |p: &Policy| {
            p.mounts
                .iter()
                .map(|m| (m.inside.clone(), m.access))
                .collect::<Vec<_>>()
        };
        assert_eq!(inside(&production), inside(&test));
        assert_eq!(production.limits, test.limits);
        let Network::Allow(rules) = test.network else {
            panic!("hosts are declared")
        };
        assert_eq!(rules[0].route, Route::Fixture(fixture));
    }

    #[test]
    fn a_preview_writes_nowhere_but_into_its_state() {
        let place = Place {
            folder_access: FolderAccess::ReadOnly,
            ..Place::default()
        };
        let policy = spec_policy(&spec(json!({"type": "manual"})), &place);
        assert_eq!(at(&policy, "/data/out").1, Access::Read);
        assert_eq!(at(&policy, "/state").1, Access::Write);
    }

    #[test]
    fn a_service_has_no_wall_limit_and_is_published_on_loopback() {
        let trigger =
            json!({"type": "service", "port": 8080, "publish": 9000, "health_path": "/health"});
        let policy = spec_policy(&spec(trigger), &Place::default());
        assert_eq!(policy.limits.wall_ms, None);
        let publish = policy.publish.unwrap();
        assert_eq!(
            (publish.inside_port, publish.host),
            (8080, "127.0.0.1:9000".parse().unwrap())
        );
    }
}
