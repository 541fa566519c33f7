# shellcheck shell=bash
# What the scripts of ci/ share: how they fail, and the checks for the tools that they need.
# Sourced by the others; not to be run.

# The repository.
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")

# Says what is wrong and how to mend it, and ends the script: it could not run.
die() {
    printf 'ci/%s: %s\n' "$(basename "$(readlink -f "$0")")" "$1" >&2
    exit 2
}

# need TOOL HOW-TO-GET-IT
need() {
    command -v "$1" >/dev/null || die "\`$1\` is missing. Install it with: $2"
}

need_python() {
    need python3 "apt-get install python3"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' ||
        die "python3 is older than 3.8. Put a newer one first in PATH, for example from: apt-get install python3"
}

# What compiles torch-sys and links the program.
need_compilers() {
    local rust="rustup, from https://rustup.rs, then: rustup default stable"
    need cargo "$rust"
    need rustc "$rust"
    local version minor
    version=$(cd "$root" && rustc --version) || die "rustc does not run. Choose a toolchain with: rustup default stable"
    minor=$(sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p' <<<"$version")
    [[ -n $minor && $minor -ge 89 ]] || die "$version is older than 1.89. Update it with: rustup update stable"
    need "${CXX:-c++}" "apt-get install g++"
    need cc "apt-get install gcc libc6-dev"
}

# Lets cargo build against the libtorch that ci/libtorch finds or prepares, and no other.
use_libtorch() {
    LIBTORCH=$("$root/ci/libtorch")
    export LIBTORCH
    unset LIBTORCH_INCLUDE LIBTORCH_LIB LIBTORCH_STATIC LIBTORCH_CXX11_ABI LIBTORCH_USE_PYTORCH
}

# Builds the release binary if it is not up to date, and prints its path, wherever cargo is set up to put it.
# What cargo says goes to stderr, less its closing line, so that nothing is said where nothing is done.
build_selffer() {
    {
        (cd "$root" && cargo build --release --locked --bin selffer --message-format=json-render-diagnostics) 2>&1 1>&3 |
            sed --unbuffered '/^ *Finished /d' >&2
    } 3>&1 | executable selffer
}

# executable TARGET: where cargo, whose messages are read, put the program of that target.
executable() {
    python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message["reason"] == "compiler-artifact" and message["target"]["name"] == sys.argv[1] and message["executable"]:
        print(message["executable"])
' "$1"
}

# Fetches libtorch and builds the program, where needed, and sets `binary` to where it is.
build() {
    need_python
    need_compilers
    use_libtorch
    binary=$(build_selffer) || die "the build failed; the reason is above"
}

# Builds the program and the benchmark of steps, and sets `binary` and `bench` to where they are.
build_for_bench() {
    build
    # The benchmark itself, not by way of cargo, which would be timed by nobody and asked again and again.
    bench=$(cd "$root" && cargo bench --quiet --locked --bench step --no-run --message-format=json | executable step) ||
        die "the build failed; the reason is above"
}

# install_packages PACKAGE…: Debian's, where this process may install them; else it fails. No daemon starts by itself.
install_packages() {
    command -v apt-get >/dev/null && [[ $(id -u) == 0 ]] || return 1
    (
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        # Lists may be older than what the mirror has.
        timeout 120 apt-get update --quiet || true
        timeout 600 apt-get install --quiet --yes --no-install-recommends "$@"
    ) >&2 2>&1
}

# use_built DIR [PYTHON]: sets `binary` and `bench` to what `ci/gpu --pack DIR` put there. Where the libtorch that they were
# built with is not, that of PYTHON is taken (python3 where none is named).
use_built() {
    binary=$1/selffer bench=$1/step
    [[ -x $binary && -x $bench ]] || die "$1 has not both programs, selffer and step. Make it with: ci/gpu --pack DIR"
    if "$binary" --version >/dev/null 2>&1; then return; fi
    local python=${2:-python3} torch
    torch=$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) ||
        die "libtorch is not where $binary was built with it, and $python has no torch. Install it with: pip install torch==2.11.0"
    export LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    "$binary" --version >/dev/null || die "$binary does not start with the libtorch of $torch; the reason is above"
}

# three_seeds PROTOCOL, one_seed PROTOCOL: a built-in protocol with three seeds or one, by a name of its own. What the CPU
# comes to is golden/ci-three-seeds.portable.snap and golden/standard-one-seed.portable.snap; where their protocol changed,
# make them anew: train what this prints, then `selffer golden accept --protocol FILE`.
three_seeds() { with_seeds "$1" three-seeds "1, 2, 3"; }
# Without networks on fewer images: one seed has one of each, which tells nothing of accuracies.
one_seed() { with_seeds "$1" one-seed 1 | sed 's/, "[^"]*@[0-9]*"//g'; }
with_seeds() {
    sed -e "s/^seeds = .*/seeds = [$3]/" -e "s/^name = .$1.$/name = \"$1-$2\"/" "$root/src/protocols/$1.toml"
}
