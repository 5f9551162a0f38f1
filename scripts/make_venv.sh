#!/usr/bin/env bash
# Makes the environment .venv with the newest suitable Python on this machine.
# Called by `make install`; does nothing when .venv is there and works.
set -euo pipefail
cd "$(dirname "$0")/.."

suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (4, 0))'

if [ -x .venv/bin/python ] && .venv/bin/python -c "$suitable" 2>/dev/null; then
    exit 0
fi

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$suitable" 2>/dev/null; then
        python="$candidate"
        break
    fi
done

if [ -z "$python" ]; then
    found="$(python3 --version 2>/dev/null || echo 'no python3')"
    echo "Andon needs Python 3.11 or newer; this machine has $found." >&2
    echo "Debian, Ubuntu, Raspberry Pi OS: sudo apt install python3 python3-venv" >&2
    echo "Another Python: make install PYTHON=/path/to/python3.12" >&2
    exit 1
fi

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "$("$python" --version) is here, but its venv module is not." >&2
    echo "Debian, Ubuntu, Raspberry Pi OS: sudo apt install python3-venv" >&2
    exit 1
fi

echo "Making .venv with $("$python" --version)."
rm -rf .venv
"$python" -m venv .venv
# Debian 12's pip knows no dependency groups (25.1 does).
.venv/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1,<27'
