#!/bin/sh
# Installs 管家 from this folder without a network: ./install.sh [FOLDER, default ./guanjia]
# Python 3.11 or newer must be there (PYTHON names another). Nothing is written outside FOLDER.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-./guanjia}
python=${PYTHON:-$(command -v python3.11 || command -v python3)}
cd "$here"
sha256sum --quiet --check SHA256SUMS || { echo "a file is not what SHA256SUMS says: nothing was installed" >&2; exit 1; }
if openssl dgst -sm3 SM3SUMS >/dev/null 2>&1; then
    while read -r sum file; do
        [ "$(openssl dgst -sm3 -r "$file" | cut -d' ' -f1)" = "$sum" ] ||
            { echo "$file is not what SM3SUMS says: nothing was installed" >&2; exit 1; }
    done <SM3SUMS
else
    echo "this machine's openssl knows no SM3: SHA-256 alone was checked"
fi
cd - >/dev/null
"$python" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
"$python" -m venv "$target"
pip() { "$target/bin/python" -m pip --quiet --disable-pip-version-check --no-cache-dir "$@"; }
pip install --no-index --find-links "$here/wheels" --require-hashes --no-deps -r "$here/requirements.txt"
pip install --no-index --no-deps "$here"/wheels/guanjia-*.whl
echo "installed: $("$target/bin/guanjia" --version)"
echo "start it: $target/bin/guanjia run --empty --data /var/lib/guanjia"
