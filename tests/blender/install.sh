#!/usr/bin/env bash
# Makes the environment in which tests/test_blender.py runs Blender (bpy pins numpy 1.26: it needs one of its own).
# Usage: tests/blender/install.sh [FOLDER]; prints the path of its Python, for RECON_BLENDER_PYTHON. 0.9 GB, made once:
# it is kept by version in the user's cache, and appears whole or not at all. The last line of errors says why not.
set -euo pipefail
version=5.0.1
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/recon-tests/bpy-$version}

if ! "$folder/bin/python" -c 'import bpy' >/dev/null 2>&1; then
    python=
    for name in python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then python=$name && break; fi
    done
    [ -n "$python" ] || { echo "bpy $version needs Python 3.11" >&2 && exit 1; }
    new=$folder.$$
    trap 'rm -rf "$new"' EXIT
    rm -rf "$folder"
    "$python" -m venv "$new"
    "$new/bin/python" -m pip install -qq --disable-pip-version-check --no-compile "bpy==$version" >&2
    "$new/bin/python" -c 'import bpy' >/dev/null
    mv "$new" "$folder"
fi
echo "$folder/bin/python"
