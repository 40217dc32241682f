#!/bin/sh
# Starts PowerDNS: makes its database once, and passes the API key on in a file that nobody else reads. Paths come from
# the environment, so that the demo and the tests start it the same way.
set -eu
umask 077
data=${HAWSE_DNS_DATA:-/var/lib/pdns}
run=${HAWSE_DNS_RUN:-/run/pdns}
if [ ! -e "$data/pdns.sqlite3" ]; then
  rm -f "$data/new.sqlite3"
  sqlite3 "$data/new.sqlite3" < /usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql
  mv "$data/new.sqlite3" "$data/pdns.sqlite3"
fi
mkdir -p "$run/conf.d"
printf 'api-key=%s\n' "$(cat "${HAWSE_DNS_KEY_FILE:-/etc/hawse-dns/key/api-key}")" > "$run/conf.d/key.conf"
cd "$run"
exec pdns_server --config-dir="${HAWSE_DNS_CONFIG:-/etc/hawse-dns/config}"
