#!/usr/bin/env bash
# Checks what the vehicle's binaries are made of: no C beyond ring and libc, one TLS provider at most.
#
#     cross/tree.sh
#
# Promises: a crate that compiles or links C on any of the four targets is named together with the path
# that brings it in. Never: a network access.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly targets=(aarch64-unknown-linux-gnu aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf
    arm-unknown-linux-musleabihf)
# What compiles or finds C code, and what may be compiled by it.
readonly compilers=(cc cmake bindgen pkg-config vcpkg autotools nasm-rs)
readonly may_compile=(ring)
# Names that end in -sys and hold no C: numbers of the kernel in Rust.
readonly rust_only=(ioctl-sys linux-raw-sys)
readonly forbidden=(aws-lc-rs aws-lc-sys openssl-sys native-tls)

tree() { cargo tree --offline --locked --package "$package" --edges normal,build --target "$target" "$@"; }
among() { local word=$1; shift; [[ " $* " == *" $word "* ]]; }
bad=0
complain() {
    printf 'cross: %s: %s: %s\n' "$package" "$target" "$1" >&2
    tree --invert "$2" >&2 || true
    bad=1
}

check() {
    local before=$bad names name user
    bad=0
    names=$(tree --prefix none --format '{p}' | awk '{ print $1 }' | sort -u)
    for name in $names; do
        if among "$name" "${forbidden[@]}"; then complain "$name is not allowed on the vehicle" "$name"; fi
        case $name in
        *-sys) among "$name" "${rust_only[@]}" || complain "$name links C code" "$name" ;;
        esac
        if among "$name" "${compilers[@]}"; then
            for user in $(tree --invert "$name" --depth 1 --prefix none --format '{p}' | awk 'NR > 1 { print $1 }' | grep -v '^\[' | sort -u); do
                among "$user" "${may_compile[@]}" || complain "$user builds C code with $name" "$user"
            done
        fi
    done
    if [ "$bad" = 0 ]; then
        printf '%s: %s: %s crates, no C beyond ring and libc\n' "$package" "$target" "$(wc -w <<<"$names")"
    fi
    bad=$((bad | before))
}

for package in gateway gateway-broker; do
    for target in "${targets[@]}"; do check; done
done
exit "$bad"
