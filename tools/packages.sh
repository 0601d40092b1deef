#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Sees to it that the programs which the tests call are there, QEMU and its EFI firmware among them, and the browser
# that opens reports: installs them by apt when that is possible (root, a Debian machine, something missing), and
# otherwise leaves it to the tests to say what they lack.
set -eu

missing=
for need in binutils:readelf binutils:objdump binutils:as binutils:ld chromium:chromium cpio:cpio file:file \
    lzop:lzop openssl:openssl qemu-system-x86:qemu-system-x86_64 sbsigntool:sbverify; do
    command -v "${need#*:}" >/dev/null 2>&1 || missing="${missing%" ${need%:*}"} ${need%:*}"
done
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing="$missing ovmf"
python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    missing="$missing python3 python3-venv"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$missing python3-venv"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "packages: missing:$missing (tests that need them are skipped; as root: apt-get install$missing)" >&2
    exit 0
fi
echo "packages: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the list is meant to split
install() { apt-get install -y -q --no-install-recommends $missing </dev/null >"$log" 2>&1; }
update() { apt-get update -q </dev/null >"$log" 2>&1; }
for attempt in 1 2 3; do
    if { [ "$attempt" = 1 ] && install; } || { update && install; }; then
        exit 0
    fi
    sleep "$attempt"
done
reason=$(grep -m1 '^[EW]:' "$log" || tail -n 1 "$log")
echo "packages: apt-get could not install$missing: $reason" >&2
# Outside of CI the tests still run, without those that need what is missing.
[ "${CI:-}" != true ]
