#!/bin/sh
# Installs the packages of the list beside this script, in its versions and no
# others. The image's build runs it as root on Debian 12.
#
# DEBIAN_MIRROR has today's packages; it drops a version of Chromium on the day of
# the next one. DEBIAN_SNAPSHOT has all that ever were, more slowly, so it is asked
# when the mirror lacks something. Debian's signatures are checked on both.
set -eu
cd "$(dirname "$0")"

snapshot=$(awk '$1 == "snapshot" { print $2 }' packages)
wanted=$(awk '!/^#/ && NF == 2 && $1 != "snapshot" { print $1 "=" $2 }' packages)

rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
cat >/etc/apt/sources.list <<EOF
deb $DEBIAN_MIRROR/debian bookworm main
deb $DEBIAN_MIRROR/debian bookworm-updates main
deb $DEBIAN_MIRROR/debian-security bookworm-security main
EOF
apt-get update -q
# The base image may have a newer C library than the list.
options="-y -q --no-install-recommends --allow-downgrades"
if ! apt-get install $options --simulate $wanted >/dev/null; then
	echo "install: the mirror lacks versions of the list; asking $DEBIAN_SNAPSHOT of $snapshot"
	# Debian's signature of a day runs out after a week.
	cat >>/etc/apt/sources.list <<EOF
deb [check-valid-until=no] $DEBIAN_SNAPSHOT/debian/$snapshot bookworm main
deb [check-valid-until=no] $DEBIAN_SNAPSHOT/debian/$snapshot bookworm-updates main
deb [check-valid-until=no] $DEBIAN_SNAPSHOT/debian-security/$snapshot bookworm-security main
EOF
	apt-get update -q
fi
# busybox and fontconfig are tools of the build, and not in the image.
DEBIAN_FRONTEND=noninteractive apt-get install $options $wanted busybox-static fontconfig
