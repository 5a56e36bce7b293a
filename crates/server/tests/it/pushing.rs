//! Pushes over ssh, to a real sshd on this machine. Where none is installed the tests say so and pass.

use crate::support::World;
use agentwright_server::{Config, PushSettings};
use agentwright_testkit::eventually;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd with a host key and one key that it lets in, and a repository behind it.
struct Remote {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl Remote {
    async fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            say_skipped();
            return None;
        }
        let dir = TempDir::new().unwrap();
        for key in ["host", "client", "stranger"] {
            let path = dir.path().join(key).display().to_string();
            run(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", &path],
            );
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        run("git", &["init", "--quiet", "--bare", &at("all.git")]);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            at("host"),
            at("client.pub")
        );
        std::fs::write(dir.path().join("sshd_config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where it separates its rights; only root's does.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "the other side of a push")]
        let process = Command::new(SSHD)
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("sshd answers", async || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        Some(Self { dir, port, process })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of host keys in which the remote's is that one.
    fn known(&self, name: &str, host: &str) -> PathBuf {
        let key = std::fs::read_to_string(self.at(&format!("{host}.pub"))).unwrap();
        let path = self.at(name);
        std::fs::write(&path, format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
        path
    }

    fn settings(&self, key: &str, known_hosts: PathBuf) -> PushSettings {
        let user = run("id", &["-un"]);
        let user = String::from_utf8(user.stdout).unwrap();
        let repository = self.at("all.git").display().to_string();
        PushSettings {
            key: Some(format!("file:{}", self.at(key).display())),
            known_hosts: Some(known_hosts),
            ..PushSettings::new(format!(
                "ssh://{}@127.0.0.1:{}{repository}",
                user.trim(),
                self.port
            ))
        }
    }

    fn branches(&self) -> String {
        let dir = self.at("all.git").display().to_string();
        let heads = run(
            "git",
            &[
                "-C",
                &dir,
                "for-each-ref",
                "--format=%(objectname) %(refname)",
            ],
        );
        String::from_utf8(heads.stdout).unwrap()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test makes keys and repositories"
)]
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    output
}

/// A world that pushes there, and a build of it with one commit.
async fn built(push: PushSettings) -> (World, String, String) {
    let world = World::with(|config: &mut Config| config.settings.queue.push = Some(push)).await;
    let held = world.create("hold the notes").await;
    world.script.holding().await;
    let repository = world.data().join(format!("builds/{}/repo", held.id));
    std::fs::create_dir_all(&repository).unwrap();
    let dir = repository.display().to_string();
    run(
        "git",
        &["-C", &dir, "init", "--quiet", "--initial-branch=main"],
    );
    let names = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
    let commit = ["commit", "--quiet", "--allow-empty", "-m", "one"];
    run("git", &[&["-C", &dir], &names[..], &commit[..]].concat());
    let head = run("git", &["-C", &dir, "rev-parse", "HEAD"]);
    world.script.release();
    world.until_settled(held.id.as_str()).await;
    let head = String::from_utf8(head.stdout).unwrap().trim().to_owned();
    (
        world,
        head,
        format!("refs/heads/builds/{}/{}", held.label, held.id),
    )
}

/// What is told of a push that failed.
async fn receipt(push: PushSettings) -> String {
    let (world, ..) = built(push).await;
    let scope = agentwright_store::OrgScope::local();
    let store = world.store();
    let told = eventually("it is told", async || {
        let notices = store.notices(&scope, 100).await.unwrap();
        notices
            .into_iter()
            .find(|due| due.notice.topic == "build.push_failed")
    })
    .await;
    world.end().await;
    told.notice.body
}

#[tokio::test]
async fn a_build_is_pushed_over_ssh_with_the_key_and_the_host_key_of_the_configuration() {
    let Some(remote) = Remote::start().await else {
        return;
    };
    let known = remote.known("known_hosts", "host");
    let (world, head, branch) = built(remote.settings("client", known)).await;
    eventually("it is there", async || {
        remote
            .branches()
            .contains(&format!("{head} {branch}"))
            .then_some(())
    })
    .await;
    // The key was in memory only.
    let key = std::fs::read_to_string(remote.at("client")).unwrap();
    let line = key.lines().nth(1).unwrap().to_owned();
    let mut dirs = vec![world.data()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if let Ok(text) = std::fs::read(entry.path()) {
                assert!(!String::from_utf8_lossy(&text).contains(&line), "{entry:?}");
            }
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_push_that_is_refused_says_by_whom_and_what_to_do() {
    let Some(remote) = Remote::start().await else {
        return;
    };
    let right = remote.known("known_hosts", "host");
    let wrong = remote.known("wrong_hosts", "stranger");
    let none = remote.at("no_hosts");
    std::fs::write(&none, "").unwrap();
    for (key, known, says) in [
        (
            "client",
            &wrong,
            "shows another host key than known_hosts has",
        ),
        ("client", &none, "host key is not in known_hosts"),
        ("stranger", &right, "does not take the key"),
        ("client.pub", &right, "the key of pushes cannot be read"),
        ("gone", &right, "the key of pushes cannot be read"),
    ] {
        let body = receipt(remote.settings(key, known.clone())).await;
        assert!(body.contains(says), "{key} {}: {body}", known.display());
        assert!(
            body.contains("ssh://") && body.contains("tried again"),
            "{body}"
        );
        // Where the operator keeps the key is no business of who builds.
        assert!(!body.contains("file:"), "{body}");
    }
    assert_eq!(remote.branches(), "");

    let hook = remote.at("all.git/hooks/pre-receive");
    std::fs::write(
        &hook,
        "#!/bin/sh\necho 'no builds here, please' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let body = receipt(remote.settings("client", right)).await;
    assert!(body.contains("the remote refuses the branch"), "{body}");
    assert!(body.contains("no builds here, please"), "{body}");
    assert_eq!(remote.branches(), "");
}

#[expect(clippy::print_stdout, reason = "what is missing is said")]
fn say_skipped() {
    println!(
        "SKIPPED: {SSHD} is not installed, no push went over ssh; apt-get install openssh-server"
    );
}
