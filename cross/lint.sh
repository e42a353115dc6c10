#!/usr/bin/env bash
# Asks lintian about packages that cross/package.sh left.
#
#     cross/lint.sh DEB...
#
# Exit code 0 clean, 1 a tag that is not explained, 77 skipped and why (1 with CI=true). A tag that stays is
# explained in the package's lintian-overrides.
set -euo pipefail
if ! command -v lintian >/dev/null; then
    printf 'skipped: lintian is not installed (Debian package lintian)\n'
    [ "${CI:-}" != true ] || exit 1
    exit 77
fi
[ $# -gt 0 ] || { printf 'usage: cross/lint.sh DEB...\n' >&2; exit 2; }
# Tags of Debian's archive say nothing about a package that is not in it.
tags=$(lintian --allow-root --tag-display-limit 0 --fail-on none \
    --suppress-tags initial-upload-closes-no-bugs,bogus-mail-host "$@")
[ -z "$tags" ] || printf '%s\n' "$tags"
! grep -qE '^[EW]:' <<<"$tags" || exit 1
printf 'lintian: no error and no warning in %s\n' "$*"
