#!/usr/bin/env bash
# Builds the vehicle's binaries for ARM: one command per target.
#
#     cross/build.sh [--offline] TARGET...      or      cross/build.sh all
#     cross/build.sh --program fleet-central x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
#
# Leaves target/cross/TARGET/fleet-gateway and fleet-gateway-broker, static and stripped, and checks them with
# cross/check.sh. The centre carries SQLite in C and is linked with the C library of the machine: Debian 12 or
# later runs it.
# Promises: the standard library is rustup's where the target is installed or can be added, else it is
# built from the rust-src of the very same release; what is missing is named in one sentence and the
# exit code is 1. Never: a host build made with RUSTC_BOOTSTRAP, or a system package installed.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
readonly repo
all=(aarch64-unknown-linux-gnu aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf
    arm-unknown-linux-musleabihf)
readonly out=${CARGO_TARGET_DIR:-$repo/target}/cross
readonly tools=$out/tools

say() { printf 'cross: %s\n' "$*" >&2; }
die() { printf 'cross: %s\n' "$*" >&2; exit 1; }

has_std() {
    local libdir
    libdir=$(rustc --print target-libdir --target "$1") && compgen -G "$libdir/libstd-*.rlib" >/dev/null
}

# Sets `std_flags`, and STD_SOURCE when the source lies outside the toolchain.
choose_std() {
    local target=$1 source
    std_flags=()
    if has_std "$target"; then return; fi
    if [ -z "$offline" ] && command -v rustup >/dev/null; then
        if rustup --quiet target add "$target" >/dev/null 2>&1 && has_std "$target"; then return; fi
        rustup --quiet component add rust-src >/dev/null 2>&1 || true
    fi
    source=$(rustc --print sysroot)/lib/rustlib/src/rust/library
    if [ ! -f "$source/Cargo.lock" ]; then
        [ -z "$offline" ] || die "$target: neither its std nor rust-src is installed, and --offline forbids fetching"
        source=$("$repo/cross/rust-src.sh" "$tools") ||
            die "$target: no std: 'rustup target add $target' failed and no rust-src equal to $(rustc --version) was found"
        # Cargo's own tests use this variable; it is the only way to name a std outside the toolchain.
        export __CARGO_TESTS_ONLY_SRC_ROOT=$source
    fi
    say "$target: std is built from $source"
    std_flags=(-Zbuild-std=std,panic_abort)
}

need() { command -v "$1" >/dev/null || die "$2: the linker $1 is missing (Debian package $3)"; }

# Sets ZIG and ZIGBUILD: those of the machine, else from PyPI into the target folder.
choose_zig() {
    if command -v cargo-zigbuild >/dev/null && command -v zig >/dev/null; then
        zigbuild=$(command -v cargo-zigbuild) zig=$(command -v zig)
        return
    fi
    local venv=$tools/zig
    if [ ! -x "$venv/bin/cargo-zigbuild" ]; then
        [ -z "$offline" ] || die "$1: zig and cargo-zigbuild are missing, and --offline forbids fetching"
        command -v python3 >/dev/null ||
            die "$1: zig and cargo-zigbuild are missing, and python3 to fetch them is, too"
        rm -rf "$venv"
        { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --require-hashes \
            --requirement "$repo/cross/zig.requirements.txt"; } >&2 ||
            { rm -rf "$venv"; die "$1: zig and cargo-zigbuild could not be fetched from PyPI"; }
    fi
    zigbuild=$venv/bin/cargo-zigbuild
    zig=$(echo "$venv"/lib/python3*/site-packages/ziglang/zig)
}

# The same bytes wherever the checkout, the registry and the toolchain lie.
remapped() {
    printf '%s ' "--remap-path-prefix=$repo=/fleet-gateway" \
        "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
        "--remap-path-prefix=$(rustc --print sysroot)=/rust"
}

build() {
    local target=$1 upper cargo=(cargo build) folder=$out/build flags is_static=1 program
    [ "${programs[0]}" != fleet-central ] || is_static=
    upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
    flags="$(remapped)"
    choose_std "$target"
    case $target in
    x86_64-*) ;;
    *-gnu | *-gnueabihf)
        local prefix=${target/-unknown/} package
        prefix=${prefix/armv7/arm}
        package=gcc-$prefix
        need "$prefix-gcc" "$target" "$package"
        export "CARGO_TARGET_${upper}_LINKER=$prefix-gcc" "CC_${target//-/_}=$prefix-gcc" \
            "AR_${target//-/_}=$prefix-ar"
        # A static binary does not ask which glibc the board has.
        [ -z "$is_static" ] || flags+="-C target-feature=+crt-static -C relocation-model=static"
        ;;
    *-musl*)
        if [ ${#std_flags[@]} -eq 0 ]; then
            # rustup's musl std carries its C library and start files; the toolchain's linker is enough. The C of
            # ring asks nothing of a C library but memory and assert, which glibc's headers declare alike.
            if [ "$target" = aarch64-unknown-linux-musl ] && ! command -v aarch64-linux-musl-gcc >/dev/null; then
                need aarch64-linux-gnu-gcc "$target" gcc-aarch64-linux-gnu
                export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_musl=aarch64-linux-gnu-ar
            fi
            export "CARGO_TARGET_${upper}_LINKER=rust-lld"
            flags+="-C linker-flavor=ld.lld -C link-self-contained=yes -C relocation-model=static"
        else
            choose_zig "$target"
            export CARGO_ZIGBUILD_ZIG_PATH=$zig
            cargo=("$zigbuild" zigbuild)
            flags+="-C link-self-contained=no -C relocation-model=static"
        fi
        ;;
    *) die "$target is not one of: ${all[*]}" ;;
    esac
    if [ ${#std_flags[@]} -gt 0 ]; then
        # Build scripts of any crate see this variable: such a build has a folder of its own.
        export RUSTC_BOOTSTRAP=1
        folder=$out/build-std
    fi
    mkdir -p "$out/$target"
    # Each by itself: together, one would be built with the features that the other asks of what both use.
    for program in "${programs[@]}"; do
        env "CARGO_TARGET_${upper}_RUSTFLAGS=$flags" CARGO_TARGET_DIR="$folder" \
            "${cargo[@]}" --manifest-path "$repo/Cargo.toml" --profile "$profile" --locked ${offline:+--offline} \
            "${std_flags[@]}" --package "${program#fleet-}" --bin "$program" --target "$target" >&2
        install -m 755 "$folder/$target/$profile/$program" "$out/$target/$program"
        "$repo/cross/check.sh" "$target" "$out/$target/$program"
    done
}

offline= programs=(fleet-gateway fleet-gateway-broker) profile=vehicle
targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --offline) offline=1 ;;
    --program)
        case ${2:-} in
        fleet-gateway | fleet-gateway-broker) programs=("$2") ;;
        fleet-central) programs=("$2") profile=release all=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu) ;;
        *) die "--program ${2:-}: allowed are fleet-gateway, fleet-gateway-broker and fleet-central" ;;
        esac
        shift
        ;;
    all) targets+=("${all[@]}") ;;
    -*) die "unknown option $1; allowed: --offline, --program" ;;
    *) targets+=("$1") ;;
    esac
    shift
done
readonly all programs profile
[ ${#targets[@]} -gt 0 ] || die "usage: cross/build.sh [--offline] [--program PROGRAM] TARGET... | all; targets: ${all[*]}"
for target in "${targets[@]}"; do
    [[ " ${all[*]} " == *" $target "* ]] || die "$target is not one of: ${all[*]}"
done
cd "$repo"
# The binary knows when it was built: the commit's time, whatever was compiled before.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
for target in "${targets[@]}"; do
    # A subshell, so that what one target exports is not seen by the next.
    (build "$target")
done
