#!/usr/bin/env bash
# Makes a Debian package of an artefact that cross/build.sh left.
#
#     cross/package.sh arm64|armhf...
#
# Leaves target/cross/fleet-gateway_VERSION_ARCH.deb and prints its size and SHA-256. Promises: the same
# commit gives the same bytes; no identity inside; the configuration on the device is never overwritten.
# Never: root rights, or a file of this machine beside the repository's.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
readonly repo
readonly out=${CARGO_TARGET_DIR:-$repo/target}/cross
readonly parts=$repo/cross/package
readonly budget_bytes=$((3 * 1024 * 1024))

die() { printf 'cross: %s\n' "$*" >&2; exit 1; }

version=$(cd "$repo" && cargo metadata --offline --locked --no-deps --format-version 1 |
    grep -o '"name":"gateway","version":"[^"]*"' | cut -d'"' -f8)
[ -n "$version" ] || die "cargo metadata names no package gateway"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$repo" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

put() { install -D -m "$1" "$2" "$3"; }

package() {
    local arch=$1 target root deb size
    case $arch in
    arm64) target=aarch64-unknown-linux-gnu ;;
    armhf) target=armv7-unknown-linux-gnueabihf ;;
    *) die "$arch is not one of: arm64 armhf" ;;
    esac
    local binary=$out/$target/fleet-gateway
    [ -x "$binary" ] || die "$binary is missing: run cross/build.sh $target"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' RETURN
    chmod 755 "$root"
    put 755 "$binary" "$root/usr/bin/fleet-gateway"
    put 644 "$parts/fleet-gateway.service" "$root/usr/lib/systemd/system/fleet-gateway.service"
    put 644 "$parts/60-fleet-gateway.rules" "$root/usr/lib/udev/rules.d/60-fleet-gateway.rules"
    put 644 "$parts/sysusers.conf" "$root/usr/lib/sysusers.d/fleet-gateway.conf"
    put 644 "$parts/modules-load.conf" "$root/usr/lib/modules-load.d/fleet-gateway.conf"
    put 644 "$parts/gateway.toml" "$root/usr/share/fleet-gateway/gateway.toml"
    put 644 "$parts/copyright" "$root/usr/share/doc/fleet-gateway/copyright"
    put 644 "$repo/CHANGELOG.md" "$root/usr/share/doc/fleet-gateway/changelog"
    gzip -9n "$root/usr/share/doc/fleet-gateway/changelog"
    put 644 "$parts/fleet-gateway.1" "$root/usr/share/man/man1/fleet-gateway.1"
    sed -i "s/@VERSION@/$version/" "$root/usr/share/man/man1/fleet-gateway.1"
    gzip -9n "$root/usr/share/man/man1/fleet-gateway.1"
    size=$(du -sk --apparent-size "$root" | cut -f1)
    mkdir "$root/DEBIAN"
    sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE_KIB@/$size/" "$parts/control" >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    local script
    for script in postinst prerm postrm; do put 755 "$parts/$script" "$root/DEBIAN/$script"; done
    chmod -R u=rwX,go=rX "$root"
    deb=$out/fleet-gateway_${version}_$arch.deb
    dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
    check "$deb" "$arch"
}

# What must hold of every package, whoever made it.
check() {
    local deb=$1 arch=$2 bytes list
    bytes=$(stat -c %s "$deb")
    [ "$bytes" -le "$budget_bytes" ] || die "$deb has $bytes bytes, the budget is $budget_bytes"
    [ "$(dpkg-deb --field "$deb" Architecture)" = "$arch" ] || die "$deb is not for $arch"
    list=$(dpkg-deb --contents "$deb")
    for file in ./usr/bin/fleet-gateway ./usr/lib/systemd/system/fleet-gateway.service; do
        grep -q " $file\$" <<<"$list" || die "$deb has no $file"
    done
    # An image made with this package must not carry a name, a certificate or a spool.
    ! grep -qE ' \./(etc|var)/.' <<<"$list" || die "$deb carries files below /etc or /var"
    printf '%s: %s bytes of %s, SHA-256 %s\n' "${deb##*/}" "$bytes" "$budget_bytes" "$(sha256sum "$deb" | cut -d' ' -f1)"
}

command -v dpkg-deb >/dev/null || die "dpkg-deb is missing (Debian package dpkg)"
[ $# -gt 0 ] || die "usage: cross/package.sh arm64|armhf..."
for arch in "$@"; do package "$arch"; done
