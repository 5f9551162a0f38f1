#!/usr/bin/env bash
# Writes requirements.lock: one version of every package for the core, the extras and the
# dependency groups, on every supported Python and machine. Called by `make lock`.
#
# Two extras are left out. `vision`: torch comes in flavours (CPU, CUDA) that a machine chooses.
# `report`: Evidently needs a pandas before 3, which would hold everybody else back.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/uv pip compile pyproject.toml \
    --universal --python-version 3.11 \
    --extra postgres --extra train --extra mlflow --group test --group check \
    --no-annotate --no-header --quiet \
    "$@" --output-file requirements.lock.new >/dev/null

{
    echo "# One version of every package, written by \`make lock\`. Do not edit."
    grep -v -e '^--' -e '^#' requirements.lock.new
} >requirements.lock
rm requirements.lock.new
echo "requirements.lock: $(grep -c '==' requirements.lock) packages."
