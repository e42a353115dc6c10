#!/usr/bin/env bash
# Makes a Debian package of an artefact that cross/build.sh left.
#
#     cross/package.sh [--revision N] [fleet-gateway|fleet-central] ARCH...
#
# Leaves target/cross/PROGRAM_VERSION_ARCH.deb with its bill of materials beside it and prints size and
# SHA-256. fleet-gateway (the default) is for arm64 and armhf, fleet-central for amd64 and arm64. Promises:
# the same commit gives the same bytes; no identity inside; the configuration on the device is never
# overwritten. Never: root rights, or a file of this machine beside the repository's.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
readonly repo
readonly target_dir=${CARGO_TARGET_DIR:-$repo/target}
readonly out=$target_dir/cross
readonly usage="usage: cross/package.sh [--revision N] [fleet-gateway|fleet-central] ARCH..."

die() { printf 'cross: %s\n' "$*" >&2; exit 1; }

program=fleet-gateway revision= archs=()
while [ $# -gt 0 ]; do
    case $1 in
    --revision) [[ ${2:-} =~ ^[0-9]+$ ]] || die "--revision ${2:-}: allowed is a number"; revision=+r$2; shift ;;
    fleet-gateway | fleet-central) program=$1 ;;
    -*) die "unknown option $1; $usage" ;;
    *) archs+=("$1") ;;
    esac
    shift
done
[ ${#archs[@]} -gt 0 ] || die "$usage"
command -v dpkg-deb >/dev/null || die "dpkg-deb is missing (Debian package dpkg)"
case $program in
fleet-gateway) crate=gateway known="arm64 armhf" budget_bytes=$((3 * 1024 * 1024)) ;;
# The centre carries a database, a web page and a broker.
fleet-central) crate=central known="amd64 arm64" budget_bytes=$((12 * 1024 * 1024)) ;;
esac
readonly program revision crate known budget_bytes parts=$repo/cross/package/$program

version=$(cd "$repo" && cargo metadata --offline --locked --no-deps --format-version 1 |
    grep -o "\"name\":\"$crate\",\"version\":\"[^\"]*\"" | cut -d'"' -f8)
[ -n "$version" ] || die "cargo metadata names no package $crate"
version+=$revision
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$repo" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

put() { install -D -m "$1" "$2" "$3"; }
squeeze() { gzip -9n "$@"; }
papers() { "$target_dir/debug/papers" "$@"; }

target_of() {
    case $program/$1 in
    */arm64) echo aarch64-unknown-linux-gnu ;;
    fleet-gateway/armhf) echo armv7-unknown-linux-gnueabihf ;;
    fleet-central/amd64) echo x86_64-unknown-linux-gnu ;;
    *) die "$program: $1 is not one of: $known" ;;
    esac
}

# The C library that a binary asks for.
libraries() {
    local least
    least=$(readelf --wide -V "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    echo "libc6 (>= ${least#GLIBC_}), libgcc-s1"
}

# What is the program's own: units, rules, example. What a program has not is left out.
put_parts() {
    local root=$1 file
    put 644 "$parts/$program.service" "$root/usr/lib/systemd/system/$program.service"
    put 644 "$parts/sysusers.conf" "$root/usr/lib/sysusers.d/$program.conf"
    for file in "$parts"/*.toml; do put 644 "$file" "$root/usr/share/$program/${file##*/}"; done
    if [ "$program" = fleet-gateway ]; then
        put 644 "$parts/fleet-gateway-identity.service" "$root/usr/lib/systemd/system/fleet-gateway-identity.service"
        put 644 "$parts/udev.rules" "$root/usr/lib/udev/rules.d/60-fleet-gateway.rules"
        put 644 "$parts/modules-load.conf" "$root/usr/lib/modules-load.d/fleet-gateway.conf"
    else
        for file in "$repo"/central/brokers/*; do
            [ ! -f "$file" ] || put "$(stat -c %a "$file")" "$file" "$root/usr/share/$program/brokers/${file##*/}"
        done
        for file in "$repo"/central/ops/*; do put 644 "$file" "$root/usr/share/$program/ops/${file##*/}"; done
        put 644 "$repo/RUNBOOK.md" "$root/usr/share/doc/$program/RUNBOOK.md"
    fi
}

put_papers() {
    local root=$1 target=$2 doc=$1/usr/share/doc/$program
    papers manual "$program" "$root/usr/share/man/man1" --more "$parts/man.more"
    squeeze "$root"/usr/share/man/man1/*
    papers completions "$program" "$root/completions"
    put 644 "$root/completions/$program.bash" "$root/usr/share/bash-completion/completions/$program"
    put 644 "$root/completions/_$program" "$root/usr/share/zsh/vendor-completions/_$program"
    put 644 "$root/completions/$program.fish" "$root/usr/share/fish/vendor_completions.d/$program.fish"
    rm -r "$root/completions"
    put 644 "$repo/cross/package/copyright" "$doc/copyright"
    put 644 "$repo/CHANGELOG.md" "$doc/CHANGELOG.md"
    printf '%s (%s) unstable; urgency=medium\n\n  * CHANGELOG.md.gz says what is in it.\n\n -- %s  %s\n' \
        "$program" "$version" "The Fleet Gateway authors <fleet-gateway@example.org>" \
        "$(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" >"$doc/changelog"
    (cd "$repo" && cargo metadata --offline --locked --format-version 1 --filter-platform "$target") |
        papers materials "$program" --lock "$repo/Cargo.lock" >"$doc/$program.cdx.json"
    squeeze "$doc/CHANGELOG.md" "$doc/changelog" "$doc/$program.cdx.json"
    [ ! -f "$parts/lintian-overrides" ] || put 644 "$parts/lintian-overrides" "$root/usr/share/lintian/overrides/$program"
}

package() {
    local arch=$1 target root deb size binary libraries= script
    target=$(target_of "$arch")
    binary=$out/$target/$program
    [ -x "$binary" ] || die "$binary is missing: run cross/build.sh $([ "$program" = fleet-gateway ] || echo "--program $program ")$target"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' RETURN
    put 755 "$binary" "$root/usr/bin/$program"
    if [ "$program" = fleet-gateway ]; then
        # Nobody calls it but the gateway.
        [ -x "$binary-broker" ] || die "$binary-broker is missing: run cross/build.sh $target"
        put 755 "$binary-broker" "$root/usr/libexec/$program-broker"
    fi
    put_parts "$root"
    put_papers "$root" "$target"
    if [ "$program" = fleet-central ]; then libraries=$(libraries "$binary"); fi
    size=$(du -sk --apparent-size "$root" | cut -f1)
    mkdir "$root/DEBIAN"
    sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE_KIB@/$size/; s/@LIBRARIES@/$libraries/" \
        "$parts/control" >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    for script in postinst prerm postrm; do put 755 "$parts/$script" "$root/DEBIAN/$script"; done
    chmod -R u=rwX,go=rX "$root"
    deb=$out/${program}_${version}_$arch.deb
    gunzip --stdout "$root/usr/share/doc/$program/$program.cdx.json.gz" >"${deb%.deb}.cdx.json"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
    check "$deb" "$arch"
}

# What must hold of every package, whoever made it.
check() {
    local deb=$1 arch=$2 bytes list file files
    bytes=$(stat -c %s "$deb")
    [ "$bytes" -le "$budget_bytes" ] || die "$deb has $bytes bytes, the budget is $budget_bytes"
    [ "$(dpkg-deb --field "$deb" Architecture)" = "$arch" ] || die "$deb is not for $arch"
    list=$(dpkg-deb --contents "$deb")
    files=("./usr/bin/$program" "./usr/lib/systemd/system/$program.service" "./usr/share/man/man1/$program.1.gz")
    [ "$program" != fleet-gateway ] || files+=("./usr/libexec/$program-broker")
    for file in "${files[@]}"; do
        grep -q " $file\$" <<<"$list" || die "$deb has no $file"
    done
    # An image made with this package must not carry a name, a certificate or a spool.
    ! grep -qE ' \./(etc|var)/.' <<<"$list" || die "$deb carries files below /etc or /var"
    printf '%s: %s bytes of %s, SHA-256 %s\n' "${deb##*/}" "$bytes" "$budget_bytes" "$(sha256sum "$deb" | cut -d' ' -f1)"
}

# FLEET_BUILT says that the tools are there, as a build of the whole workspace leaves them.
[ -n "${FLEET_BUILT:-}" ] || (cd "$repo" && cargo build --quiet --locked --package cross --bin papers)
for arch in "${archs[@]}"; do package "$arch"; done
