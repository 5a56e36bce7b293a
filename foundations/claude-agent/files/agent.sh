#!/bin/sh
# Runs `claude -p` on a folder with a task and writes its answer to a file.
#
# Claude may only read (Read, Glob, Grep) below the folder. The file is replaced in one step, and only
# when claude ended well with an answer that is not empty; otherwise the last answer stays.
# Exit codes: 0 done, 1 failed, 2 wrong usage.
set -u

usage() {
    cat <<'TEXT'
usage: agent.sh --folder DIR --output FILE --task TEXT [--turns N] [--dry-run]

  --folder DIR   folder that Claude may read
  --output FILE  file that the answer is written to
  --task TEXT    what Claude is asked to do
  --turns N      most steps (default 20)
  --dry-run      say what would be run; run nothing, write nothing
  --help         this text
TEXT
}

log() {
    printf '%s %s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$*"
}

wrong() {
    printf 'agent.sh: %s\n' "$1" >&2
    usage >&2
    exit 2
}

folder='' output='' task='' turns=20 dry=''
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --dry-run) dry=yes; shift; continue ;;
        --folder | --output | --task | --turns) [ $# -ge 2 ] || wrong "$1 needs a value" ;;
        *) wrong "unknown argument: $1" ;;
    esac
    case $1 in
        --folder) folder=$2 ;;
        --output) output=$2 ;;
        --task) task=$2 ;;
        --turns) turns=$2 ;;
    esac
    shift 2
done
[ -n "$folder" ] && [ -n "$output" ] && [ -n "$task" ] || wrong '--folder, --output and --task are needed'
case $turns in '' | *[!0-9]*) wrong '--turns is a number' ;; esac

if [ ! -d "$folder" ]; then
    log "error: $folder is not a folder"
    exit 1
fi
if [ -n "$dry" ]; then
    echo "would run claude -p with at most $turns steps on $(find "$folder" -type f | wc -l | tr -d ' ') files"
    log "task: $task"
    echo "would write ${output##*/}"
    exit 0
fi
if ! command -v claude >/dev/null 2>&1; then
    log 'error: claude is not installed here'
    exit 1
fi

partial="${output%/*}/.${output##*/}.partial"
trap 'rm -f "$partial"' EXIT
trap 'exit 1' HUP INT TERM

cd "$folder" || exit 1
log "running claude with at most $turns steps"
claude -p "$task" --output-format text --max-turns "$turns" --allowedTools Read,Glob,Grep </dev/null >"$partial"
code=$?
if [ "$code" -ne 0 ]; then
    log "error: claude ended with $code; the last answer stays"
    exit 1
fi
if ! grep -q '[^[:space:]]' "$partial"; then
    log 'error: claude gave an empty answer; the last one stays'
    exit 1
fi
mv -f "$partial" "$output" || { log "error: ${output##*/} could not be written"; exit 1; }
log "wrote ${output##*/}: $(wc -c <"$output" | tr -d ' ') bytes"
