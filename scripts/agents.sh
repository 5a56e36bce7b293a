#!/usr/bin/env bash
# agents.sh: installs the real coding agents that tests run against, pinned, into the tools directory
# ($AGENTWRIGHT_TOOLS, else ${CARGO_TARGET_DIR:-target}/tools). Safe to run again; does nothing when they are there.
# Ends with 0 when both are there, with 1 and the reason when they cannot be had.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

claude_version=2.1.329
codex_version=0.169.0
tools=${AGENTWRIGHT_TOOLS:-${CARGO_TARGET_DIR:-target}/tools}
wanted="claude $claude_version, codex $codex_version"

say() { printf 'agents: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 1
}

if [ -x "$tools/claude" ] && [ -x "$tools/codex" ] && [ "$(cat "$tools/versions" 2>/dev/null)" = "$wanted" ]; then
    say "$wanted: there already, in $tools"
    exit 0
fi
[ "$(uname -s)" = Linux ] || stop "not installed: they are tested on Linux only"
command -v npm >/dev/null 2>&1 || stop "not installed: npm is missing (apt-get install npm)"

say "installing $wanted into $tools (about 800 MB)"
mkdir -p "$tools/npm"
log=$tools/npm.log
# Their install scripts only look for the native programs, which is done below without running anything.
if ! timeout 600 npm install --prefix "$tools/npm" --ignore-scripts --no-audit --no-fund --no-save --loglevel=error \
    "@anthropic-ai/claude-code@$claude_version" "@openai/codex@$codex_version" >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    stop "not installed: npm failed, see the lines above; is there a network?"
fi

# place NAME PATTERN: the native program, under its short name.
place() {
    local found
    found=$(find "$tools/npm/node_modules" -type f -path "$2" | sort | head -n 1)
    [ -n "$found" ] || stop "not installed: $1 came without a native program for this machine"
    [ "$(head -c 4 "$found" | tail -c 3)" = ELF ] || stop "not installed: $found is not a native program"
    chmod 755 "$found"
    ln -f "$found" "$tools/$1"
}
place claude '*/@anthropic-ai/claude-code-linux-*/claude'
place codex '*/@openai/codex-linux-*/vendor/*/bin/codex'
printf '%s\n' "$wanted" >"$tools/versions"
say "installed $wanted"
