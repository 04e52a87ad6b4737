#!/bin/sh
# Installs what Stillpage needs beside Go, if it is missing: Chromium and fonts,
# with the argument "cc" a C compiler, which the race detector needs, and with
# the argument "node" Node.js and npm, which build the tests' apps, and with
# "java" a Java that runs DynamoDB Local, and with "nginx" and "curl" these. Says what it
# installs, and on other systems what is missing.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }
say() { echo "deps: $*" >&2; }

if ! has go; then
	say "Go is missing; install Go 1.26 or newer from https://go.dev/dl"
	exit 1
fi

chromium=
for name in chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable; do
	if has "$name"; then chromium=$name; break; fi
done
fonts=
if has fc-list && [ -n "$(fc-list 2>/dev/null | head -n 1)" ]; then fonts=yes; fi
cc=yes node=yes java=yes nginx=yes curl=yes
for wanted in "$@"; do
	case $wanted in
	cc) has "${CC:-cc}" || has gcc || cc= ;;
	node) has node && has npm || node= ;;
	java) has java || java= ;;
	curl) has curl || curl= ;;
	nginx) has nginx || [ -x /usr/sbin/nginx ] || nginx= ;;
	esac
done
if [ -n "$chromium" ] && [ -n "$fonts" ] && [ -n "$cc" ] && [ -n "$node" ] && [ -n "$java" ] && [ -n "$nginx" ] && [ -n "$curl" ]; then exit 0; fi

if ! has apt-get; then
	[ -n "$chromium" ] || say "Chromium is missing; install Chromium or Google Chrome, so that one of chromium-headless-shell, chromium or google-chrome is in PATH"
	[ -n "$fonts" ] || say "no fonts were found (fontconfig's fc-list); install some, such as Liberation and Noto"
	[ -n "$cc" ] || say "a C compiler is missing, which go test -race needs"
	[ -n "$node" ] || say "Node.js 18 or newer and npm are missing, which build the apps of the tests; install them from https://nodejs.org"
	[ -n "$curl" ] || say "curl is missing, with which pipelines ask a deployed site; install it"
	[ -n "$nginx" ] || say "nginx is missing, which tests put in front of two instances; install it from https://nginx.org"
	[ -n "$java" ] || say "Java 17 or newer is missing, which runs DynamoDB Local in tests; install it from https://adoptium.net"
	exit 1
fi

sudo=
if [ "$(id -u)" != 0 ]; then
	if ! has sudo; then say "run this as root, or install sudo: packages are missing"; exit 1; fi
	sudo=sudo
fi
install() {
	say "installing $*"
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}
# A real package, not one that only installs a snap: a snap sees neither our
# directories nor our pipes.
available() {
	version=$(apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ { print $2 }')
	case "$version" in '' | '(none)' | *snap*) return 1 ;; esac
}

say "updating package lists"
$sudo apt-get update -q >&2

[ -n "$cc" ] || install gcc libc6-dev
# NodeSource's nodejs brings an npm of its own, and conflicts with Debian's.
if [ -z "$node" ]; then
	has node || install nodejs
	has npm || install npm
fi
[ -n "$java" ] || install default-jre-headless
[ -n "$curl" ] || install curl ca-certificates
if [ -z "$nginx" ]; then
	# Debian starts what it installs, and this one is for tests.
	install nginx-light
	if has systemctl && [ -d /run/systemd/system ]; then
		$sudo systemctl disable --now nginx >&2 || true
	fi
fi
[ -n "$fonts" ] || install fontconfig fonts-liberation
if [ -z "$chromium" ]; then
	if available chromium-headless-shell; then
		install chromium-headless-shell
	elif available chromium; then
		install chromium
	elif [ "$(dpkg --print-architecture)" = amd64 ]; then
		# Ubuntu has Chromium as a snap only.
		deb=$(mktemp --suffix=.deb)
		trap 'rm -f "$deb"' EXIT
		has curl || install curl ca-certificates
		say "this distribution has no Chromium package; downloading Google Chrome"
		curl -fsSL -o "$deb" https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb
		chmod 644 "$deb"
		install "$deb"
	else
		say "this distribution has no Chromium package for $(dpkg --print-architecture); install one and name it with --chromium"
		exit 1
	fi
fi
