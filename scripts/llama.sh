#!/usr/bin/env bash
# llama.sh: installs a real llama.cpp server, pinned, that tests run against, and makes a random model of 500 kB for it,
# into the tools directory ($AGENTWRIGHT_TOOLS, else ${CARGO_TARGET_DIR:-target}/tools). Safe to run again; does nothing
# when it is there. Ends with 0 when it is there, with 1 and the reason when it cannot be had.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

version=2026.10.11549
tools=${AGENTWRIGHT_TOOLS:-${CARGO_TARGET_DIR:-target}/tools}
place=$tools/llama

say() { printf 'llama: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 1
}

if [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
    say "xllamacpp $version: there already, in $place"
    exit 0
fi
[ "$(uname -s)" = Linux ] || stop "not installed: it is tested on Linux only"
command -v python3 >/dev/null 2>&1 || stop "not installed: python3 is missing"
python3 -m pip --version >/dev/null 2>&1 || stop "not installed: pip is missing (apt-get install python3-pip)"

say "installing xllamacpp $version into $place (about 90 MB)"
rm -rf "$place"
mkdir -p "$place"
log=$tools/llama.log
if ! timeout 600 python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --target "$place/site" "xllamacpp==$version" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    stop "not installed: pip failed, see the lines above; is there a network?"
fi
python3 scripts/llama/tiny_model.py "$place/tiny.gguf"
printf '%s\n' "$version" >"$place/version"
say "installed xllamacpp $version"
