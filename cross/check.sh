#!/usr/bin/env bash
# Checks one artefact without running it: machine, static, CPU generation, size.
#
#     cross/check.sh TARGET FILE
#
# Prints one line per artefact. The exit code is 1 with a sentence when something does not hold.
set -euo pipefail
readonly target=$1 file=$2
# A budget has room for a year of features, not for a second TLS library. The centre carries SQLite and a page.
case $file in
*/fleet-central) budget_bytes=$((32 * 1024 * 1024)) linked=dynamic ;;
*/fleet-gateway-broker) budget_bytes=3500000 linked=static ;;
*) budget_bytes=6000000 linked=static ;;
esac
readonly budget_bytes linked

die() { printf 'cross: %s: %s\n' "$target" "$*" >&2; exit 1; }

command -v readelf >/dev/null || die "readelf is missing (Debian package binutils)"
header=$(readelf -hW "$file")
segments=$(readelf -lW "$file")
case $target in
x86_64-*) machine="Advanced Micro Devices X86-64" ;;
aarch64-*) machine=AArch64 ;;
arm*) machine=ARM ;;
*) die "not a target of this project" ;;
esac
grep -q "Machine: *$machine" <<<"$header" || die "$file is not for $machine"
[ "$linked" = dynamic ] || ! grep -q INTERP <<<"$segments" || die "$file asks for a loader; a static file was promised"
cpu=
if [ "$machine" = ARM ]; then
    cpu=$(readelf -A "$file" | sed -n 's/^ *Tag_CPU_arch: *//p')
    case $target in
    # Debian's armhf C library is v7 code: linked into a v6 artefact, it dies on a Pi Zero.
    arm-*) [[ $cpu == v6* ]] || die "$file is for $cpu; a Pi Zero and Pi 1 are v6" ;;
    armv7-*) [[ $cpu == v7* ]] || die "$file is for $cpu, not v7" ;;
    esac
fi
size=$(stat -c %s "$file")
[ "$size" -le "$budget_bytes" ] || die "$file has $size bytes, the budget is $budget_bytes"
printf '%s: %s for %s, %s bytes of %s, %s%s\n' "$target" "${file##*/}" "$machine" "$size" "$budget_bytes" "$linked" "${cpu:+, $cpu}"
