//! Starting with the machine: the texts for systemd and for a crontab, and whether one is in place.
//!
//! Nothing is installed here: the command line shows what it writes and asks. Start at [`choose`].

use agentwright_api::Supervision;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The unit's name.
pub const UNIT: &str = "agentwright.service";
/// Stands at the end of our line in a crontab.
pub const CRONTAB_MARK: &str = "# agentwright";
/// Exists where systemd runs the machine.
const SYSTEMD: &str = "/run/systemd/system";
/// How long `crontab -l` may take.
const CRONTAB_MAX: Duration = Duration::from_secs(5);

/// Everything that `service install` does and takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootStart {
    /// What it is.
    pub kind: Supervision,
    /// The file to write, with its text; none for a crontab.
    pub file: Option<(PathBuf, String)>,
    /// The line to add to the crontab; none for systemd.
    pub crontab_line: Option<String>,
    /// Commands to give after writing, each program and arguments.
    pub enable: Vec<Vec<String>>,
    /// Commands to give before taking it away.
    pub disable: Vec<Vec<String>>,
    /// What the person should know.
    pub notes: Vec<String>,
}

/// Whose machine it is, as the command line found it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The program, absolute.
    pub exe: &'a Path,
    /// The data directory, absolute.
    pub data: &'a Path,
    /// The home directory of the user.
    pub home: &'a Path,
    /// The user's name.
    pub user: &'a str,
    /// Whether it is root.
    pub root: bool,
}

/// What fits this machine: a unit of the machine for root, of the user otherwise, a crontab line where
/// systemd does not run.
pub fn choose(place: &Place<'_>) -> BootStart {
    if !Path::new(SYSTEMD).exists() {
        crontab(place)
    } else if place.root {
        system_unit(place)
    } else {
        user_unit(place)
    }
}

/// A systemd unit of the machine.
pub fn system_unit(place: &Place<'_>) -> BootStart {
    let path = Path::new("/etc/systemd/system").join(UNIT);
    BootStart {
        kind: Supervision::SystemdSystem,
        file: Some((path, unit(place, "multi-user.target"))),
        crontab_line: None,
        enable: vec![
            words(&["systemctl", "daemon-reload"]),
            words(&["systemctl", "enable", "--now", UNIT]),
        ],
        disable: vec![words(&["systemctl", "disable", "--now", UNIT])],
        notes: Vec::new(),
    }
}

/// A systemd unit of the user, which starts without a login once lingering is on.
pub fn user_unit(place: &Place<'_>) -> BootStart {
    let path = place.home.join(".config/systemd/user").join(UNIT);
    BootStart {
        kind: Supervision::SystemdUser,
        file: Some((path, unit(place, "default.target"))),
        crontab_line: None,
        enable: vec![
            words(&["systemctl", "--user", "daemon-reload"]),
            words(&["systemctl", "--user", "enable", "--now", UNIT]),
            words(&["loginctl", "enable-linger", place.user]),
        ],
        disable: vec![words(&["systemctl", "--user", "disable", "--now", UNIT])],
        notes: vec![format!(
            "lingering is switched on for {}, so that it starts without a login",
            place.user
        )],
    }
}

/// A line in the user's crontab.
pub fn crontab(place: &Place<'_>) -> BootStart {
    // `%` ends the command in a crontab.
    let quoted = |path: &Path| shell_quoted(&path.display().to_string()).replace('%', "\\%");
    let line = format!(
        "@reboot {} --data {} daemon start {CRONTAB_MARK}",
        quoted(place.exe),
        quoted(place.data)
    );
    BootStart {
        kind: Supervision::Crontab,
        file: None,
        crontab_line: Some(line),
        enable: Vec::new(),
        disable: Vec::new(),
        notes: vec!["the cron service must run on this machine".to_owned()],
    }
}

fn unit(place: &Place<'_>, wanted_by: &str) -> String {
    format!(
        "[Unit]\n\
         Description=agentwright, which runs your automations\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={} --data {} daemon run\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         TimeoutStopSec=20\n\
         KillMode=mixed\n\
         \n\
         [Install]\n\
         WantedBy={wanted_by}\n",
        unit_quoted(place.exe),
        unit_quoted(place.data)
    )
}

/// One argument of `ExecStart=` (systemd.service, "Command lines").
fn unit_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What starts the daemon with the machine now.
pub async fn installed() -> Supervision {
    if Path::new("/etc/systemd/system").join(UNIT).exists() {
        return Supervision::SystemdSystem;
    }
    let home = crate::config::home();
    let user = home.map(|home| home.join(".config/systemd/user").join(UNIT));
    if user.is_some_and(|path| path.exists()) {
        return Supervision::SystemdUser;
    }
    match crontab_text().await {
        Some(text)
            if text
                .lines()
                .any(|line| line.trim_end().ends_with(CRONTAB_MARK)) =>
        {
            Supervision::Crontab
        }
        Some(_) | None => Supervision::None,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the person's own crontab, read with the person's own program"
)]
async fn crontab_text() -> Option<String> {
    let asked = tokio::process::Command::new("crontab")
        .arg("-l")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(CRONTAB_MAX, asked).await.ok()?.ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: fn() -> Place<'static> = || Place {
        exe: Path::new("/opt/my tools/agent%wright"),
        data: Path::new("/home/ann/$data"),
        home: Path::new("/home/ann"),
        user: "ann",
        root: false,
    };

    #[test]
    fn a_unit_quotes_what_systemd_would_read_otherwise() {
        let (path, text) = user_unit(&PLACE()).file.unwrap();
        assert_eq!(
            path,
            Path::new("/home/ann/.config/systemd/user/agentwright.service")
        );
        let start =
            r#"ExecStart="/opt/my tools/agent%%wright" --data "/home/ann/$$data" daemon run"#;
        assert!(text.contains(start), "{text}");
        assert!(text.contains("WantedBy=default.target"));
    }

    #[test]
    fn the_units_of_machine_and_user_are_enabled_in_their_own_way() {
        let system = system_unit(&PLACE());
        assert_eq!(system.enable[1][1], "enable");
        assert!(system.file.unwrap().1.contains("multi-user.target"));
        let user = user_unit(&PLACE());
        assert!(user.enable.iter().any(|words| words[0] == "loginctl"));
        assert!(user.disable[0].contains(&"--user".to_owned()));
    }

    #[test]
    fn a_crontab_line_keeps_blanks_and_percent_signs() {
        let line = crontab(&PLACE()).crontab_line.unwrap();
        assert_eq!(
            line,
            "@reboot '/opt/my tools/agent\\%wright' --data '/home/ann/$data' daemon start # agentwright"
        );
    }
}
