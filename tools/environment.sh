#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes .venv with pvefi in it and what writes the reports of `pvefi evaluate` (argument `dev`: with the test tools
# too), once for each state of pyproject.toml. Whatever is missing is said in one line, with the way out.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)
extra=${1:-}

die() {
    echo "environment: $1" >&2
    exit 1
}

wanted="$here $(cksum <pyproject.toml)"
made() { [ -x .venv/bin/python ] && [ "$(cat ".venv/made$1" 2>/dev/null)" = "$wanted" ]; }
if made -dev || { [ -z "$extra" ] && made ""; }; then
    exit 0
fi

# One at a time: two makes in one tree would fill the same folder.
[ -w . ] || die "cannot write to $here (make a clone that is yours)"
if [ -z "${PVEFI_ENVIRONMENT_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    PVEFI_ENVIRONMENT_LOCKED=1 exec flock . sh tools/environment.sh "$extra"
fi

# A half-made or foreign .venv (killed, moved, made by a Python that is gone) is made anew.
if ! .venv/bin/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null; then
    python=
    seen=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        seen="$seen $candidate is $version"
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            python=$candidate
            break
        fi
    done
    [ -n "$seen" ] || die "python3 is missing (apt-get install python3 python3-venv, or make PYTHON=/path/python3)"
    [ -n "$python" ] || die "Python 3.11 or later is needed,$seen (make PYTHON=/path/python3 names another one)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module (apt-get install python3-venv, or make PYTHON=/path/python3)"
    echo "environment: making .venv with $($python --version)" >&2
    rm -f .venv/made .venv/made-dev
    problem=$("$python" -m venv --clear .venv 2>&1) ||
        die "$python -m venv failed: $(echo "$problem" | tail -n 1) (apt-get install python3-venv)"
fi

what="pvefi and what it needs"
[ -z "$extra" ] || what="$what, and the test tools"
echo "environment: installing $what" >&2
log=.venv/pip.log
for attempt in 1 2 3; do
    if .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --retries 2 --timeout 30 \
        --editable ".[${extra:-evaluate}]" </dev/null >"$log" 2>&1; then
        echo "$wanted" >".venv/made${extra:+-$extra}"
        exit 0
    fi
    [ "$attempt" = 3 ] || sleep $((attempt * 2))
done
reason=$(grep -m1 -o 'ERROR: .*' "$log" || tail -n 1 "$log")
die "pip could not install them: $reason (is the package index within reach? PIP_INDEX_URL and PIP_PROXY name others; all of it: $log)"
