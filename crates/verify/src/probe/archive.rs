//! Archives read by us, bounded: zip, tar and gzipped tar, told apart by their first bytes.
//!
//! Nothing is unpacked to disk. An archive with unsafe or repeated names is refused: unpacked by a person
//! it would not hold what it says.

use super::glob;
use super::matcher::Wanted;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};

/// The most entries of an archive.
pub(crate) const ENTRIES_MAX: usize = 20_000;
/// The most bytes of one entry.
pub(crate) const ENTRY_MAX: u64 = 16 << 20;
/// The most bytes of all entries together, unpacked.
pub(crate) const UNPACKED_MAX: u64 = 256 << 20;

/// Regular entries of an archive: path → content.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

/// Reads a whole archive.
pub(crate) fn read(mut file: File) -> Result<Entries, String> {
    let mut magic = [0; 265];
    let got = read_up_to(&mut file, &mut magic)?;
    file.rewind().map_err(|error| error.to_string())?;
    let magic = &magic[..got];
    if magic.starts_with(b"PK\x03\x04") || magic.starts_with(b"PK\x05\x06") {
        read_zip(file)
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        // The bound covers the headers and padding of the tar file as well.
        let most = UNPACKED_MAX + (ENTRIES_MAX as u64) * 2048;
        read_tar(flate2::read::MultiGzDecoder::new(file).take(most))
    } else if magic.get(257..262) == Some(b"ustar") {
        read_tar(file)
    } else {
        Err("is no zip, tar or tar.gz file".into())
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> Result<usize, String> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(got)
}

/// Collects entries within the bounds.
struct Collected {
    entries: Entries,
    left: u64,
}

impl Collected {
    fn new() -> Self {
        Self {
            entries: Entries::new(),
            left: UNPACKED_MAX,
        }
    }

    fn add(&mut self, name: &str, content: impl Read) -> Result<(), String> {
        let path = name.strip_prefix("./").unwrap_or(name);
        let safe = !path.is_empty()
            && !path.contains(['\0', '\\'])
            && path
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..");
        if !safe {
            return Err(format!("holds the unsafe path {name:?}"));
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(format!("holds more than {ENTRIES_MAX} entries"));
        }
        let most = ENTRY_MAX.min(self.left);
        let mut bytes = Vec::new();
        content
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot read {path:?} in it: {error}"))?;
        if bytes.len() as u64 > most {
            return Err(format!(
                "{path:?} in it unpacks to more than {ENTRY_MAX} bytes, or all together to more than {UNPACKED_MAX}"
            ));
        }
        self.left -= bytes.len() as u64;
        if self.entries.insert(path.to_owned(), bytes).is_some() {
            return Err(format!("holds {path:?} twice"));
        }
        Ok(())
    }
}

fn read_zip(file: File) -> Result<Entries, String> {
    let broken = |error: zip::result::ZipError| format!("is a broken zip file: {error}");
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    if archive.has_duplicate_names() {
        return Err("holds a path twice".into());
    }
    let mut collected = Collected::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(broken)?;
        if !entry.is_file() {
            continue;
        }
        let name = entry.name().map_err(broken)?.into_owned();
        collected.add(&name, entry)?;
    }
    Ok(collected.entries)
}

fn read_tar(file: impl Read) -> Result<Entries, String> {
    let broken = |error: std::io::Error| format!("is a broken tar file: {error}");
    let mut archive = tar::Archive::new(file);
    let mut collected = Collected::new();
    let mut seen = 0;
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        seen += 1;
        if seen > ENTRIES_MAX * 2 {
            return Err(format!("holds more than {ENTRIES_MAX} entries"));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        collected.add(&name, entry)?;
    }
    Ok(collected.entries)
}

/// Checks entries and their count; the error says what was found.
pub(crate) fn check(
    entries: &Entries,
    wanted: &[(String, Wanted)],
    count: Option<u64>,
) -> Result<(), String> {
    for (path, content) in wanted {
        let found = match entries.get(path) {
            Some(bytes) => bytes,
            None => by_glob(entries, path)?
                .ok_or_else(|| format!("no {path:?} in it; it holds {}", names(entries)))?,
        };
        content
            .check(found)
            .map_err(|found| format!("in {path:?}: {found}"))?;
    }
    match count {
        Some(count) if entries.len() as u64 != count => {
            Err(format!("{} files in it: {}", entries.len(), names(entries)))
        }
        _ => Ok(()),
    }
}

fn by_glob<'a>(entries: &'a Entries, pattern: &str) -> Result<Option<&'a Vec<u8>>, String> {
    let glob = glob::one(pattern)?;
    Ok(entries
        .iter()
        .find(|(path, _)| glob.is_match(path))
        .map(|(_, bytes)| bytes))
}

fn names(entries: &Entries) -> String {
    super::some_of(entries.keys().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn kept(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zip_tar_and_gzipped_tar_are_read_alike() {
        let tar = tar_of(&[("./a.txt", "1"), ("d/b.txt", "2")]);
        let zip = zip_of(&[("a.txt", b"1"), ("d/b.txt", b"2")]);
        for bytes in [&zip, &tar, &gz(&tar)] {
            let entries = read(kept(bytes)).unwrap();
            assert_eq!(entries.len(), 2);
            assert_eq!(entries["a.txt"], b"1");
            let wanted = [
                ("a.txt".to_owned(), Wanted::Equals("1".into())),
                ("d/*.txt".to_owned(), Wanted::Equals("2".into())),
            ];
            assert_eq!(check(&entries, &wanted, Some(2)), Ok(()));
            assert!(
                check(&entries, &wanted, Some(3))
                    .unwrap_err()
                    .contains("2 files")
            );
            let wrong = [("a.txt".to_owned(), Wanted::Equals("2".into()))];
            assert!(check(&entries, &wrong, None).unwrap_err().contains("a.txt"));
            let missing = [("c.txt".to_owned(), Wanted::Equals("2".into()))];
            assert!(
                check(&entries, &missing, None)
                    .unwrap_err()
                    .contains("it holds a.txt")
            );
        }
    }

    #[test]
    fn a_zip_bomb_is_stopped_by_its_unpacked_size() {
        let zeros = vec![0; usize::try_from(ENTRY_MAX).unwrap() + 1];
        let bomb = zip_of(&[("bomb", &zeros)]);
        assert!(bomb.len() < 200_000);
        assert!(read(kept(&bomb)).unwrap_err().contains("unpacks to more"));
    }

    #[test]
    fn unsafe_and_repeated_paths_are_refused() {
        for name in ["../up", "/etc/passwd", "a//b", "a/./b", "a\\b"] {
            let error = read(kept(&tar_of(&[(name, "x")]))).unwrap_err();
            assert!(error.contains("unsafe path"), "{name}: {error}");
        }
        let twice = tar_of(&[("a", "1"), ("./a", "2")]);
        assert!(read(kept(&twice)).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_is_no_archive_is_said_so() {
        assert!(read(kept(b"hello")).unwrap_err().contains("is no zip"));
        assert!(read(kept(b"")).unwrap_err().contains("is no zip"));
        assert!(
            read(kept(b"PK\x03\x04nonsense"))
                .unwrap_err()
                .contains("broken zip")
        );
        assert!(
            read(kept(&gz(b"not a tar"))).is_ok_and(|e| e.is_empty())
                || read(kept(&gz(b"not a tar"))).is_err()
        );
    }

    #[test]
    fn more_entries_than_allowed_are_refused() {
        let mut collected = Collected::new();
        for i in 0..ENTRIES_MAX {
            collected.add(&i.to_string(), std::io::empty()).unwrap();
        }
        assert!(
            collected
                .add("more", std::io::empty())
                .unwrap_err()
                .contains("more than")
        );
    }
}
