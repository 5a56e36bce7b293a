//! Writes every page with something on it into a directory, to be looked at without a server:
//! `cargo run -p agentwright-pages --example gallery -- DIR`.

#![expect(clippy::unwrap_used, reason = "fixtures fail by panicking")]
#![expect(
    clippy::too_many_lines,
    reason = "a fixture tells what is on a page in one piece"
)]

#[path = "../tests/it/fixtures.rs"]
mod fixtures;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let to = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "gallery".to_owned()),
    );
    for (name, html) in fixtures::all(fixtures::Texts { attack: "" }) {
        std::fs::create_dir_all(&to)?;
        std::fs::write(to.join(format!("{name}.html")), html)?;
    }
    for name in agentwright_pages::assets::names() {
        let path = agentwright_pages::assets::path(&name);
        let hash = path.split('/').nth(1).unwrap_or_default();
        if let Some(file) = agentwright_pages::assets::get(hash, &name) {
            let place = to.join(&path);
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(place, &file.bytes)?;
        }
    }
    Ok(())
}
