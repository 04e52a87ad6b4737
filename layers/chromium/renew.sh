#!/bin/sh
# Writes today's versions, and the day, into the list of packages. The names stay:
# they are the packages of the files that collect.sh copies, and it says which are
# missing when a new Chromium needs another library.
#
# Runs on Debian or Ubuntu with curl and xz, or in a container:
#	docker run --rm -v "$PWD:/src" -w /src debian:bookworm sh -c \
#		'apt-get update && apt-get install -y curl xz-utils && layers/chromium/renew.sh'
set -eu
cd "$(dirname "$0")"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}

for name in curl xz dpkg; do
	command -v $name >/dev/null || { echo "renew: $name is missing" >&2; exit 1; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
today=$(date -u +%Y%m%dT%H%M%SZ)
for arch in amd64 arm64; do
	for suite in debian/dists/bookworm debian/dists/bookworm-updates debian-security/dists/bookworm-security; do
		curl -fsS "$mirror/$suite/main/binary-$arch/Packages.xz" | xz -d
	done | awk '$1 == "Package:" { name = $2 } $1 == "Version:" { print name, $2 }' >"$tmp/$arch"
done

# newest PACKAGE ARCHITECTURE
newest() {
	best=
	for version in $(awk -v name="$1" '$1 == name { print $2 }' "$tmp/$2"); do
		if [ -z "$best" ] || dpkg --compare-versions "$version" gt "$best"; then best=$version; fi
	done
	echo "$best"
}
while read -r name version; do
	case $name in
	'' | '#'*) echo "$name${version:+ $version}" ;;
	snapshot) echo "snapshot $today" ;;
	*)
		amd64=$(newest "$name" amd64)
		arm64=$(newest "$name" arm64)
		if [ -z "$amd64" ] || [ "$amd64" != "$arm64" ]; then
			echo "renew: $name is '$amd64' on amd64 and '$arm64' on arm64; wait for Debian to build both" >&2
			exit 1
		fi
		echo "$name $amd64"
		;;
	esac
done <packages >"$tmp/packages"
cat "$tmp/packages" >packages
