#!/bin/sh
# Debian's Chromium, where there is none.
set -eu
command -v chromium >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "no chromium; without apt-get, install it yourself" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "no chromium; only root can install it: sudo sh $0" >&2; exit 1; }
patience="-o Acquire::Retries=1 -o Acquire::http::Timeout=30"
# shellcheck disable=SC2086
timeout 60 apt-get update --quiet=2 $patience &&
	DEBIAN_FRONTEND=noninteractive timeout 240 apt-get install --quiet=2 --yes --no-install-recommends $patience chromium
