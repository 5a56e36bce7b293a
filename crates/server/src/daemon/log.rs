//! `daemon.log`: one JSON object per line, bounded in size, with one older file beside it.

use super::Attachment;
use crate::config::{Config, LogLevel};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Beyond this the file becomes the older one, in bytes; both together are at most twice that.
const LOG_MAX_BYTES: u64 = 8 << 20;

/// Sends what is logged to the file, and in the foreground to standard error, too.
pub(super) fn start(config: &Config, attachment: Attachment) -> io::Result<()> {
    let level = match config.settings.log {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let file = Rotating::open(&config.data_dir.join("daemon.log"), LOG_MAX_BYTES)?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(Mutex::new(file))
        .with_filter(level);
    let shown = (attachment == Attachment::Foreground).then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_filter(level)
    });
    let subscriber = tracing_subscriber::registry().with(lines).with(shown);
    // Set already where a program runs several daemons one after the other: then the first log goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a panic");
    }));
    Ok(())
}

/// A file that begins anew when it is full.
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl Rotating {
    fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            max_bytes,
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.max_bytes {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            self.file = append(&self.path)?;
            self.bytes = 0;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_begins_anew_and_keeps_one_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotating::open(&path, 100).unwrap();
        for line in 0..10 {
            writeln!(log, "{line}{}", "x".repeat(38)).unwrap();
        }
        let size = |name: &str| dir.path().join(name).metadata().unwrap().len();
        assert!(size("daemon.log") <= 100 && size("daemon.log.1") <= 100);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let newest = std::fs::read_to_string(&path).unwrap();
        assert!(newest.lines().last().unwrap().starts_with('9'));
    }
}
