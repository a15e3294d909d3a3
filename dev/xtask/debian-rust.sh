#!/bin/bash
# Prints the path of a rustc for targets that rustup cannot install here. It has the source of its standard library, so
# that cargo can build that (RUSTC_BOOTSTRAP=1 cargo build -Zbuild-std=std), and for Linux on arm64 the library itself.
#
# All are Debian's, of one version, and are unpacked into the folder CROSS (target/cross unless set). Exit status 77
# when a download is impossible; what is missing is said on standard error.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CROSS=${CROSS:-$root/target/cross}

skip() {
  echo "skipped: $*" >&2
  exit 77
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "this needs Linux on x86_64"
for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || skip "$tool was not found (this needs Debian)"
done

mkdir -p "$CROSS"/{bin,deb,apt/lists/partial,apt/cache/archives/partial}
CROSS=$(cd "$CROSS" && pwd)
cd "$CROSS"
exec 8>rust.lock && flock 8

# Lists of its own, since the system's need not know arm64. Nothing is installed.
apt=(-q -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root
  -o "Dir::State::lists=$CROSS/apt/lists" -o "Dir::Cache=$CROSS/apt/cache")
updated=

update() {
  [ -n "$updated" ] || apt-get "${apt[@]}" update >&2 || return 1
  updated=yes
}

fetch() {
  (cd deb && apt-get "${apt[@]}" download "$@" >&2)
}

if [ ! -e rust/ok ]; then
  rm -rf rust deb/*
  update || skip "a download was impossible: apt-get update"
  std=$(apt-cache "${apt[@]}" show --no-all-versions libstd-rust-web-dev:amd64 2>/dev/null \
    | sed -n 's/^Depends: \(libstd-rust-web-[0-9.]*\).*/\1/p')
  [ -n "$std" ] || skip "this Debian has no package libstd-rust-web-dev"
  llvm=$(apt-cache "${apt[@]}" show --no-all-versions "$std:amd64" | grep -o 'libllvm[0-9]*' | head -1)
  packages=(rustc-web libstd-rust-web-dev "$std" "$llvm")
  fetch "${packages[@]/%/:amd64}" rust-web-src || skip "a download was impossible: ${packages[*]} rust-web-src"
  for package in "${packages[@]}"; do dpkg-deb -x deb/"${package}"_*.deb rust; done
  dpkg-deb --fsys-tarfile deb/rust-web-src_*.deb | tar -x -C rust --wildcards './usr/src/rustc-*/library' './usr/lib/*'
  dpkg-deb -f deb/rustc-web_*.deb Version >rust/version
  rm -f deb/*.deb
  touch rust/ok
fi

# Not everybody who calls this needs it, so that it is missing is no failure here.
arm64=usr/lib/rustlib/aarch64-unknown-linux-gnu
if [ ! -d "rust/$arm64" ]; then
  rm -rf arm64
  if update && fetch "libstd-rust-web-dev:arm64=$(cat rust/version)"; then
    dpkg-deb -x deb/libstd-rust-web-dev_*_arm64.deb arm64
    rm -f deb/*.deb
    mv "arm64/$arm64" "rust/$arm64"
  else
    echo "Rust's library for arm64 could not be downloaded" >&2
  fi
  rm -rf arm64
fi

cat >bin/rustc.new <<W
#!/bin/sh
LD_LIBRARY_PATH=$CROSS/rust/usr/lib/x86_64-linux-gnu exec $CROSS/rust/usr/bin/rustc "\$@"
W
chmod +x bin/rustc.new
mv bin/rustc.new bin/rustc
echo "$CROSS/bin/rustc"
