#!/bin/sh
# Where libnghttp2's header is missing, installs it with the system's package manager if that may be used, and else says
# so in one line. Never fails: without it HTTP/2 runs on the slower stack. Needs nothing but a shell.
CC=${CC:-cc}
[ "${MCP_ILERT_PURE:-}" != 1 ] && [ -z "${NGHTTP2_PREFIX:-}" ] && command -v ${CC%% *} >/dev/null 2>&1 || exit 0

there() {
  pkg-config --exists 'libnghttp2 >= 1.52' 2>/dev/null ||
    printf '#include <nghttp2/nghttp2.h>\n#if NGHTTP2_VERSION_NUM < 0x013400\n#error old\n#endif\n' | $CC -E -x c - >/dev/null 2>&1
}

# As root, or by a sudo that asks nothing.
root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
  if command -v brew; then HOMEBREW_NO_AUTO_UPDATE=1 brew install libnghttp2; return; fi
  root true || return
  if command -v apt-get; then
    apt="apt-get -q -y -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
    root env DEBIAN_FRONTEND=noninteractive $apt install --no-install-recommends libnghttp2-dev ||
      { root $apt update && root env DEBIAN_FRONTEND=noninteractive $apt install --no-install-recommends libnghttp2-dev; }
  elif command -v dnf; then root dnf -q -y install libnghttp2-devel
  elif command -v apk; then root apk add --no-progress nghttp2-dev
  elif command -v zypper; then root zypper -n -q install libnghttp2-devel
  elif command -v pacman; then root pacman -S --needed --noconfirm libnghttp2
  else return 1
  fi
}

there && exit 0
echo "mcp-ilert: installing libnghttp2's header with the system's package manager (once)"
install >/dev/null 2>&1 </dev/null
there || echo "mcp-ilert: libnghttp2's header (1.52 or newer) is missing and could not be installed; HTTP/2 runs on the slower stack. Debian, Ubuntu: apt install libnghttp2-dev" >&2
exit 0
