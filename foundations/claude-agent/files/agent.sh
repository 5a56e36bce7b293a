#!/bin/sh
# Gives one task to `claude -p` and puts its answer into a file.
#
# The answer appears in one step when it is complete: when claude fails, answers nothing or takes too long, the
# output stays as it was and the exit code says so.
set -eu

ANSWER_MAX=16000000     # bytes of an answer
SHOWN=40                # lines of claude's own messages that are passed on

usage() {
    cat <<'TEXT'
Usage: agent.sh [options]
Gives one task to `claude -p` and puts its answer into a file.

  --prompt-file FILE    the task (default: /app/prompt.md)
  --output FILE         where the answer goes; {date} is today, a number is added where that file exists
  --folder DIR          a folder that claude may read; it works there
  --time-limit SECONDS  how long claude may take (default: 900)
  --model NAME          the model (default: claude's own)
  --max-turns N         how many turns claude may take (default: claude's own)
  --dry-run             say what would be done; do not call claude, write nothing
  --help                this text

Exit codes: 0 the answer was written, 1 it was not, 2 wrong usage.
TEXT
}

say() { printf 'agent: %s\n' "$*"; }
fail() { printf 'agent: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'agent: %s (see --help)\n' "$*" >&2; exit 2; }

prompt=/app/prompt.md output='' folder='' limit=900 model='' turns='' dry=no

while [ $# -gt 0 ]; do
    case $1 in
        --help|-h) usage; exit 0 ;;
        --dry-run) dry=yes; shift; continue ;;
        --prompt-file|--output|--folder|--time-limit|--model|--max-turns) [ $# -ge 2 ] || misuse "$1 needs a value" ;;
        *) misuse "unknown option $1" ;;
    esac
    case $1 in
        --prompt-file) prompt=$2 ;;
        --output) output=$2 ;;
        --folder) folder=$2 ;;
        --time-limit) limit=$2 ;;
        --model) model=$2 ;;
        --max-turns) turns=$2 ;;
    esac
    shift 2
done

whole_number() {
    case $2 in ''|*[!0-9]*|0*|???????*) misuse "$1 must be a whole number from 1 to 999999" ;; esac
}
[ -n "$output" ] || misuse "--output is missing"
whole_number --time-limit "$limit"
[ -z "$turns" ] || whole_number --max-turns "$turns"

directory=$(dirname -- "$output")
name=$(basename -- "$output")
[ -f "$prompt" ] || fail "there is no prompt $prompt"
grep -q '[^[:space:]]' "$prompt" || fail "the prompt $prompt is empty"
[ -d "$directory" ] || fail "there is no folder $directory for the answer"
[ -z "$folder" ] || [ -d "$folder" ] || fail "there is no folder $folder"
command -v claude >/dev/null 2>&1 || fail "claude is not installed here; install Claude Code first"

# The file of this answer; one with a date in its name is never overwritten.
target() {
    today=$(date +%Y-%m-%d)
    case $name in
        *'{date}'*) ;;
        *) printf '%s' "$directory/$name"; return ;;
    esac
    dated=$(printf '%s' "$name" | sed "s/{date}/$today/g")
    stem=${dated%.*} extension=.${dated##*.}
    [ "$stem" != "$dated" ] || extension=''
    candidate=$dated number=2
    while [ -e "$directory/$candidate" ]; do
        candidate=$stem-$number$extension number=$((number + 1))
    done
    printf '%s' "$directory/$candidate"
}

set -- -p --output-format text
[ -z "$model" ] || set -- "$@" --model "$model"
[ -z "$turns" ] || set -- "$@" --max-turns "$turns"
if [ -n "$folder" ]; then
    # Reading only: nothing in the folder is changed, no command is run.
    set -- "$@" --allowedTools Read,Glob,Grep --add-dir "$folder"
fi

if [ "$dry" = yes ]; then
    printf '%s\n' "would run: claude $*${folder:+ (in $folder)}, for at most $limit s, with this task:"
    head -n 20 -- "$prompt" | cut -c 1-300 | sed 's/^/  /'
    printf 'would write the answer to %s\n' "$(target)"
    exit 0
fi

answer='' messages=''
clean() { rm -f -- ${answer:+"$answer"} ${messages:+"$messages"}; }
trap clean EXIT
trap 'exit 1' HUP INT TERM
answer=$(mktemp "$directory/.answer-XXXXXX") || fail "cannot write into $directory"
messages=$(mktemp "${TMPDIR:-/tmp}/agent-XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"

# claude keeps its own files in its home directory; the private directory outlives a run.
home=${AGENT_HOME:-$PWD/home}
mkdir -p -- "$home" || fail "cannot make $home"
export HOME="$home" DISABLE_AUTOUPDATER=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
case $prompt in /*) ;; *) prompt=$PWD/$prompt ;; esac

say "asking claude, for at most $limit s"
status=0
# A limit on the size of files, in blocks of 512 bytes, ends an answer without end.
(
    [ -z "$folder" ] || cd -- "$folder"
    ulimit -f $((ANSWER_MAX / 512 * 4))
    exec timeout -k 10 "$limit" claude "$@" <"$prompt"
) >"$answer" 2>"$messages" || status=$?
[ ! -s "$messages" ] || tail -n "$SHOWN" -- "$messages" | cut -c 1-500 | sed 's/^/claude: /' >&2
case $status in
    0) ;;
    124|137) fail "claude took longer than $limit s; nothing was written" ;;
    *)
        head -c 500 -- "$answer" | sed 's/^/claude: /' >&2; echo >&2
        fail "claude ended with exit code $status; nothing was written" ;;
esac
grep -q '[^[:space:]]' "$answer" || fail "claude answered nothing; nothing was written"
size=$(wc -c <"$answer" | tr -d ' ')
[ "$size" -le "$ANSWER_MAX" ] || fail "the answer has $size bytes, at most $ANSWER_MAX are taken; nothing was written"

chmod 644 "$answer"
sync "$answer" 2>/dev/null || sync
to=$(target)
mv -f -- "$answer" "$to" || fail "cannot write $to"
answer=''
say "wrote $size bytes to $to"
