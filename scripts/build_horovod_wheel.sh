#!/usr/bin/env bash
# Builds the Horovod wheel for the TensorFlow that is installed in the given Python, once, and prints its path.
#
#   scripts/build_horovod_wheel.sh PYTHON CACHE_DIR
#
# Horovod publishes source only, and its build needs the TensorFlow it will run with. The wheel is kept in CACHE_DIR
# under a name that holds both versions, so a second call ends at once. HOROVOD_GPU=1 builds with NCCL instead of Gloo
# alone (see docs/operations.md). Needs a C++ compiler and make; cmake and the build tools come with the [build] extra.
set -euo pipefail

python=$1
cache=$2
horovod_version=0.28.1
patches=2 # how often what build_wheel changes in its source has changed

read -r tensorflow_version python_tag platform < <("$python" - <<'PY'
import sys, sysconfig
from importlib.metadata import distributions

found = {(d.metadata["Name"] or "").lower().replace("_", "-"): d.version for d in distributions()}
version = found.get("tensorflow-cpu") or found.get("tensorflow") or sys.exit("TensorFlow is not installed")
print(version, f"cp{sys.version_info.major}{sys.version_info.minor}", sysconfig.get_platform().replace("-", "_"))
PY
)
flavour=$([ "${HOROVOD_GPU:-0}" = 1 ] && echo gpu || echo cpu)
folder="$cache/horovod-$horovod_version-patch$patches-tf$tensorflow_version-$python_tag-$platform-$flavour"

find_wheel() { find "$folder" -name 'horovod-*.whl' 2>/dev/null | grep . | head -n 1; }
find_wheel && exit

echo "    Building Horovod $horovod_version for TensorFlow $tensorflow_version: once, 5 to 10 minutes on two cores." >&2
mkdir -p "$cache"
log="$cache/horovod-build.log"
work=$(mktemp -d "${TMPDIR:-/tmp}/horovod.XXXXXX")
build=
trap '[ -z "$build" ] || kill -- "-$build" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# TensorFlow's compiler flags name its own folder and are split at spaces: a link from here hides the spaces of a path.
prefix=$("$python" -c 'import sys; print(sys.prefix)')
ln -s "$prefix" "$work/venv"
export PATH="$work/venv/bin:$PATH"
export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1
[ "$flavour" = cpu ] || export HOROVOD_GPU_OPERATIONS=NCCL
export MAKEFLAGS=-j$(getconf _NPROCESSORS_ONLN)

build_wheel() {
    cd "$work"
    python -m pip download --no-deps --no-build-isolation --no-binary :all: "horovod==$horovod_version"
    tar -xzf "horovod-$horovod_version.tar.gz"
    # The body of this file is for GPUs only, and it includes a header that TensorFlow no longer ships.
    sed -i.bak '/xla_mpi_ops.cc/d' "horovod-$horovod_version/horovod/tensorflow/CMakeLists.txt"
    # Through Gloo, Horovod knows no rank that could be missing, and so no rank that waits for ever is ever told of.
    sed -i.bak 's/global_ranks_.reserve(size_)/global_ranks_.resize(size_)/' "horovod-$horovod_version/horovod/common/gloo/gloo_controller.cc"
    grep -q 'global_ranks_.resize' "horovod-$horovod_version/horovod/common/gloo/gloo_controller.cc"
    python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels "./horovod-$horovod_version"
}

set -m  # a process group of its own, so that an interrupt ends the compilers too
(set -e; build_wheel) >"$log" 2>&1 </dev/null &
build=$!
set +m
started=$SECONDS
while kill -0 "$build" 2>/dev/null; do
    sleep 1
    [ $(((SECONDS - started) % 60)) -ne 59 ] || echo "    still building: $(((SECONDS - started + 1) / 60)) min" >&2
done
wait "$build" || {
    build=
    tail -n 40 "$log" >&2
    echo "The Horovod build failed. The whole log: $log" >&2
    exit 1
}
build=

# A rename is atomic: a build that was cut short leaves nothing that looks finished.
staged=$(mktemp -d "$cache/horovod.XXXXXX")
cp "$work"/wheels/*.whl "$staged"
mv "$staged" "$folder"
find_wheel
