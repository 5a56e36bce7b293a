#!/usr/bin/env bash
# smoke.sh REPOSITORY EMPTY_DIR: the README's first command as a person gives it, in a fresh directory
# with a fresh data directory, then what it promises: a schedule, a zip on demand, and nothing left.
set -euo pipefail
launcher=$1/agentwright
mkdir -p "$2"
cd "$2"
export AGENTWRIGHT_DATA=$PWD/data
trap '"$launcher" daemon stop >/dev/null 2>&1 || true' EXIT

mkdir notes
echo 'remember the milk' >notes/milk.txt

"$launcher" build --yes "every night, keep a zip of the folder ./notes in ./backups and keep the last 7" </dev/null
"$launcher" list
name=$("$launcher" deployments --json </dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["items"][0]["name"])')
"$launcher" run-now "$name"
python3 - <<'PY'
import glob, sys, zipfile
found = glob.glob("backups/*.zip")
if len(found) != 1:
    sys.exit(f"expected one zip in ./backups, found {found}")
names = zipfile.ZipFile(found[0]).namelist()
if not any(name.endswith("milk.txt") for name in names):
    sys.exit(f"the zip holds {names}, not milk.txt")
PY
"$launcher" remove "$name" --yes
"$launcher" daemon stop
