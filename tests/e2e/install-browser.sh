#!/bin/sh
# The browsers that tests/e2e drives, and the programs of deploy/ and tests/load (nginx, ip). On Debian as root they are
# installed; elsewhere this says what is missing.
set -eu
missing=""
[ -n "${QSCHED_CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="chromium"
command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing="$missing firefox-esr"
command -v WebKitWebDriver >/dev/null || missing="$missing webkit2gtk-driver"
command -v Xvfb >/dev/null || missing="$missing xvfb"
command -v npm >/dev/null || missing="$missing npm"
PATH="$PATH:/usr/sbin:/sbin" command -v nginx >/dev/null || missing="$missing nginx-light"
PATH="$PATH:/usr/sbin:/sbin" command -v ip >/dev/null || missing="$missing iproute2"
installs=""
[ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || installs=yes
[ -z "$missing" ] || [ -z "$installs" ] || apt-get -qq update
# The same engine in a quarter of the processor time. Where there is no such package, the tests take the whole browser.
if [ -z "${QSCHED_CHROMIUM:-}" ] && [ -n "$installs" ] && ! command -v chromium-headless-shell >/dev/null &&
    apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    missing="$missing chromium-headless-shell"
fi
[ -n "$missing" ] || exit 0
if [ -n "$installs" ]; then
    echo "installing$(printf ' %s' $missing) for the tests with browsers and nginx"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing fonts-liberation >/dev/null
else
    echo "the tests need: $missing. Install them (Debian: sudo apt-get install $missing) and run make test again." >&2
    exit 1
fi
