#!/usr/bin/env bash
# Runs each ARM artefact under user-mode QEMU: version, configuration check, and ten seconds on simulated
# buses against a centre on loopback with every reading checked.
#
#     cross/smoke.sh TARGET...      or      cross/smoke.sh all
#
# Exit code 0 passed, 1 failed, 77 skipped and why (1 with CI=true). Promises: ARMv6 runs on an ARM1176.
# Never: a build of the artefact (cross/build.sh does that), or a fixed port.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
readonly repo
readonly all=(aarch64-unknown-linux-gnu aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf
    arm-unknown-linux-musleabihf)
readonly target_dir=${CARGO_TARGET_DIR:-$repo/target}

skip() {
    printf 'skipped: %s\n' "$*"
    [ "${CI:-}" != true ] || exit 1
    skipped=1
}

[ $# -gt 0 ] || { printf 'usage: cross/smoke.sh TARGET... | all; targets: %s\n' "${all[*]}" >&2; exit 2; }
targets=("$@")
[ "$1" != all ] || targets=("${all[@]}")
skipped=
cd "$repo"
# What a test run of the whole workspace has just built is not built again with other features.
[ -n "${FLEET_BUILT:-}" ] || cargo build --quiet --locked --package central --package hil
for target in "${targets[@]}"; do
    case $target in
    aarch64-*) emulator=(qemu-aarch64-static) ;;
    armv7-*) emulator=(qemu-arm-static) ;;
    arm-*) emulator=(qemu-arm-static -cpu arm1176) ;;
    *) printf 'cross: %s is not one of: %s\n' "$target" "${all[*]}" >&2; exit 2 ;;
    esac
    gateway=$target_dir/cross/$target/fleet-gateway
    if [ ! -x "$gateway" ]; then
        skip "$target: not built; run cross/build.sh $target"
        continue
    fi
    if ! command -v "${emulator[0]}" >/dev/null; then
        skip "$target: ${emulator[0]} is not installed (Debian package qemu-user-static)"
        continue
    fi
    folder=$(mktemp -d)
    if "$target_dir/debug/smoke" "$folder" "$target_dir/debug/fleet-central" "$gateway" "${emulator[@]}"; then
        rm -rf "$folder"
    else
        printf 'cross: %s: logs are in %s\n' "$target" "$folder" >&2
        exit 1
    fi
done
[ -z "$skipped" ] || exit 77
