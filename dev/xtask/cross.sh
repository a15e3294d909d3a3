#!/bin/bash
# Compiles and links the module for macOS, FreeBSD and NetBSD on Debian (x86_64), and checks which symbols it leaves to
# the program that loads it: only janet_* may remain. Links an executable that has the module in it. Nothing is executed.
#
# usage: JANET=PROGRAM JANET_HEADERPATH=FOLDER cross.sh TARGET...     (cargo xtask cross does this)
#
# CROSS is the folder for the tools, 2 GB (target/cross unless set). Ends with "N passed, N failed, N skipped", one for
# each target. Exit status: 0, 1 when a target does not compile or leaves a symbol, 77 when a download was impossible.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CROSS=${CROSS:-$root/target/cross}
: "${JANET_HEADERPATH:?is not set: it names the folder with janet.h}"
: "${JANET:?is not set: it names the Janet that makes the archives}"
targets=("$@")
ZIG_VERSION=0.17.1

skip() {
  echo "skipped: $*" >&2
  echo "0 passed, 0 failed, ${#targets[@]} skipped"
  exit 77
}

# Runs a command that downloads something.
download() {
  "$@" >&2 || skip "a download was impossible: $*"
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "this needs Linux on x86_64"
for tool in apt-get dpkg-deb python3 rustc cargo; do
  command -v "$tool" >/dev/null || skip "$tool was not found (this needs Debian, Python and Rust)"
done

mkdir -p "$CROSS/deb" "$CROSS/bin"
CROSS=$(cd "$CROSS" && pwd)
cd "$CROSS"
exec 9>lock && flock 9

have_host_tools() {
  command -v clang && command -v llvm-nm && command -v llvm-ar && command -v file
} >/dev/null 2>&1

# 1. Debian's rustc and its library source: rustup's has no library for NetBSD or macOS.
if ! have_host_tools; then
  [ "$(id -u)" = 0 ] || skip "type: sudo apt-get install clang llvm file"
  download apt-get update -q
  download apt-get install -yq --no-install-recommends clang llvm file
fi
status=0
RUSTC=$(CROSS=$CROSS "$root/dev/xtask/debian-rust.sh") || status=$?
[ "$status" != 77 ] || skip "without Debian's rustc this is impossible"
[ "$status" = 0 ] || exit "$status"

# 2. zig, from its Python package: compiler and libc for the BSDs, headers and libSystem.tbd for macOS.
if [ ! -e zig/ok ]; then
  rm -rf zig
  download python3 -m pip download -q --no-deps -d zig "ziglang==$ZIG_VERSION"
  python3 -m zipfile -e zig/ziglang-*.whl zig
  chmod +x zig/ziglang/zig
  rm -f zig/ziglang-*.whl
  touch zig/ok
fi
zig=$CROSS/zig/ziglang

# 3. An "SDK" for macOS. ld64.lld crashes on arm64e.x1, and does not take arm64e for arm64.
mkdir -p sdk/usr/lib
ln -sfn "$zig/lib/libc/include/any-darwin-any" sdk/usr/include
python3 - "$zig/lib/libc/darwin/libSystem.tbd" >sdk/usr/lib/libSystem.tbd <<'P'
import re, sys
s = open(sys.argv[1]).read().replace('arm64e-mac', 'arm64-mac')
print(re.sub(r'arm64e\.x1-mac\w+\s*,\s*', '', re.sub(r',\s*arm64e\.x1-mac\w+', '', s)), end='')
P
for library in c m pthread dl; do ln -sfn libSystem.tbd "sdk/usr/lib/lib$library.tbd"; done
cat >sdk/usr/lib/libiconv.tbd <<'T'
--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: '/usr/lib/libiconv.2.dylib'
current-version: 7
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ _iconv, _iconv_close, _iconv_open ]
...
T
echo '{"Version":"14.0","MaximumDeploymentTarget":"14.0.99","CanonicalName":"macosx14.0"}' >sdk/SDKSettings.json

# 4. Wrappers. A linker's name must not end in "ld": rustc would take it for a linker without a compiler driver.
lld=$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld64.lld
cat >bin/darwin-clang <<W
#!/bin/sh
exec clang --target=x86_64-apple-macos -mlinker-version=710 --ld-path=$lld "\$@"
W
for os in freebsd netbsd; do
  cat >"bin/$os-zcc" <<W
#!/bin/bash
# zig names the target itself and has neither these libraries nor gcc's.
arguments=()
for argument in "\$@"; do
  case \$argument in
    --target=*|-m64|-Wl,--eh-frame-hdr|-Wl,-O1|-lkvm|-lmemstat|-lprocstat|-ldevstat|-lrt) ;;
    -lgcc_s) arguments+=(-lunwind) ;;
    *) arguments+=("\$argument") ;;
  esac
done
export ZIG_GLOBAL_CACHE_DIR=$CROSS/zig-cache/$os ZIG_LOCAL_CACHE_DIR=$CROSS/zig-cache/$os
exec $zig/zig cc -target x86_64-$os "\${arguments[@]}"
W
done
printf '#!/bin/sh\nexec %s/zig ar "$@"\n' "$zig" >bin/zar
chmod +x bin/*

# 5. The environment of the builds.
cargo=$(command -v cargo)
export RUSTC RUSTC_BOOTSTRAP=1 SDKROOT=$CROSS/sdk
export CARGO_TARGET_DIR=$CROSS/target CARGO_PROFILE_RELEASE_STRIP=none
for arch in aarch64 x86_64; do
  export "CC_${arch}_apple_darwin=clang" "AR_${arch}_apple_darwin=llvm-ar"
  export "CARGO_TARGET_${arch^^}_APPLE_DARWIN_LINKER=$CROSS/bin/darwin-clang"
done
# clang 14 has no _Float16 on x86_64, and the headers name it.
export CFLAGS_x86_64_apple_darwin=-D_Float16=float
for os in freebsd netbsd; do
  export "CC_x86_64_unknown_$os=$CROSS/bin/$os-zcc" "AR_x86_64_unknown_$os=$CROSS/bin/zar"
  export "CARGO_TARGET_X86_64_UNKNOWN_${os^^}_LINKER=$CROSS/bin/$os-zcc"
done

# Prints the symbols that a library takes from the program that loads it.
host_symbols() {
  local target=$1 library=$2
  case $target in
    *darwin) llvm-nm -m "$library" | sed -n 's/.*external _\(.*\) (dynamically looked up)/\1/p' ;;
    # The symbols of libc are listed with a version.
    *freebsd) llvm-nm -D --undefined-only "$library" | awk '$1 == "U" && $2 !~ /@/ { print $2 }' ;;
    # NetBSD's libraries have no versions, so what they define is taken away.
    *netbsd)
      comm -23 <(llvm-nm -D --undefined-only "$library" | awk '$1 == "U" { print $2 }' | sort -u) \
        <(for file in "$CROSS"/zig-cache/netbsd/o/*/lib{c,pthread,m,rt,util}.so*; do
          [ ! -e "$file" ] || llvm-nm -D --defined-only "$file"
        done | awk '{ print $NF }' | sort -u) ;;
  esac
}

# Makes what executables are linked with, as an installation does, and links a program with it. Functions that do nothing
# stand for all of Janet's. macOS's own linker, which hides the other names of the archive, is not here.
link_executable() {
  local target=$1 folder=$2/archive system options=() CC
  case $target in
    *darwin)
      system=macos CC="$CROSS/bin/darwin-clang --target=${target%%-*}-apple-macos11" options=(-liconv)
      ;;
    *) system=${target##*-} CC=$CROSS/bin/${target##*-}-zcc options=(-lunwind -lpthread -lm -lexecinfo) ;;
  esac
  mkdir -p "$folder"
  (cd "$root" && CC=$CC AR=llvm-ar OBJCOPY=llvm-objcopy "$JANET" \
    -e "(import ./bundle/archive) (archive/make \"$2/libkqnet.a\" [] \"$folder\" :$system)") 2>"$folder/log"
  {
    echo 'void janet_module_entry_kqnet_native(void *);'
    echo 'int main(void) { janet_module_entry_kqnet_native(0); return 0; }'
    grep -o '\bjanet_[a-z_0-9]*' "$JANET_HEADERPATH/janet.h" | sort -u | sed 's/.*/void &(void) {}/'
  } >"$folder/program.c"
  # shellcheck disable=SC2086
  $CC -w -fno-builtin -o "$folder/program" "$folder/program.c" "$folder/_native.a" "${options[@]}"
  file -b "$folder/program" >&2
}

# Builds and checks one target.
check() {
  local target=$1 folder=$CARGO_TARGET_DIR/$1/release library symbols other
  local log=$CROSS/$target.log
  rm -f "$folder"/libkqnet.{dylib,so}
  if ! (cd "$root" && "$cargo" build --release --package kqnet --lib -Zbuild-std=std,panic_abort --target "$target") \
    2>"$log"; then
    if grep -Eq 'failed to (download|get|fetch)|[Nn]etwork failure|[Cc]ould not resolve' "$log"; then
      skip "a download was impossible: $(grep -m1 '^error' "$log")"
    fi
    cat "$log" >&2
    return 1
  fi
  case $target in
    *darwin) library=$folder/libkqnet.dylib ;;
    *) library=$folder/libkqnet.so ;;
  esac
  file -b "$library" >&2
  symbols=$(host_symbols "$target" "$library")
  other=$(grep -v '^janet_' <<<"$symbols" || true)
  if [ -n "$other" ]; then
    echo "$target: symbols that the system does not have: $(tr '\n' ' ' <<<"$other")" >&2
    return 1
  fi
  grep -q '^janet_' <<<"$symbols" || {
    echo "$target: no janet_* symbol is left to the host, so the check saw nothing" >&2
    return 1
  }
  link_executable "$target" "$folder"
}

passed=0 failed=0
for target in "${targets[@]}"; do
  echo "building for $target" >&2
  # Not called as a condition, which would switch off errexit inside. In a subshell, whose exit status is looked at below.
  set +e
  (set -e; check "$target")
  status=$?
  set -e
  case $status in
    0) echo "ok    $target" >&2; passed=$((passed + 1)) ;;
    77) exit 77 ;;
    *) echo "FAIL  $target; to run it again: cargo xtask cross $target" >&2; failed=$((failed + 1)) ;;
  esac
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
