#!/bin/bash
# Prints the path of a rustc for targets that rustup cannot install here. It comes with the source of the standard
# library, so that cargo can build that (RUSTC_BOOTSTRAP=1 cargo build -Zbuild-std=std), and with the compiled library
# for Linux on arm64.
#
# All of it is from Debian, in one version, and is unpacked into the folder CROSS (target/cross unless set). The exit
# status is 77 when a download is impossible; standard error says what is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CROSS=${CROSS:-$root/target/cross}

. "$root/dev/xtask/debian.sh"

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

# Not every caller needs it, so it is not a failure if it is missing.
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
