#!/bin/sh
# Makes three.bundle.js anew, with the versions of package.json, in a temporary folder. Needs node and npm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/entry.js" "$work"
cd "$work"
npm install --no-audit --no-fund --silent
version=$(sed -n 's/.*"three": "\(.*\)".*/\1/p' package.json)
node_modules/.bin/esbuild entry.js --bundle --minify --charset=ascii --legal-comments=none \
  --target=es2020 --format=iife --global-name=three \
  --banner:js="/* three.js $version, MIT License, see LICENSE beside it */" \
  --outfile="$here/three.bundle.js"
cp node_modules/three/LICENSE "$here/LICENSE"
