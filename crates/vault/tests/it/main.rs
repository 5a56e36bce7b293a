//! AppRole and KV version 2, against a fake that answers in Vault's shapes.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod real;

use agentwright_domain::secret::{Reference, VaultPath};
use agentwright_testkit::FakeVault;
use agentwright_vault::{Config, Fault, Secret, Vault};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PASSWORD: &str = "s3cret-of-the-database";

struct Bed {
    server: FakeVault,
    config: Config,
    dir: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let (server, dir) = (FakeVault::start().await, TempDir::new().unwrap());
        server.put(
            "secret/team/db",
            json!({"password": PASSWORD, "port": 5432}),
        );
        let config = Config {
            role_id: file(dir.path(), "role-id", FakeVault::ROLE_ID),
            secret_id: file(dir.path(), "secret-id", FakeVault::SECRET_ID),
            keep_s: 0,
            ..Config::new(server.url())
        };
        Self {
            server,
            config,
            dir,
        }
    }

    fn vault(&self) -> Vault {
        Vault::new(self.config.clone()).unwrap()
    }

    fn logins(&self) -> usize {
        let asked = self.server.asked();
        asked
            .iter()
            .filter(|one| *one == "POST auth/approle/login")
            .count()
    }
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    mode(&path, 0o600);
    path
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn path(text: &str) -> VaultPath {
    match text.parse().unwrap() {
        Reference::Vault(path) => path,
        Reference::Env(_) | Reference::File(_) => panic!("{text}"),
    }
}

/// As those do it who stand in async code.
async fn read(vault: &Vault, of: &str) -> Result<Secret, Fault> {
    let (vault, path) = (vault.clone(), path(of));
    tokio::task::spawn_blocking(move || vault.read(&path))
        .await
        .unwrap()
}

const DB: &str = "vault:secret/team/db#password";

#[tokio::test]
async fn a_field_is_read_with_one_login_and_nothing_secret_is_ever_shown() {
    let bed = Bed::new().await;
    let vault = bed.vault();
    for _ in 0..3 {
        assert_eq!(read(&vault, DB).await.unwrap().expose(), PASSWORD);
    }
    assert_eq!(bed.logins(), 1);
    assert_eq!(bed.server.asked()[1], "GET secret/data/team/db");
    let shown = format!("{vault:?} {:?} {:?}", bed.config, read(&vault, DB).await);
    for secret in [PASSWORD, FakeVault::SECRET_ID, &bed.server.tokens()[0]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn what_was_read_is_believed_for_a_while() {
    let bed = Bed::new().await;
    let config = Config {
        keep_s: 300,
        ..bed.config.clone()
    };
    let vault = Vault::new(config).unwrap();
    read(&vault, DB).await.unwrap();
    bed.server.seal(true);
    assert_eq!(read(&vault, DB).await.unwrap().expose(), PASSWORD);
    assert_eq!(read(&bed.vault(), DB).await.unwrap_err(), Fault::Sealed);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_made_anew_when_it_cannot_be() {
    let bed = Bed::new().await;
    let vault = bed.vault();
    // The last third of one second begins after two thirds of it.
    bed.server.tokens_last(1, true);
    read(&vault, DB).await.unwrap();
    agentwright_testkit::eventually("it is renewed", async || {
        read(&vault, DB).await.unwrap();
        let asked = bed.server.asked();
        asked
            .iter()
            .any(|one| one == "POST auth/token/renew-self")
            .then_some(())
    })
    .await;
    bed.server.tokens_last(1, false);
    let before = bed.logins();
    agentwright_testkit::eventually("it logs in anew", async || {
        read(&vault, DB).await.unwrap();
        (bed.logins() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once_and_a_path_that_is_denied_stays_denied() {
    let bed = Bed::new().await;
    let vault = bed.vault();
    read(&vault, DB).await.unwrap();
    bed.server.revoke_all();
    assert_eq!(read(&vault, DB).await.unwrap().expose(), PASSWORD);
    assert_eq!(bed.logins(), 2);
    bed.server.deny("secret/team/db");
    let denied = read(&vault, DB).await.unwrap_err();
    assert_eq!(denied, Fault::Denied("secret/team/db".to_owned()));
    assert_eq!(bed.logins(), 3);
}

#[tokio::test]
async fn every_way_to_fail_says_what_to_do_and_holds_no_secret() {
    let bed = Bed::new().await;
    let vault = bed.vault();
    let missing = read(&vault, "vault:secret/nobody#password")
        .await
        .unwrap_err();
    assert_eq!(missing, Fault::Missing("secret/nobody".to_owned()));
    for field in ["nothing", "port"] {
        let fault = read(&vault, &format!("vault:secret/team/db#{field}"))
            .await
            .unwrap_err();
        assert!(
            fault.to_string().contains(field) && !fault.to_string().contains("5432"),
            "{fault}"
        );
    }
    bed.server.seal(true);
    assert!(
        read(&vault, DB)
            .await
            .unwrap_err()
            .to_string()
            .contains("unseal")
    );
    bed.server.seal(false);
    read(&vault, DB).await.unwrap();
    bed.server.redirect();
    assert_eq!(read(&vault, DB).await.unwrap_err(), Fault::Redirect);
    let nobody = Config {
        address: "http://127.0.0.1:9".into(),
        ..bed.config.clone()
    };
    let away = read(&Vault::new(nobody).unwrap(), DB).await.unwrap_err();
    assert!(matches!(away, Fault::Away(_)), "{away}");
}

#[tokio::test]
async fn an_approle_that_is_wrong_or_open_to_others_is_refused() {
    let bed = Bed::new().await;
    let secret_id = bed.config.secret_id.clone();
    let refused = async || read(&bed.vault(), DB).await.unwrap_err().to_string();
    for open in [0o640, 0o604, 0o620] {
        mode(&secret_id, open);
        let said = refused().await;
        assert!(
            said.contains(&format!("{open:o}")) && said.contains("chmod 600"),
            "{said}"
        );
    }
    mode(&secret_id, 0o600);
    mode(&bed.config.role_id, 0o666);
    assert!(refused().await.contains("chmod 644"));
    mode(&bed.config.role_id, 0o644);
    assert_eq!(bed.logins(), 0, "nobody was asked");
    read(&bed.vault(), DB).await.unwrap();

    file(bed.dir.path(), "secret-id", "00000000-wrong");
    assert_eq!(read(&bed.vault(), DB).await.unwrap_err(), Fault::Role);
    assert!(!refused().await.contains("00000000-wrong"));
    file(bed.dir.path(), "secret-id", "");
    assert!(refused().await.contains("is empty"));
    std::fs::remove_file(&secret_id).unwrap();
    assert!(refused().await.contains("cannot be read"));
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused() {
    let new = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new("https://vault.example.org:8200");
        change(&mut config);
        Vault::new(config)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(new(&|_| {}), Ok(()));
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 6] = [
        ("address", |c| c.address = "vault:8200".into()),
        ("address", |c| c.address = "https://ann:s3cret@vault".into()),
        ("absolute", |c| c.secret_id = "secret-id".into()),
        ("auth_mount", |c| c.auth_mount = "../sys".into()),
        ("namespace", |c| c.namespace = Some("a\r\nb".into())),
        ("keep_s", |c| c.keep_s = 301),
    ];
    for (says, change) in changes {
        let said = new(&change).unwrap_err();
        assert!(said.contains(says) && !said.contains("s3cret"), "{said}");
    }
}

async fn checked(vault: &Vault) -> Result<String, Fault> {
    let vault = vault.clone();
    let asked = tokio::task::spawn_blocking(move || vault.check());
    asked.await.unwrap()
}

#[tokio::test]
async fn a_check_tells_whether_it_is_there_unsealed_and_lets_us_in_and_reads_nothing() {
    let mut bed = Bed::new().await;
    let vault = bed.vault();
    assert_eq!(checked(&vault).await.unwrap(), "1.19.0");
    assert_eq!(checked(&vault).await.unwrap(), "1.19.0");
    // One login serves both; a token that was taken back is replaced.
    assert_eq!(bed.logins(), 1);
    bed.server.revoke_all();
    assert_eq!(checked(&vault).await.unwrap(), "1.19.0");
    assert_eq!(bed.logins(), 2);
    assert!(bed.server.asked().iter().all(|one| !one.contains("data")));

    bed.server.seal(true);
    assert_eq!(checked(&vault).await.unwrap_err(), Fault::Sealed);
    bed.server.seal(false);
    bed.config.secret_id = file(bed.dir.path(), "secret-id", "wrong");
    assert_eq!(checked(&bed.vault()).await.unwrap_err(), Fault::Role);
    let away = Config {
        address: "http://127.0.0.1:9".into(),
        ..bed.config.clone()
    };
    let away = checked(&Vault::new(away).unwrap()).await.unwrap_err();
    assert!(matches!(away, Fault::Away(_)), "{away}");
}

#[test]
fn plain_http_is_for_this_machine_only_unless_it_is_meant() {
    let of = |address: &str, allow_http| {
        let config = Config {
            allow_http,
            ..Config::new(address)
        };
        Vault::new(config).map(drop).map_err(|why| why.to_string())
    };
    for here in [
        "http://127.0.0.1:8200",
        "http://localhost:8200",
        "http://[::1]:8200",
        "https://vault.example.org:8200",
    ] {
        assert_eq!(of(here, false), Ok(()), "{here}");
    }
    for beyond in [
        "http://vault.lan:8200",
        "http://10.0.0.7:8200",
        "http://127.0.0.1.example.org",
    ] {
        let said = of(beyond, false).unwrap_err();
        assert!(said.contains("allow_http"), "{said}");
        assert_eq!(of(beyond, true), Ok(()), "{beyond}");
    }
}

/// Speaks TLS with a certificate of its own and passes on what is said to the fake.
async fn behind_tls(server: &FakeVault) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_key(&made.signing_key);
    // Fails only when another test of the process was first: the same provider.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = server.url().replace("http://", "");
    let serve = async move |stream| {
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let mut on = tokio::net::TcpStream::connect(&to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut on).await;
        }
    };
    let serve = std::sync::Arc::new(serve);
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = std::sync::Arc::clone(&serve);
            tokio::spawn(async move { serve(stream).await });
        }
    });
    (format!("https://localhost:{port}"), made.cert.pem())
}

fn rustls_key(key: &rcgen::KeyPair) -> tokio_rustls::rustls::pki_types::PrivateKeyDer<'static> {
    tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

#[tokio::test]
async fn a_certificate_of_ones_own_authority_is_believed_where_it_is_named_and_nowhere_else() {
    let bed = Bed::new().await;
    let (address, ca) = behind_tls(&bed.server).await;
    let with = |ca: Option<PathBuf>| Config {
        address: address.clone(),
        ca,
        ..bed.config.clone()
    };
    let ours = file(bed.dir.path(), "ca.pem", &ca);
    let vault = Vault::new(with(Some(ours))).unwrap();
    assert_eq!(checked(&vault).await.unwrap(), "1.19.0");

    let unknown = checked(&Vault::new(with(None)).unwrap()).await.unwrap_err();
    assert!(matches!(unknown, Fault::Away(_)), "{unknown}");
    let said = unknown.to_string();
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(bed.logins(), 1);

    for (text, why) in [
        ("no certificate", "no certificate in PEM"),
        ("", "no certificate in PEM"),
    ] {
        let odd = file(bed.dir.path(), "odd.pem", text);
        let said = Vault::new(with(Some(odd))).unwrap_err().to_string();
        assert!(said.contains(why) && said.contains("odd.pem"), "{said}");
    }
    let gone = Vault::new(with(Some(bed.dir.path().join("gone.pem"))));
    assert!(gone.unwrap_err().to_string().contains("cannot be read"));
}
