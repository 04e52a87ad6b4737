#!/bin/sh
# Asks a deployed site as bots and people do: scripts/smoke.sh https://www.example.com/
# Exit status 1 if bots do not get Stillpage's page, or people do.
set -eu

url=${1:?give the address of a page, like https://www.example.com/}
bot="Mozilla/5.0 (compatible; still-probe/1.0)"
person="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "smoke: $*"; }
fail() { say "$*"; sed 's/^/    /' "$work/head" >&2; exit 1; }
# Of the last answer, if there were redirects.
header() { tr -d '\r' <"$work/head" | awk -v name="$1" 'BEGIN { FS = ": *" } /^HTTP\// { value = "" } tolower($1) == tolower(name) { value = $2 } END { print value }'; }
# A cookie that nobody has sent before takes it past CloudFront's cache.
n=0
ask() {
	n=$((n + 1))
	: >"$work/head"
	curl --silent --show-error --location --max-time 40 --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' \
		--user-agent "$1" --cookie "still-probe=$$-$n-$(date +%s)" "$url" >"$work/status" 2>"$work/error" || echo 000 >"$work/status"
}

# A deployment, DNS or a cache may need a moment.
tries=0
while :; do
	ask "$bot"
	status=$(cat "$work/status")
	cache=$(header X-Stillpage-Cache)
	[ "$status" = 200 ] && [ -n "$cache" ] && break
	tries=$((tries + 1))
	[ $tries -lt "${SMOKE_TRIES:-6}" ] || { [ "$status" != 000 ] || fail "$url does not answer: $(cat "$work/error")"; fail "a bot got status $status, X-Stillpage-Cache '$cache', reason '$(header X-Stillpage-Reason)'"; }
	sleep 10
done
say "a bot got its page ($cache, $(wc -c <"$work/body" | tr -d ' ') bytes)"
if grep -qi '<script[^>]*src' "$work/body"; then fail "a bot got scripts, so the page is not a rendered one"; fi

ask "$bot"
cache=$(header X-Stillpage-Cache)
case $cache in
hit | stale) say "and again, from the store ($cache)" ;;
*) fail "a second request was no hit, but '$cache': nothing is kept" ;;
esac

ask "$person"
[ -z "$(header X-Stillpage-Cache)" ] || fail "a person got a bot's page"
status=$(cat "$work/status")
[ "$status" -ge 200 ] && [ "$status" -lt 400 ] || fail "a person got status $(cat "$work/status")"
say "a person got the app"
