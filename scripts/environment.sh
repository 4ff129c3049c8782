# Sourced by scripts/run, scripts/test, scripts/docs and .ci/run: makes .venv and installs the package into it.
#
# What is installed is remembered in .venv/installed-<what> as a checksum of pyproject.toml,
# constraints.txt and the checkout's place, so that a repeated call costs nothing and needs no network.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python

fail() {
  printf '%s: %s\n' "$(basename -- "$0")" "$1" >&2
  exit 1
}

recent_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    recent_enough "$PYTHON" || fail "Expected Python 3.11 or later, found that PYTHON=$PYTHON is not; name another."
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$candidate" >/dev/null 2>&1 && recent_enough "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "Expected Python 3.11 or later, found none; install it, or set PYTHON to its path."
}

make_venv() {
  base=$(find_python) || exit 1
  echo "Making .venv with $("$base" --version)" >&2
  # A folder without pip is one whose making was interrupted: it is made anew.
  "$base" -m venv --clear "$venv" >/dev/null 2>&1 ||
    fail "Expected '$base -m venv' to make $venv, found that it fails; install Python's venv module (Debian: python3-venv)."
}

checksum() {
  { printf '%s\n' "$root"; cat "$root/pyproject.toml" "$root/constraints.txt"; } | cksum
}

# pip indents the errors of the processes it starts; its last one is often only that one of them failed.
why_pip_failed() {
  reason=$(grep -E '^ *(ERROR|OSError|error): ?.' "$1" | grep -v 'subprocess-exited' | tail -n 1 | sed 's/^ *//')
  printf '%s' "${reason:-pip ended with an error}" | cut -c 1-300
}

# pip_install REQUIREMENT LOG: on a terminal the log's last line is shown while it grows, since it takes minutes.
pip_install() {
  "$python" -m pip install --disable-pip-version-check -c "$root/constraints.txt" -e "$1" >"$2" 2>&1 &
  installer=$!
  trap 'kill "$installer" 2>/dev/null; exit 130' INT TERM
  while [ -t 2 ] && kill -0 "$installer" 2>/dev/null; do
    printf '\r\033[K%s' "$(tail -n 1 "$2" | tr -d '\r' | cut -c 1-78)" >&2
    sleep 1
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
  wait "$installer"
  set -- $?
  trap - INT TERM
  return "$1"
}

# install WHAT REQUIREMENT: WHAT names the stamp, REQUIREMENT is the checkout with or without extras.
install() {
  stamp=$venv/installed-$1
  wanted=$(checksum)
  if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  "$python" -m pip --version >/dev/null 2>&1 || make_venv
  log=$venv/install.log
  echo "Installing into .venv (some minutes the first time; log in $log)" >&2
  pip_install "$2" "$log" ||
    fail "Could not install: $(why_pip_failed "$log") (log in $log)"
  printf '%s\n' "$wanted" >"$stamp"
}

install_for_run() {
  if [ -x "$python" ] && [ "$(cat "$venv/installed-dev" 2>/dev/null)" = "$(checksum)" ]; then
    return  # the development install holds all that a run needs
  fi
  install run "$root"
}

# The development install holds what the documentation is built with, too: tests look at the built site.
install_for_tests() {
  install dev "$root[dev,docs]"
}

install_for_docs() {
  if [ -x "$python" ] && [ "$(cat "$venv/installed-dev" 2>/dev/null)" = "$(checksum)" ]; then
    return
  fi
  install docs "$root[docs]"
}
