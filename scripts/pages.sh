#!/usr/bin/env bash
# The pages in a real browser: scripts/pages.sh PROGRAM [SCREENSHOTS]. PROGRAM is a built agentwright.
# Ends with 77 where node, npm's packages or Chromium cannot be had: then nothing was tested.
set -euo pipefail
program=$(readlink -f -- "${1:?the built program}")
shots=${2:+$(readlink -m -- "$2")}
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../tests/pages"

missing() { printf 'pages: %s\n' "$*" >&2; exit 77; }
command -v node >/dev/null 2>&1 || missing "node is not installed"
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
[ -x "$CHROMIUM" ] || missing "Chromium is not installed ($CHROMIUM)"
if [ ! -d node_modules/playwright-core ] || [ ! -d node_modules/axe-core ]; then
    command -v npm >/dev/null 2>&1 || missing "npm is not installed"
    timeout 300 npm ci --ignore-scripts --silent || missing "npm could not get playwright-core and axe-core"
fi
exec timeout 600 node run.mjs "$program" ${shots:+"$shots"}
