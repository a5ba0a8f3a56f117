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
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$(printf ' %s' $missing) for the tests with browsers and nginx"
    apt-get -qq update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing fonts-liberation >/dev/null
else
    echo "the tests need: $missing. Install them (Debian: sudo apt-get install $missing) and run make test again." >&2
    exit 1
fi
