//! The configuration: who wins, and errors that name key and place.

use agentwright_server::{Config, Flags, LogLevel, NotifyChannel};
use tempfile::TempDir;

fn with(toml: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("config.toml"), toml).unwrap();
    dir
}

#[test]
fn without_a_file_everything_has_a_default() {
    let dir = TempDir::new().unwrap();
    let config = Config::load(&dir.path().join("new"), Flags::default()).unwrap();
    assert_eq!(config.settings.builds, 3);
    assert_eq!(config.settings.store, "sqlite");
    assert!(config.socket().ends_with("new/daemon.sock"));
}

#[test]
fn a_file_is_read_and_a_flag_wins_over_it() {
    let dir = with(
        "builds = 5\nlisten = \"127.0.0.1:8400\"\nlog = \"debug\"\n\
         [[notify]]\ntype = \"webhook\"\nname = \"chat\"\nurl = \"https://example.org/x\"\n",
    );
    let flags = Flags {
        listen: Some("127.0.0.1:9".parse().unwrap()),
        ..Flags::default()
    };
    let settings = Config::load(dir.path(), flags).unwrap().settings;
    assert_eq!((settings.builds, settings.log), (5, LogLevel::Debug));
    assert_eq!(settings.listen.unwrap().port(), 9);
    assert!(matches!(&settings.notify[0], NotifyChannel::Webhook { name, .. } if name == "chat"));
}

#[test]
fn an_error_names_the_key_and_the_file() {
    for (toml, key) in [
        ("colour = 1", "colour"),
        ("builds = \"many\"", "builds"),
        ("builds = 0", "builds"),
        ("executions = 5000", "executions"),
        ("builds_per_organization = 4", "builds_per_organization"),
        (
            "executions_per_organization = 0",
            "executions_per_organization",
        ),
        ("lease_s = 1", "lease_s"),
        ("keep_runs_days = 0", "keep_runs_days"),
        ("keep_logs_days = 99999", "keep_logs_days"),
        ("listen = \"everywhere\"", "listen"),
        ("public_url = \"example.org\"", "public_url"),
        ("public_url = \"https://a:b@example.org\"", "public_url"),
        ("public_url = \"https://example.org/?a=b\"", "public_url"),
        ("store = \"mysql://x\"", "store"),
        ("foundations = [\"mine\"]", "foundations"),
        ("artifacts_quota_mb = 1", "artifacts_quota_mb"),
        ("log = \"loud\"", "log"),
        ("queue = { heartbeat_s = 1 }", "queue"),
        ("queue = { dir = \"here\" }", "queue"),
        ("queue = { off_hours_from = \"10 pm\" }", "queue"),
        ("[[notify]]\ntype = \"pigeon\"\n", "notify"),
    ] {
        let dir = with(toml);
        let error = Config::load(dir.path(), Flags::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(key), "{toml}: {error}");
        assert!(error.contains("config.toml"), "{toml}: {error}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused() {
    let dir = with("builds = = 1");
    let error = Config::load(dir.path(), Flags::default()).unwrap_err();
    assert!(error.to_string().contains("config.toml"), "{error}");
}

#[test]
fn a_wrong_flag_is_refused_by_its_place() {
    let dir = TempDir::new().unwrap();
    let flags = Flags {
        store: Some("mysql://x".into()),
        ..Flags::default()
    };
    let error = Config::load(dir.path(), flags).unwrap_err().to_string();
    assert!(
        error.contains("postgres") && error.contains("flag"),
        "{error}"
    );
}
