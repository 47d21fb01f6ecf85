#!/bin/sh
# Write requirements.lock: every package with its hashes, torch left out (see requirements-torch.txt).
# Named beside pyproject.toml: what torch itself needs, and what builds this package.
set -eu
override=$(mktemp)
beside=$(mktemp)
trap 'rm -f "$override" "$beside"' EXIT
echo 'torch ; python_version < "3"' > "$override"
printf '%s\n' filelock fsspec jinja2 networkx setuptools sympy typing-extensions hatchling editables uv > "$beside"
.venv/bin/uv pip compile pyproject.toml "$beside" --all-extras --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --override "$override" --quiet \
  --output-file requirements.lock "$@"
