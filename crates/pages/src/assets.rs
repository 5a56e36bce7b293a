//! Style, scripts and pictures, inside the binary, under names that change with their content.
//!
//! `vendor/` holds other people's files as they came: htmx 4.0.1 (0BSD) and uPlot 1.6.32 (MIT), with their
//! licences beside them.

use rust_embed::{EmbeddedFile, RustEmbed};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Digits of the content's hash in a name.
const HASH_DIGITS: usize = 12;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Files;

/// One file as it is served.
pub struct Asset {
    /// Its bytes.
    pub bytes: Cow<'static, [u8]>,
    /// Its media type.
    pub media_type: &'static str,
}

/// Where a file is served, relative to the base: `assets/<hash>/<name>`. A name that is not there gives a path
/// that answers 404.
pub fn path(name: &str) -> String {
    let hash = Files::get(name).map_or_else(|| "none".to_owned(), |file| hash(&file));
    format!("assets/{hash}/{name}")
}

/// The file, when this is the hash of what it is now.
pub fn get(hash_given: &str, name: &str) -> Option<Asset> {
    let file = Files::get(name).filter(|file| hash(file) == hash_given)?;
    Some(Asset {
        bytes: file.data,
        media_type: media_type(name),
    })
}

/// All names.
pub fn names() -> impl Iterator<Item = Cow<'static, str>> {
    Files::iter()
}

fn hash(file: &EmbeddedFile) -> String {
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in file.metadata.sha256_hash().iter().take(HASH_DIGITS / 2) {
        // Invariant: writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_under_its_own_hash_only() {
        for name in names() {
            let path = path(&name);
            let hash = path.split('/').nth(1).unwrap();
            assert_eq!(hash.len(), HASH_DIGITS);
            assert!(get(hash, &name).is_some(), "{name}");
            assert!(get("0123456789ab", &name).is_none(), "{name}");
        }
        assert!(get("none", "nothing.css").is_none());
    }
}
