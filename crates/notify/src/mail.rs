//! Mail over SMTP, through `lettre` with rustls and ring.

use crate::config::MailSecurity;
use crate::secret::Secret;
use crate::text::{clip_utf16, line, plain};
use crate::{Channel, Message, Resolve, SendError};
use lettre::message::{Mailbox, Message as Letter, SinglePart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// How long one step of the talk with the server may take; the outbox bounds the whole.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a subject.
const SUBJECT_MAX: usize = 200;
/// Characters of a body.
const BODY_MAX: usize = 100_000;
/// Receivers of one message.
const TO_MAX: usize = 20;

/// What a channel of this kind needs to know.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// Who logs in.
    pub user: Option<String>,
    /// A reference to the password.
    pub password: Option<String>,
    /// Who it comes from.
    pub from: String,
    /// Who it goes to.
    pub to: Vec<String>,
}

/// Sends to some people.
pub struct Mail {
    name: String,
    host: String,
    port: u16,
    security: MailSecurity,
    login: Option<(String, Secret)>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// A channel that sends as the configuration says.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub(crate) fn new(name: &str, config: &MailConfig, resolve: &Resolve) -> Result<Self, String> {
        if config.security == MailSecurity::None && !is_here(&config.host) {
            return Err(
                "sends mail unprotected: security = \"none\" is for a server on this machine"
                    .to_owned(),
            );
        }
        if config.to.is_empty() || config.to.len() > TO_MAX {
            return Err(format!(
                "goes to nobody or to more than {TO_MAX}: list them in `to`"
            ));
        }
        let mailbox = |text: &String| {
            let wrong =
                || format!("has {text:?}: write ann@example.org or \"Ann <ann@example.org>\"");
            text.parse::<Mailbox>().map_err(|_| wrong())
        };
        let login = match (&config.user, &config.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), Secret::new(password, resolve)?)),
            (Some(_), None) | (None, Some(_)) => {
                return Err("needs both user and password, or neither".to_owned());
            }
        };
        let to: Result<Vec<Mailbox>, String> = config.to.iter().map(mailbox).collect();
        Ok(Self {
            name: name.to_owned(),
            host: config.host.clone(),
            port: config.port.unwrap_or(match config.security {
                MailSecurity::Tls => 465,
                MailSecurity::Starttls => 587,
                MailSecurity::None => 25,
            }),
            security: config.security,
            login,
            from: mailbox(&config.from)?,
            to: to?,
        })
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
        // Fails only when another part of the process was first: the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = || TlsParameters::new(self.host.clone()).map_err(|error| of(&error));
        let tls = match self.security {
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::Starttls => Tls::Required(tls()?),
            MailSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(TIMEOUT));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.read().await?));
        }
        Ok(builder.build())
    }

    fn letter(&self, message: &Message) -> Result<Letter, SendError> {
        let subject = clip_utf16(&line(&message.notice.title), SUBJECT_MAX);
        let mut text = clip_utf16(&plain(&message.notice.body), BODY_MAX);
        for action in &message.actions {
            text.push_str(&format!("\n\n{}: {}", action.does.label(), action.url));
        }
        text.push('\n');
        let sent_ms = u64::try_from(message.sent_at_ms).unwrap_or(0);
        let mut letter = Letter::builder()
            .from(self.from.clone())
            .subject(subject)
            .date(UNIX_EPOCH + Duration::from_millis(sent_ms))
            // The same for every try: a mailbox shows a repetition as one.
            .message_id(Some(format!("<{}@agentwright>", message.id)));
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        letter
            .singlepart(SinglePart::plain(text))
            .map_err(|error| SendError::Never(format!("cannot write the mail: {error}")))
    }
}

#[async_trait::async_trait]
impl Channel for Mail {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let letter = self.letter(message)?;
        let sent = self.transport().await?.send(letter).await;
        sent.map(|_| ()).map_err(|error| of(&error))
    }
}

/// The server's own words are not told: they may repeat what it was sent.
fn of(error: &Error) -> SendError {
    let code = error
        .status()
        .map(|code| format!(" with {code}"))
        .unwrap_or_default();
    if error.is_permanent() {
        return SendError::Never(format!("the mail server refused{code}"));
    }
    let what = if error.is_tls() {
        "no trusted connection to the mail server"
    } else if error.is_timeout() {
        "the mail server did not answer in time"
    } else if error.is_transient() {
        "the mail server has no time"
    } else {
        "cannot reach or understand the mail server"
    };
    SendError::later(format!("{what}{code}"))
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::asking;
    use crate::testing::resolving;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// A mail server that takes one letter; `refusals` are answers to a command in place of the usual one.
    async fn server(
        refuse: Option<(&'static str, &'static str)>,
    ) -> (u16, impl Future<Output = String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let talk = async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut said = String::new();
            stream.get_mut().write_all(b"220 here\r\n").await.unwrap();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return said;
                }
                said.push_str(&line);
                let in_letter = said.contains("\r\nDATA\r\n") && !said.contains("\r\n.\r\n");
                let word = line
                    .split([' ', '\r'])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                let answer = match (refuse, word.as_str()) {
                    (Some((at, answer)), word) if at == word => answer,
                    (_, "EHLO") => "250-here\r\n250 AUTH PLAIN\r\n",
                    (_, "AUTH") => "235 ok\r\n",
                    (_, "DATA") => "354 go on\r\n",
                    (_, "QUIT") => "221 bye\r\n",
                    _ if in_letter => continue,
                    _ => "250 ok\r\n",
                };
                if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
                    return said;
                }
            }
        };
        (port, talk)
    }

    fn mail(port: u16) -> Mail {
        let config = MailConfig {
            host: "127.0.0.1".into(),
            port: Some(port),
            security: MailSecurity::None,
            user: Some("builds".into()),
            password: Some("env:P".into()),
            from: "Builds <builds@example.org>".into(),
            to: vec!["ann@example.org".into(), "bo@example.org".into()],
        };
        Mail::new("mail", &config, &resolving(&[("env:P", "s3cret")])).unwrap()
    }

    #[tokio::test]
    async fn a_letter_goes_to_everybody_with_its_links_and_no_header_of_a_models() {
        let (port, talk) = server(None).await;
        let mut message = asking();
        message.notice.title = "done\r\nBcc: thief@example.org".into();
        let mail = mail(port);
        let (sent, said) = tokio::join!(mail.send(&message), talk);
        sent.unwrap();
        assert!(said.contains("RCPT TO:<bo@example.org>"), "{said}");
        assert!(
            said.contains("Subject: done Bcc: thief@example.org\r\n"),
            "{said}"
        );
        assert!(
            said.contains("Message-ID: <run-1-0@agentwright>\r\n"),
            "{said}"
        );
        assert!(
            said.contains("Date: Thu, 25 Feb 2021 15:02:10 +0000\r\n"),
            "{said}"
        );
        assert!(!said.contains("RCPT TO:<thief"), "{said}");
        let whole = said.replace("=\r\n", "");
        assert!(
            whole.contains("Reject: https://builds.example.org/hooks/decide/no"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_told_by_its_code_and_by_whether_it_is_for_good() {
        for (refuse, later) in [
            (("RCPT", "550 no such s3cret\r\n"), false),
            (("AUTH", "535 s3cret is wrong\r\n"), false),
            (("MAIL", "451 try later\r\n"), true),
        ] {
            let (port, talk) = server(Some(refuse)).await;
            let mail = mail(port);
            let message = asking();
            let (sent, _) = tokio::join!(mail.send(&message), talk);
            let error = sent.unwrap_err();
            assert_eq!(matches!(error, SendError::Later { .. }), later, "{error}");
            let said = error.to_string();
            assert!(
                said.contains(&refuse.1[..3]) && !said.contains("s3cret"),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_tried_again() {
        let error = mail(1).send(&asking()).await.unwrap_err();
        assert!(matches!(error, SendError::Later { .. }), "{error}");
    }

    #[test]
    fn half_a_login_is_refused() {
        let config = MailConfig {
            host: "localhost".into(),
            port: None,
            security: MailSecurity::None,
            user: Some("builds".into()),
            password: None,
            from: "builds@example.org".into(),
            to: vec!["ann@example.org".into()],
        };
        let error = Mail::new("mail", &config, &resolving(&[])).err().unwrap();
        assert!(error.contains("both"), "{error}");
    }
}
