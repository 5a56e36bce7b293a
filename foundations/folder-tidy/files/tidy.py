#!/usr/bin/env python3
"""Tidy a folder by age, size or type.

Only regular files directly in the folder are touched, never hidden files, links or subfolders. Nothing is
ever overwritten: a name that is taken gets a number. A file that goes to another folder is copied, compared
and only then removed from its old place. The trash is FOLDER/.trash/DATE.

Exit codes: 0 done, 1 at least one file could not be handled, 2 wrong usage.
"""

import argparse
import fnmatch
import hashlib
import os
import shutil
import stat
import sys
import time

KINDS = {
    "pictures": "jpg jpeg png gif webp heic bmp tiff svg",
    "videos": "mp4 mov avi mkv webm",
    "music": "mp3 flac ogg m4a wav",
    "documents": "pdf doc docx odt txt md rtf",
    "tables": "csv tsv xls xlsx ods",
    "archives": "zip tar gz tgz bz2 xz 7z rar",
    "code": "py js ts rs c h cpp java go sh html css json xml yaml yml toml sql",
    "programs": "exe msi dmg pkg deb rpm appimage",
}


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Tidy a folder by age, size or type.")
    parser.add_argument("--folder", required=True, help="folder that is tidied")
    parser.add_argument("--action", choices=["trash", "delete", "move", "sort"], required=True, help="what happens to the files")
    parser.add_argument("--destination", help="folder for --action move")
    parser.add_argument("--older-than", type=int, help="only files last changed more than so many seconds ago")
    parser.add_argument("--larger-than", type=int, help="only files of more than so many bytes")
    parser.add_argument("--type", action="append", default=[], help="only names that match this pattern; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and change nothing")
    options = parser.parse_args()
    if options.action == "move" and not options.destination:
        parser.error("--action move needs --destination")
    if options.action in ("trash", "delete") and not (options.older_than or options.larger_than or options.type):
        parser.error("say which files: --older-than, --larger-than or --type")
    return options


def chosen(options):
    """The files that the rules speak of, in the order of their names."""
    now = time.time()
    for name in sorted(os.listdir(options.folder)):
        info = os.lstat(os.path.join(options.folder, name))
        if name.startswith(".") or not stat.S_ISREG(info.st_mode):
            continue
        if options.older_than and now - info.st_mtime <= options.older_than:
            continue
        if options.larger_than and info.st_size <= options.larger_than:
            continue
        if options.type and not any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in options.type):
            continue
        yield name


def kind_of(name):
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    for kind, endings in KINDS.items():
        if ending in endings.split():
            return kind
    return ending or "other"


def place(options, name):
    """The folder that the file goes to, or None when it is deleted."""
    if options.action == "move":
        return options.destination
    if options.action == "sort":
        return os.path.join(options.folder, kind_of(name))
    if options.action == "trash":
        return os.path.join(options.folder, ".trash", time.strftime("%Y-%m-%d"))
    return None


def free_name(folder, name):
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    for number in range(1, 100_000):
        candidate = name if number == 1 else f"{stem} ({number}){dot}{ending}"
        if not os.path.lexists(os.path.join(folder, candidate)):
            return candidate
    raise OSError(f"no free name like {name} in {folder}")


def digest(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def carry(source, folder, name):
    """Moves a file into a folder without ever losing or overwriting one."""
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, free_name(folder, name))
    try:
        os.link(source, target)
    except OSError:  # another file system or mount, or one without links
        partial = os.path.join(folder, f".{os.path.basename(target)}.partial")
        try:
            shutil.copy2(source, partial)
            with open(partial, "rb+") as stream:
                os.fsync(stream.fileno())
            if digest(partial) != digest(source):
                raise OSError(f"{source} changed while it was copied")
            if os.path.lexists(target):
                raise OSError(f"{target} appeared meanwhile")
            os.rename(partial, target)
        finally:
            if os.path.lexists(partial):
                os.remove(partial)
    os.remove(source)
    return target


def run(options):
    if not os.path.isdir(options.folder):
        log(f"error: {options.folder} is not a folder")
        return 1
    done = failed = 0
    for name in chosen(options):
        source, folder = os.path.join(options.folder, name), place(options, name)
        if options.dry_run:
            print(f"would delete {name}" if folder is None else f"would move {name} to {os.path.relpath(folder, options.folder) if options.action != 'move' else folder}")
            done += 1
            continue
        try:
            if folder is None:
                os.remove(source)
                log(f"deleted {name}")
            else:
                log(f"moved {name} to {carry(source, folder, name)}")
            done += 1
        except OSError as error:
            failed += 1
            log(f"error: {name} stays where it is: {error}")
    log(f"{done} files {'would be handled' if options.dry_run else 'handled'}, {failed} failed")
    return 1 if failed else 0


def main():
    options = arguments()
    try:
        return run(options)
    except OSError as error:
        log(f"error: tidying {options.folder} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
