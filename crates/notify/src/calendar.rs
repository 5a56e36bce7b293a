//! Where a person's calendar is: a file of this machine, or an address. Its text is somebody else's; what it says is
//! read by whoever asked for it.

use crate::http::Poster;
use crate::secret::Address;
use crate::{Resolve, SendError};
use std::path::PathBuf;

/// A calendar that may be read, over and over.
pub struct CalendarSource {
    place: Place,
}

enum Place {
    File(PathBuf),
    /// Private addresses of calendars hold a token: never told.
    Address(Box<Address>, Poster),
}

impl CalendarSource {
    /// An absolute path, an `http`, `https` or `webcal` address, or a reference that names an address.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn new(text: &str, resolve: &Resolve) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self {
                place: Place::File(PathBuf::from(text)),
            });
        }
        let text = match text.strip_prefix("webcal://") {
            Some(rest) => format!("https://{rest}"),
            None => text.to_owned(),
        };
        let address = Address::new(&text, resolve).map_err(|_| {
            "must be an absolute path, an https:// address, or env:NAME that holds one".to_owned()
        })?;
        Ok(Self {
            place: Place::Address(Box::new(address), Poster::new()?),
        })
    }

    /// Its text, at most `max` bytes.
    ///
    /// # Errors
    /// Why there is none, without what is secret in the address.
    pub async fn read(&self, max: usize) -> Result<String, String> {
        let bytes = match &self.place {
            Place::File(path) => {
                let said = |why: String| format!("{}: {why}", path.display());
                let metadata = tokio::fs::metadata(path).await;
                let metadata = metadata.map_err(|error| said(error.to_string()))?;
                if !metadata.is_file() {
                    return Err(said("it is no plain file".to_owned()));
                }
                if metadata.len() > max as u64 {
                    return Err(said(format!("it is longer than {max} bytes")));
                }
                let bytes = tokio::fs::read(path).await;
                bytes.map_err(|error| said(error.to_string()))?
            }
            Place::Address(address, poster) => {
                let url = address.read().await.map_err(|error| words(&error))?;
                poster
                    .fetch(url, max)
                    .await
                    .map_err(|error| words(&error))?
            }
        };
        String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())
    }
}

fn words(error: &SendError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resolving;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with this.
    async fn serving(answer: String) -> (String, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/s3cret.ics", listener.local_addr().unwrap());
        let served = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked).await.unwrap();
            // Who asked may have had enough before all of it was sent.
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        (url, served)
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nlocation: /login\r\n\r\n{body}",
            body.len()
        )
    }

    async fn read(answer: String, max: usize) -> Result<String, String> {
        let (url, served) = serving(answer).await;
        let resolve = resolving(&[("env:CALENDAR", &url)]);
        let source = CalendarSource::new("env:CALENDAR", &resolve).unwrap();
        let (text, ()) = tokio::join!(source.read(max), served);
        text
    }

    #[tokio::test]
    async fn an_address_is_fetched_within_its_bound_and_never_told() {
        assert_eq!(read(answer("200 OK", "BEGIN"), 5).await.unwrap(), "BEGIN");
        for (answer, says) in [
            (answer("200 OK", "BEGINS"), "longer than 5 bytes"),
            (answer("302 Found", ""), "302"),
            (answer("404 Not Found", ""), "404"),
        ] {
            let error = read(answer, 5).await.unwrap_err();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_is_read_and_what_is_neither_is_refused() {
        let resolve = resolving(&[]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("work.ics");
        std::fs::write(&path, "BEGIN").unwrap();
        let source = CalendarSource::new(&path.display().to_string(), &resolve).unwrap();
        assert_eq!(source.read(5).await.unwrap(), "BEGIN");
        assert!(source.read(4).await.unwrap_err().contains("longer than 4"));
        std::fs::remove_file(&path).unwrap();
        assert!(source.read(5).await.unwrap_err().contains("work.ics"));
        let folder = CalendarSource::new(&dir.path().display().to_string(), &resolve).unwrap();
        assert!(folder.read(5).await.unwrap_err().contains("no plain file"));
        for text in ["work.ics", "ftp://x/y", "", "file.ics"] {
            assert!(CalendarSource::new(text, &resolve).is_err(), "{text}");
        }
        assert!(CalendarSource::new("webcal://example.org/a.ics", &resolve).is_ok());
    }
}
