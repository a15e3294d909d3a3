# To be sourced: downloads packages of Debian without installing them. $CROSS is the folder to download to.
# shellcheck shell=bash

# Ends the script with the status that says that it could not be tried.
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
cd "$CROSS" || exit 1
exec 8>rust.lock && flock 8

# Lists of its own, since the system's need not know arm64, and only root can update those.
apt=(-q -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root
  -o "Dir::State::lists=$CROSS/apt/lists" -o "Dir::Cache=$CROSS/apt/cache")
updated=

update() {
  [ -n "$updated" ] || apt-get "${apt[@]}" update >&2 || return 1
  updated=yes
}

# Downloads packages into the folder deb.
fetch() {
  (cd deb && apt-get "${apt[@]}" download "$@" >&2)
}
