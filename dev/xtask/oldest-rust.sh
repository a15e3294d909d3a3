#!/bin/bash
# Prints the path of a folder with the programs `cargo` and `rustc` of a version of Rust, such as 1.85.
#
# usage: oldest-rust.sh VERSION
#
# They are Debian's, and are unpacked into the folder CROSS (target/cross unless set). The exit status is 77 when a
# download is impossible, or when this Debian does not have the version; standard error says why.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CROSS=${CROSS:-$root/target/cross}
wanted=$1
. "$root/dev/xtask/debian.sh"

folder=$CROSS/rust-$wanted
if [ ! -e "$folder/ok" ]; then
  rm -rf "$folder" deb/*
  update || skip "a download was impossible: apt-get update"
  # Debian calls its compiler rustc, and one that is newer than a release's own rustc-web.
  found=$(apt-cache "${apt[@]}" madison rustc:amd64 rustc-web:amd64 \
    | awk -v wanted="$wanted." 'index($3, wanted) == 1 { print $1, $3; exit }')
  [ -n "$found" ] || skip "this Debian has no Rust $wanted"
  read -r name version <<<"$found"
  name=${name%:amd64}
  web=${name#rustc}
  library=libstd-rust$web-$wanted
  llvm=$(apt-cache "${apt[@]}" show "$library:amd64=$version" | grep -o 'libllvm[0-9.]*' | head -1) \
    || skip "$library does not say which LLVM it needs"
  # The libraries that cargo is linked with. Where they need others that the system does not have, cargo does not run.
  libraries=$(apt-cache "${apt[@]}" show "cargo$web:amd64=$version" | sed -n 's/^Depends: //p' | grep -o 'lib[a-z][^ ,]*' \
    | grep -Ev '^lib(c6|gcc)' | sort -u)
  packages=("rustc$web:amd64=$version" "cargo$web:amd64=$version" "libstd-rust$web-dev:amd64=$version"
    "$library:amd64=$version" "$llvm:amd64")
  for one in $libraries; do packages+=("$one:amd64"); done
  fetch "${packages[@]}" || skip "a download was impossible: ${packages[*]}"
  mkdir -p "$folder/bin"
  for package in deb/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm -f deb/*.deb
  for program in cargo rustc; do
    cat >"$folder/bin/$program" <<W
#!/bin/sh
LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu exec $folder/usr/bin/$program "\$@"
W
    chmod +x "$folder/bin/$program"
    "$folder/bin/$program" --version >&2 || skip "Debian's $program $wanted does not run on this system"
  done
  touch "$folder/ok"
fi
echo "$folder/bin"
