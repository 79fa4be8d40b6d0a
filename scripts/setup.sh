#!/usr/bin/env bash
# Brings .venv up to date: the pinned packages, Horovod, the Delta jars and this project.
#
#   scripts/setup.sh [dev]        with "dev" also what tests, notebooks and benchmarks need
#
# A finished step leaves a stamp in .venv with a checksum of the files that it depends on, and is not done again before
# they change. A set-up that was cut short can be started again at any point.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.venv
python=$venv/bin/python
cache=${XDG_CACHE_HOME:-$HOME/.cache}/demand-forecasting
log=$PWD/setup.log
exec 3>&2  # progress of a step whose output goes to the log
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_NO_INPUT=1
trap 'echo "Cut short. The same command goes on from here." >&3; exit 130' INT TERM

step() { # step NAME "FILES" "WHAT IT DOES, HOW LONG" COMMAND...
    local stamp=$venv/.stamps/$1 checksum started=$SECONDS
    checksum=$(cat $2 | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$checksum" ] || return 0
    echo "==> $3"
    "${@:4}" >"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        echo "Failed: $3" >&2
        echo "The lines above end the log $log. Put right what they name, then start the same command again." >&2
        exit 1
    }
    mkdir -p "$venv/.stamps"
    echo "$checksum" >"$stamp"
    echo "    done in $((SECONDS - started)) s"
}

# The scripts in a virtual environment hold its path: after a move it has to be made anew.
is_usable() {
    "$python" -c 'import sys, pip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null &&
        grep -qF "$python" "$venv/bin/pip"
}

install_packages() { # install_packages LOCK
    # What a cut-off pip left half installed has no RECORD, but would count as installed.
    for folder in "$venv"/lib/python*/site-packages/*.dist-info; do [ -e "$folder/RECORD" ] || rm -rf "$folder"; done
    # The lock names every package, so there is nothing to resolve; Python compiles what is used at its first import.
    "$python" -m pip install --no-deps --no-compile --requirement "$1"
}

install_horovod() {
    local wheel
    wheel=$(scripts/build_horovod_wheel.sh "$python" "$cache" 2>&3) &&
        "$python" -m pip install --no-index --no-deps --force-reinstall "$wheel" &&
        "$python" -c 'import horovod.tensorflow as hvd; assert hvd.gloo_built(), "Horovod was built without Gloo"'
}

base_python=$(scripts/check_prerequisites.sh)
is_usable || {
    rm -rf "$venv/.stamps"
    step venv /dev/null "Creating .venv with $base_python" "$base_python" -m venv --clear "$venv"
}
if [ "${1:-}" = dev ]; then # its lock holds the other's pins as well
    step packages-dev requirements-dev.lock "Installing the packages of requirements-dev.lock: 1 to 5 minutes, 2.7 GB on disk" \
        install_packages requirements-dev.lock
else
    step packages requirements.lock "Installing the packages of requirements.lock: 1 to 5 minutes, 2.5 GB on disk" \
        install_packages requirements.lock
fi
step horovod "requirements.lock scripts/build_horovod_wheel.sh" "Installing Horovod" install_horovod

delta=$(sed -n 's/^delta-spark==\([^ ]*\).*/\1/p' requirements.lock)
[ -d "${FORECASTING_DELTA_JARS:-$cache/delta-jars-$delta}" ] || {
    rm -f "$venv/.stamps/delta-jars"
    step delta-jars requirements.lock "Fetching the Delta Lake jars: once, half a minute" \
        "$python" scripts/fetch_delta_jars.py "$cache"
}
step project "setup.py pyproject.toml requirements.lock" "Installing this project into .venv, editable" \
    "$python" -m pip install --no-index --no-deps --no-build-isolation --editable .
