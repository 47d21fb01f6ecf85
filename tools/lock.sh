#!/bin/sh
# Write requirements.lock: every package with its hashes, torch left out (see requirements-torch.txt).
set -eu
override=$(mktemp)
trap 'rm -f "$override"' EXIT
echo 'torch ; python_version < "3"' > "$override"
.venv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --override "$override" --quiet --output-file requirements.lock "$@"
# The packages that torch needs stand in the lock through others; keep its own few too.
