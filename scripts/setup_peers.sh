#!/usr/bin/env bash
# Brings .venv-peers up to date: Nixtla's neuralforecast and torch, for benchmarks/neural_peers.py. .venv stays as it is.
#
#   scripts/setup_peers.sh
#
# torch is its build for CPUs alone, 1 GB on disk, where PyTorch's own index (TORCH_INDEX) can be reached; otherwise the
# one from the usual package index, which brings 5 GB of CUDA libraries that nothing here uses.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.venv-peers
python=$venv/bin/python
wanted=benchmarks/requirements-peers.txt
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
log=$PWD/setup-peers.log
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_NO_INPUT=1

step() { # step "WHAT IT DOES, HOW LONG" COMMAND...
    local started=$SECONDS
    echo "==> $1"
    "${@:2}" >>"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        echo "Failed: $1" >&2
        echo "The lines above end the log $log. Put right what they name, then start the same command again." >&2
        exit 1
    }
    echo "    done in $((SECONDS - started)) s"
}

install_torch() { # the other step takes what is missing after this one
    "$python" -m pip install --no-deps --no-compile --retries 0 --timeout 20 --index-url "$torch_index" \
        "$(grep '^torch==' "$wanted")" || echo "No torch from $torch_index; the usual package index has to do."
}

checksum=$(cat "$wanted" "$0" | cksum)
if [ "$(cat "$venv/.done" 2>/dev/null)" = "$checksum" ] && grep -qsF "$python" "$venv/bin/pip"; then exit; fi
: >"$log"
base_python=$(scripts/check_prerequisites.sh)
step "Creating .venv-peers with $base_python" "$base_python" -m venv --clear "$venv"
step "Installing torch for CPUs, if it can be had: up to a minute" install_torch
step "Installing the packages of $wanted: 1 to 5 minutes, 1.5 to 6 GB on disk" \
    "$python" -m pip install --no-compile --requirement "$wanted"
step "Importing them once: up to a minute" "$python" -c "import neuralforecast, torch; print(torch.__version__)"
echo "$checksum" >"$venv/.done"
