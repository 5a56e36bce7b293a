//! The foundations that a build may start from: the built-in ones and directories of a person's own.

use agentwright_domain::digest::Digest;
use agentwright_intent::{Foundation, FoundationSource, Problem};
use agentwright_runtime::tree;
use rust_embed::Embed;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Embed)]
#[folder = "../../foundations"]
#[allow_missing = true]
struct BuiltIn;

/// The file that makes a directory a foundation.
const MANIFEST: &str = "foundation.toml";
/// Left by an interpreter, never part of a foundation.
const CACHE: &str = "__pycache__/";
/// Most foundations in one directory.
pub(crate) const DIRECTORY_MAX: usize = 100;

/// Why a foundation cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FoundationError {
    /// It is wrong: show the problems to whoever wrote it.
    #[error("the foundation in {place} has {} problems: {}", .problems.len(), list(.problems))]
    Wrong {
        /// Where it lies.
        place: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// The directory holds none.
    #[error("{0} holds no foundation: expected {MANIFEST} in it or in a directory directly below")]
    None(String),
    /// It cannot be read.
    #[error("cannot read the foundation in {place}: {why}")]
    Unreadable {
        /// Where.
        place: String,
        /// Why.
        why: String,
    },
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Foundations by name; one of a person's own replaces a built-in one of the same name.
#[derive(Clone, Debug, Default)]
pub struct Foundations {
    list: Vec<Foundation>,
    sources: BTreeMap<String, FoundationSource>,
}

impl Foundations {
    /// The built-in ones and those of these directories. Blocking.
    ///
    /// # Errors
    /// The first directory or foundation that cannot be used.
    pub fn load(directories: &[PathBuf]) -> Result<Self, FoundationError> {
        let mut sources: BTreeMap<String, FoundationSource> = BTreeMap::new();
        for path in BuiltIn::iter().filter(|path| !path.contains(CACHE)) {
            let (Some((name, inner)), Some(file)) = (path.split_once('/'), BuiltIn::get(&path))
            else {
                continue;
            };
            let source = sources.entry(name.to_owned()).or_default();
            source
                .files
                .insert(inner.to_owned(), file.data.into_owned());
        }
        sources.retain(|_, source| source.files.contains_key(MANIFEST));
        let mut foundations = Self::default();
        for (name, source) in sources {
            foundations.add(&format!("the built-in {name}"), source)?;
        }
        foundations.with(directories)
    }

    /// These and those of further directories. Blocking.
    ///
    /// # Errors
    /// The first directory or foundation that cannot be used.
    pub fn with(mut self, directories: &[PathBuf]) -> Result<Self, FoundationError> {
        for directory in directories {
            let sources = read_directory(directory)?;
            if sources.is_empty() {
                return Err(FoundationError::None(directory.display().to_string()));
            }
            for (place, source) in sources {
                self.add(&place.display().to_string(), source)?;
            }
        }
        Ok(self)
    }

    /// All of them.
    pub fn list(&self) -> &[Foundation] {
        &self.list
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Foundation> {
        self.list
            .iter()
            .find(|foundation| foundation.name() == name)
    }

    /// The one of this name, exactly as it was.
    pub fn exactly(&self, name: &str, digest: &Digest) -> Option<&Foundation> {
        self.named(name)
            .filter(|foundation| foundation.digest == *digest)
    }

    /// All files of the one of this name.
    pub fn source(&self, name: &str) -> Option<&FoundationSource> {
        self.sources.get(name)
    }

    fn add(&mut self, place: &str, source: FoundationSource) -> Result<(), FoundationError> {
        let foundation = Foundation::parse(&source).map_err(|problems| FoundationError::Wrong {
            place: place.to_owned(),
            problems,
        })?;
        let name = foundation.name().to_owned();
        self.list.retain(|known| known.name() != name);
        self.list.push(foundation);
        self.sources.insert(name, source);
        Ok(())
    }
}

/// Reads one foundation's directory. Blocking.
///
/// # Errors
/// [`FoundationError::Unreadable`]; also for links and too many files.
pub fn read_source(directory: &Path) -> Result<FoundationSource, FoundationError> {
    let files = tree::files(directory, &[".git", "__pycache__"]).map_err(|error| {
        FoundationError::Unreadable {
            place: directory.display().to_string(),
            why: agentwright_runtime::chain(&error),
        }
    })?;
    let kept = files.into_iter().filter(|file| !file.path.contains(CACHE));
    Ok(FoundationSource {
        files: kept.map(|file| (file.path, file.bytes)).collect(),
    })
}

/// A directory that is a foundation, or that holds some.
fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, FoundationSource)>, FoundationError> {
    let unreadable = |error: std::io::Error| FoundationError::Unreadable {
        place: directory.display().to_string(),
        why: error.to_string(),
    };
    if directory.join(MANIFEST).is_file() {
        return Ok(vec![(directory.to_owned(), read_source(directory)?)]);
    }
    let mut places = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(MANIFEST).is_file() {
            places.push(path);
        }
    }
    places.sort();
    if places.len() > DIRECTORY_MAX {
        return Err(FoundationError::Unreadable {
            place: directory.display().to_string(),
            why: format!("it holds more than {DIRECTORY_MAX} foundations"),
        });
    }
    places
        .into_iter()
        .map(|path| read_source(&path).map(|source| (path, source)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_all_sound() {
        let foundations = Foundations::load(&[]).unwrap();
        assert!(foundations.named("folder-backup").is_some());
    }

    #[test]
    fn a_directory_without_a_foundation_and_one_that_is_not_there_are_refused() {
        let empty = tempfile::tempdir().unwrap();
        let error = Foundations::default()
            .with(&[empty.path().to_owned()])
            .unwrap_err();
        assert!(error.to_string().contains("holds no foundation"), "{error}");
        let gone = empty.path().join("gone");
        let error = Foundations::default().with(&[gone]).unwrap_err();
        assert!(matches!(error, FoundationError::Unreadable { .. }));
    }

    #[test]
    fn one_of_a_persons_own_replaces_the_built_in_one() {
        let built_in = Foundations::load(&[]).unwrap();
        let own = tempfile::tempdir().unwrap();
        let place = own.path().join("folder-backup");
        for (path, bytes) in &built_in.source("folder-backup").unwrap().files {
            let target = place.join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, bytes).unwrap();
        }
        std::fs::write(place.join("files/extra.txt"), "mine\n").unwrap();
        for directory in [own.path().to_owned(), place.clone()] {
            let count = built_in.list().len();
            let with = built_in.clone().with(&[directory]).unwrap();
            assert_eq!(with.list().len(), count);
            assert_ne!(
                with.named("folder-backup").unwrap().digest,
                built_in.named("folder-backup").unwrap().digest
            );
        }
        std::fs::write(place.join(MANIFEST), "format = 1\n").unwrap();
        let error = Foundations::default().with(&[place]).unwrap_err();
        assert!(matches!(error, FoundationError::Wrong { .. }), "{error}");
    }
}
