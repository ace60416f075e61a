#!/usr/bin/env bash
# Makes the environment in which tests/test_blender.py runs Blender (bpy pins numpy 1.26: it needs one of its own).
# Usage: tests/blender/install.sh [FOLDER]; prints the path of its Python, for RECON_BLENDER_PYTHON. About 0.9 GB.
set -euo pipefail
version=5.0.1
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/recon-tests/bpy-$version}
if ! "$folder/bin/python" -c 'import bpy' >/dev/null 2>&1; then
    rm -rf "$folder"
    python3.11 -m venv "$folder"
    "$folder/bin/python" -m pip install -qq "bpy==$version" >&2
    "$folder/bin/python" -c 'import bpy' >/dev/null
fi
echo "$folder/bin/python"
