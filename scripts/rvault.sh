#!/usr/bin/env bash
# rvault.sh: builds a real server that speaks Vault's API (rusty_vault), pinned, for the tests of the crate `vault`, into the
# tools directory ($AGENTWRIGHT_TOOLS, else ${CARGO_TARGET_DIR:-target}/tools). For people, by hand: it takes minutes, so
# ./test does not call it. Safe to run again; does nothing when it is there. Needs a C compiler and OpenSSL's headers.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

version=0.2.1
tools=${AGENTWRIGHT_TOOLS:-${CARGO_TARGET_DIR:-target}/tools}

say() { printf 'rvault: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 1
}

if [ -x "$tools/rvault" ] && [ "$(cat "$tools/rvault.version" 2>/dev/null)" = "$version" ]; then
    say "rusty_vault $version: there already, $tools/rvault"
    exit 0
fi
pkg-config --exists openssl 2>/dev/null || stop "not built: OpenSSL's headers are missing (apt-get install libssl-dev pkg-config)"

say "building rusty_vault $version into $tools (about 6 minutes)"
mkdir -p "$tools"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo install --quiet rusty_vault --version "$version" --root "$work/root" --target-dir "$work/target" ||
    stop "not built: see the lines above; is there a network?"
install -m 755 "$work/root/bin/rvault" "$tools/rvault"
printf '%s\n' "$version" >"$tools/rvault.version"
say "installed $tools/rvault"
