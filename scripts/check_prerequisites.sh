#!/usr/bin/env bash
# Prints the Python 3.11 to use, or names everything that is missing with the command that installs it.
#
#   [PYTHON=/path/to/python3.11] [JAVA_HOME=/path/to/jdk] scripts/check_prerequisites.sh
set -euo pipefail

sudo=$([ "$(id -u)" = 0 ] || echo "sudo ")
apt="" dnf="" brew=""

missing() { # missing WHAT APT_PACKAGES DNF_PACKAGES BREW_PACKAGES
    echo "Missing: $1" >&2
    apt+=" $2" dnf+=" $3" brew+=" $4"
}

have_any() { # have_any COMMAND...
    local command
    for command; do if type -P "$command" >/dev/null; then return 0; fi; done
    return 1
}

# A virtual environment answers with the Python it was made from, so .venv itself may be on the PATH.
print_base_if_3_11='import sys; sys.version_info[:2] == (3, 11) and print(sys._base_executable)'
find_python() {
    local candidate
    while read -r candidate; do
        "$candidate" -c "$print_base_if_3_11" 2>/dev/null | grep . && return
    done < <(if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"; else type -ap python3.11 python3 python; fi)
}

java_version() {
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1
}

python=$(find_python || true)
if [ -z "$python" ]; then
    missing "Python 3.11${PYTHON:+ (PYTHON=$PYTHON is not one)}" "python3.11 python3.11-venv" python3.11 python@3.11
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing "the venv module of $python" python3.11-venv python3.11 python@3.11
fi

java=$(java_version || true)
if [ "${java:-0}" -lt 17 ]; then
    hint=${JAVA_HOME:+ (JAVA_HOME is $JAVA_HOME: unset it, or let it name a newer one)}
    missing "Java 17 or later${java:+, found $java}$hint" \
        openjdk-17-jre-headless java-21-openjdk-headless openjdk@17
fi

if ! have_any "${CXX:-c++}" c++ g++ clang++; then
    missing "a C++ compiler (it builds Horovod)" g++ gcc-c++ gcc
fi

[ -n "$apt" ] || { echo "$python"; exit; }

show() { # show MANAGER COMMAND: only the machine's own package manager, or all where none is known
    if have_any "$1" || ! have_any apt-get dnf brew; then echo "Install with:  $2" >&2; fi
}
show apt-get "${sudo}apt-get update && ${sudo}apt-get install -y$apt"
show dnf "${sudo}dnf install -y$dnf"
show brew "brew install$brew"
[ -n "$python" ] || echo "Any Python 3.11 will do, such as one from pyenv:  make setup PYTHON=/path/to/python3.11" >&2
exit 1
