#!/usr/bin/env bash
# duckdb 2.0.0: since its Python module is built with nanobind, a process that froze its heap (gc.freeze(), as servers do before
# they fork or when they are loaded) ends with a page of "nanobind: leaked … instances" on stderr, though nothing leaked: objects in
# the permanent generation are not collected before the module looks for what is left. gc.unfreeze() in an atexit handler keeps it
# quiet; numpy and pyarrow loaded in the same way say nothing at all.
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 pyarrow==26.0.1

said() { "$home/venv/bin/python" -c "$1" 2>&1 >/dev/null | grep -c "nanobind: leaked" || true; }

"$home/venv/bin/python" -c "import duckdb; print('duckdb', duckdb.__version__)"
frozen=$(said "import gc, duckdb; gc.freeze()")
plain=$(said "import duckdb")
thawed=$(said "import atexit, gc, duckdb; gc.freeze(); atexit.register(gc.unfreeze)")
others=$(said "import gc, pyarrow; gc.freeze()")
echo "lines about leaks: frozen $frozen, not frozen $plain, unfrozen at exit $thawed, pyarrow frozen $others"
[ "$frozen" -gt 0 ] && [ "$plain" = 0 ] && [ "$thawed" = 0 ] && [ "$others" = 0 ]
