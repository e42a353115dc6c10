#!/usr/bin/env bash
# Fetches the source of the standard library that equals `rustc --version` from Debian's archive.
#
#     cross/rust-src.sh FOLDER
#
# Prints the path of the unpacked `library` folder. Promises: the machine's own package state is not
# touched (apt runs on a root of its own), apt verifies what it fetches, and a source of any other
# release is refused: mixed releases do not link. Never: installs a package.
set -euo pipefail
readonly folder=$1
die() { printf 'cross: rust-src: %s\n' "$*" >&2; exit 1; }

release=$(rustc --version | cut -d' ' -f2)
readonly library=$folder/rust-src-$release/usr/src/rustc-$release/library
if [ ! -f "$library/Cargo.lock" ]; then
    command -v apt-get >/dev/null || die "there is no apt-get to fetch it with; 'rustup component add rust-src' is the other way"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$keyring" ] || die "there is no $keyring, so nothing from Debian's archive could be verified"
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' | sed -n 's/^Debian Debian //p' | sort -u | head -n 1)
    [ -n "$mirror" ] || die "apt knows no mirror of Debian's archive; 'rustup component add rust-src' is the other way"
    apt=$folder/rust-src-apt
    mkdir -p "$apt"/{lists/partial,archives/partial,etc/{apt.conf.d,preferences.d}}
    : >"$apt/status"
    for suite in trixie trixie-backports; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >"$apt/etc/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::State "$apt"; Dir::State::status "$apt/status"; Dir::Cache "$apt"; Dir::Etc "$apt/etc";
APT::Architecture "$(dpkg --print-architecture)"; APT::Architectures {"$(dpkg --print-architecture)";}; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::Retries "3";
CONF
    export APT_CONFIG=$apt/apt.conf
    apt-get -qq update >&2 || die "the package lists of $mirror could not be fetched"
    version=$(apt-cache madison rust-src | awk -v r="$release+" 'index($3, r) == 1 { print $3; exit }')
    [ -n "$version" ] || die "the archive holds $(apt-cache madison rust-src | awk '{ print $3 }' | sort -u | tr '\n' ' ')but rustc is $release"
    (cd "$apt" && apt-get -qq download "rust-src=$version" >&2) || die "rust-src=$version could not be fetched"
    rm -rf "$folder/rust-src-$release"
    dpkg -x "$apt"/rust-src_*.deb "$folder/rust-src-$release"
    rm -f "$apt"/rust-src_*.deb
    [ -f "$library/Cargo.lock" ] || die "rust-src=$version does not hold $library"
fi
echo "$library"
