#!/usr/bin/env bash
# Builds the committed sources twice, in two checkouts and two target folders, and compares binaries and package.
#
#     cross/reproducible.sh TARGET [ARCH]
#
# Promises: the exit code is 1 and the first difference is named when the bytes differ. Never: the working
# copy's own files, or a cache of an earlier build.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
readonly repo target=${1:?usage: cross/reproducible.sh TARGET [ARCH]} arch=${2:-}
work=$(mktemp -d)
readonly work
trap 'git -C "$repo" worktree remove --force "$work/first" 2>/dev/null; git -C "$repo" worktree remove --force "$work/second-checkout" 2>/dev/null; rm -rf "$work"' EXIT
version=$(git -C "$repo" rev-parse HEAD)
# Folders of unequal length: a path that got into the bytes would move everything behind it.
for name in first second-checkout; do
    git -C "$repo" worktree add --quiet --detach "$work/$name" "$version"
    export CARGO_TARGET_DIR=$work/$name-target
    "$work/$name/cross/build.sh" "$target"
    [ -z "$arch" ] || "$work/$name/cross/package.sh" "$arch"
done
for program in fleet-gateway fleet-gateway-broker; do
    file=$work/first-target/cross/$target/$program
    cmp "$file" "$work/second-checkout-target/cross/$target/$program" ||
        { printf 'cross: %s: two builds of %s differ in %s\n' "$target" "$version" "$program" >&2; exit 1; }
    printf '%s: two builds of %s have the same bytes, SHA-256 %s\n' "$target" "$program" "$(sha256sum "$file" | cut -d' ' -f1)"
done
[ -n "$arch" ] || exit 0
cmp "$work"/first-target/cross/fleet-gateway_*_"$arch".deb "$work"/second-checkout-target/cross/fleet-gateway_*_"$arch".deb ||
    { printf 'cross: two packages of %s differ\n' "$version" >&2; exit 1; }
printf '%s: two packages have the same bytes\n' "$arch"
