#!/usr/bin/env python3
"""Archive a folder into another folder and keep the last few archives.

The archive is written under a temporary name in the target folder, read back and compared with what
was packed, and only then renamed; so the target never holds half an archive under a good name. Only
archives of this very name (NAME-YYYYMMDD-HHMMSS.zip or .tar.gz) are ever deleted, and only after the
new one is in place. The source is read, never changed. Symbolic links are stored in tar.gz archives
as links and left out of zip archives; nothing outside the source is followed.

Exit codes: 0 done, 1 failed (nothing was deleted), 2 wrong usage.
"""

import argparse
import fnmatch
import hashlib
import os
import re
import stat
import sys
import tarfile
import time
import zipfile

CHUNK = 1 << 20


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Archive a folder and keep the last few archives.")
    parser.add_argument("--source", required=True, help="folder that is archived")
    parser.add_argument("--target", required=True, help="folder that holds the archives")
    parser.add_argument("--name", required=True, help="first part of the archive names")
    parser.add_argument("--keep", type=int, default=7, help="how many archives are kept (default 7)")
    parser.add_argument("--keep-seconds", type=int, help="also delete own archives older than this; the new one always stays")
    parser.add_argument("--format", choices=["zip", "tar.gz"], default="zip", help="kind of archive (default zip)")
    parser.add_argument("--exclude", action="append", default=[], help="name or pattern that is left out; may be repeated")
    parser.add_argument("--exclude-path", action="append", default=[], help="path below the source that is left out; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and change nothing")
    options = parser.parse_args()
    if options.keep < 1:
        parser.error("--keep must be at least 1")
    options.name = re.sub(r"[^A-Za-z0-9._-]+", "_", options.name).strip("._-") or "backup"
    return options


def excluded(relative, options):
    parts = relative.split("/")
    if any(fnmatch.fnmatchcase(part, pattern.rstrip("/")) for part in parts for pattern in options.exclude):
        return True
    if any(fnmatch.fnmatchcase(relative, pattern.rstrip("/")) for pattern in options.exclude):
        return True
    return any(relative == path or relative.startswith(path + "/") for path in options.exclude_path)


def entries(options):
    """Yields (relative path, stat) of everything that is packed, directories first, in a fixed order."""

    def broken(error):
        raise error

    for folder, directories, files in os.walk(options.source, onerror=broken):
        directories.sort()
        base = os.path.relpath(folder, options.source)
        kept = []
        for name in directories:
            relative = os.path.normpath(os.path.join(base, name))
            if excluded(relative, options):
                continue
            yield relative, os.lstat(os.path.join(folder, name))
            if not os.path.islink(os.path.join(folder, name)):
                kept.append(name)
        directories[:] = kept
        for name in sorted(files):
            relative = os.path.normpath(os.path.join(base, name))
            if not excluded(relative, options):
                yield relative, os.lstat(os.path.join(folder, name))


def digest(stream):
    sha = hashlib.sha256()
    size = 0
    while chunk := stream.read(CHUNK):
        sha.update(chunk)
        size += len(chunk)
    return sha.hexdigest(), size


class Tee:
    """Reads a file and remembers the digest of what was read."""

    def __init__(self, stream):
        self.stream, self.sha = stream, hashlib.sha256()

    def read(self, size=-1):
        chunk = self.stream.read(size)
        self.sha.update(chunk)
        return chunk


def pack_zip(path, options):
    packed, skipped = {}, 0
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, allowZip64=True, strict_timestamps=False) as archive:
        for relative, info in entries(options):
            full = os.path.join(options.source, relative)
            if stat.S_ISDIR(info.st_mode):
                archive.write(full, relative + "/")
            elif stat.S_ISREG(info.st_mode):
                entry = zipfile.ZipInfo.from_file(full, relative, strict_timestamps=False)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with open(full, "rb") as source, archive.open(entry, "w", force_zip64=info.st_size > 1 << 30) as out:
                    tee = Tee(source)
                    while chunk := tee.read(CHUNK):
                        out.write(chunk)
                packed[relative] = tee.sha.hexdigest()
            else:
                skipped += 1
                log(f"left out: {relative} is neither a file nor a folder")
    return packed, skipped


def pack_tar(path, options):
    packed, skipped = {}, 0
    with tarfile.open(path, "x:gz", format=tarfile.PAX_FORMAT) as archive:
        for relative, info in entries(options):
            full = os.path.join(options.source, relative)
            member = archive.gettarinfo(full, relative)
            if member is None or not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                skipped += 1
                log(f"left out: {relative} is neither a file, a folder nor a link")
                continue
            if stat.S_ISREG(info.st_mode):
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", info.st_size
                with open(full, "rb") as source:
                    tee = Tee(source)
                    archive.addfile(member, tee)
                packed[relative] = tee.sha.hexdigest()
            else:
                archive.addfile(member)
    return packed, skipped


def read_back(path, options):
    """Digests of all files in the archive."""
    found = {}
    if options.format == "zip":
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as stream:
                        found[entry.filename] = digest(stream)[0]
    else:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isreg():
                    found[member.name] = digest(archive.extractfile(member))[0]
    return found


def own_archives(options):
    """Own archives in the target, newest first: (sort key, name)."""
    pattern = re.compile(re.escape(options.name) + r"-(\d{8}-\d{6})(?:-(\d+))?\.(?:zip|tar\.gz)")
    found = []
    for name in os.listdir(options.target):
        match = pattern.fullmatch(name)
        full = os.path.join(options.target, name)
        if match and stat.S_ISREG(os.lstat(full).st_mode):
            found.append((match.group(1), int(match.group(2) or 0), name))
    return [name for _, _, name in sorted(found, reverse=True)]


def doomed(archives, options, now):
    """Which own archives go; the newest never does."""
    going = archives[options.keep:]
    if options.keep_seconds:
        limit = now - options.keep_seconds
        for name in archives[1:options.keep]:
            if os.lstat(os.path.join(options.target, name)).st_mtime < limit:
                going.append(name)
    return going


def free_name(options, stamp):
    ending = options.format
    for number in range(1000):
        tail = f"-{number}" if number else ""
        name = f"{options.name}-{stamp}{tail}.{ending}"
        if not os.path.lexists(os.path.join(options.target, name)):
            return name
    raise OSError(f"no free name like {options.name}-{stamp}.{ending} in the target")


def dry_run(options, stamp):
    files = [(relative, info.st_size) for relative, info in entries(options) if stat.S_ISREG(info.st_mode)]
    name = free_name(options, stamp)
    print(f"would create {name} with {len(files)} files, {sum(size for _, size in files)} bytes before compression")
    for old in doomed([name] + own_archives(options), options, time.time()):
        print(f"would delete {old}")
    return 0


def sweep_partial(options):
    """Removes own temporary files that a killed run left behind."""
    for name in os.listdir(options.target):
        if name.startswith(f".{options.name}-") and name.endswith(".partial"):
            os.remove(os.path.join(options.target, name))
            log(f"removed the half archive {name} of a broken run")


def run(options):
    for folder in (options.source, options.target):
        if not os.path.isdir(folder):
            log(f"error: {folder} is not a folder")
            return 1
    stamp = time.strftime("%Y%m%d-%H%M%S")
    if options.dry_run:
        return dry_run(options, stamp)
    sweep_partial(options)
    name = free_name(options, stamp)
    partial = os.path.join(options.target, f".{name}.partial")
    try:
        pack = pack_zip if options.format == "zip" else pack_tar
        packed, skipped = pack(partial, options)
        if read_back(partial, options) != packed:
            raise OSError("the archive does not hold what was packed")
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.rename(partial, os.path.join(options.target, name))
    except BaseException:
        if os.path.lexists(partial):
            os.remove(partial)
        raise
    size = os.path.getsize(os.path.join(options.target, name))
    log(f"created {name}: {len(packed)} files, {size} bytes" + (f", {skipped} left out" if skipped else ""))
    for old in doomed(own_archives(options), options, time.time()):
        os.remove(os.path.join(options.target, old))
        log(f"deleted {old}")
    return 0


def main():
    options = arguments()
    try:
        return run(options)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, ValueError) as error:
        log(f"error: archiving {options.source} into {options.target} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
