# Finds out which programs are missing and installs their Debian packages, with consent.
# Sourced by ./agentwright and ./test, which define `say` and `stop`.
# shellcheck shell=bash

missing_packages=()
missing_reasons=()

lacks() {
    missing_packages+=("$1")
    missing_reasons+=("$1: $2")
}

# need NAME PACKAGE REASON COMMAND…: any one of the commands will do.
need() {
    local package=$2 reason=$3 command
    shift 3
    for command in "$@"; do
        command -v "$command" >/dev/null 2>&1 && return 0
    done
    lacks "$package" "$reason"
}

# need_file PACKAGE REASON PATTERN: sandboxes see only the system's own directories, so a copy
# elsewhere on PATH is no help.
need_file() {
    compgen -G "$3" >/dev/null || lacks "$1" "$2"
}

# Installs what the calls above found missing, or stops with the command to give.
install_needed() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    say "this machine lacks:"
    printf '  %s\n' "${missing_reasons[@]}" >&2
    local by_hand="apt-get install ${missing_packages[*]}" sudo=()
    if ! command -v apt-get >/dev/null 2>&1; then
        stop "install them with this system's package manager (names may differ from Debian's), then run this again"
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || stop "ask an administrator for: $by_hand"
        sudo=(sudo)
        if [ "${CI:-}" = true ] && sudo -n true 2>/dev/null; then
            :
        elif [ -t 0 ] && [ -t 2 ]; then
            local answer
            read -r -p "Install them now with 'sudo $by_hand'? [y/N] " answer
            case $answer in
                y | Y | yes) ;;
                *) stop "nothing was installed; when you are ready: sudo $by_hand" ;;
            esac
        else
            stop "no terminal to ask on; please run: sudo $by_hand"
        fi
    fi
    say "installing ${missing_packages[*]}"
    # RUNLEVEL=1 keeps freshly installed servers (PostgreSQL) from being started.
    local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o Dpkg::Use-Pty=0)
    local log
    log=$(mktemp)
    if ! "${install[@]}" install -y --no-install-recommends "${missing_packages[@]}" >"$log" 2>&1; then
        # An old or absent package list is the usual reason.
        "${install[@]}" update >>"$log" 2>&1 || true
        if ! "${install[@]}" install -y --no-install-recommends "${missing_packages[@]}" >>"$log" 2>&1; then
            tail -n 15 "$log" >&2
            rm -f "$log"
            stop "could not install them: check the network and the lines above, or install them by hand: $by_hand"
        fi
    fi
    rm -f "$log"
}
