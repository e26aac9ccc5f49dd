# shellcheck shell=bash
# Shared by the scripts of this folder; they set `me` to their name first.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # for the scripts that read this file
build_packages=(g++ meson ninja-build pkg-config libabsl-dev liburing-dev nlohmann-json3-dev
  systemtap-sdt-dev)

# die STEP TEXT: one line that names the step and says what to do.
die() {
  echo "${me:-handlefs}: $1: $2" >&2
  exit 1
}

# On a new system apt knows of no package yet.
need_lists() {
  [ -n "$(apt-cache pkgnames g++ 2>/dev/null)" ] || apt-get update >/dev/null 2>&1 </dev/null || true
}

# Tells where units go (systemd.pc).
systemd_package() {
  need_lists
  if [ -n "$(apt-cache show systemd-dev 2>/dev/null)" ]; then echo systemd-dev; else echo systemd; fi
}

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

# install_missing PACKAGE...: asks the package manager only when something is missing.
install_missing() {
  [ -n "$(command -v apt-get)" ] ||
    die packages "this is not Debian: install the equivalents of: $*, then build with meson and ninja"
  local missing log
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die packages "not installed: ${missing[*]}: run as root: apt-get install ${missing[*]}"
  echo "installing ${missing[*]}"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
    # The package lists may be old or absent.
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
      tail -n 15 "$log" >&2
      rm -f "$log"
      die packages "apt-get could not install ${missing[*]}: see above, check the network and /etc/apt/sources.list"
    fi
  fi
  rm -f "$log"
}

# build_dir DIR SETUP_OPTION...: configures once.
build_dir() {
  local dir=$1
  shift
  [ -f "$dir/build.ninja" ] || meson setup "$dir" "$root" "$@"
}

need_fuse() {
  [ -c /dev/fuse ] || modprobe -q fuse 2>/dev/null || true
  [ -c /dev/fuse ] ||
    die "/dev/fuse" "it is not there: load the kernel module (modprobe fuse), or give the container --device /dev/fuse"
}

# unmount_below DIR: nothing stays mounted there, whatever state it is in.
unmount_below() {
  local target
  while read -r target; do
    umount -l "$target" 2>/dev/null || true
  done < <(findmnt -rno TARGET | grep -F "$1/" | sort -r || true)
}
