//! Chores that cargo alone cannot do: `cargo xtask tidy` checks the rules of the house.
//!
//! Not here: anything that the product needs at run time. Start with [`tidy`].

mod tidy;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy
  tidy   compares the repository with its own rules: the dependency tables of ARCHITECTURE.md with
         cargo metadata, licences with deny.toml, file headers and sizes, links of the documents";

fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let (Some("tidy"), None) = (words.next().as_deref(), words.next()) else {
        writeln!(std::io::stderr(), "{USAGE}")?;
        return Ok(ExitCode::from(2));
    };
    let complaints = tidy::run(repository())?;
    for complaint in &complaints {
        writeln!(std::io::stderr(), "tidy: {complaint}")?;
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The top of the repository that this program was built from.
fn repository() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_keeps_its_own_rules() {
        let complaints = crate::tidy::run(super::repository()).unwrap();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
