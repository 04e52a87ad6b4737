#!/bin/sh
# Builds the image of the render function, stillpage-render:local, for this
# machine's architecture; with the argument "test" also runs it as Lambda would. With
# "selfhost" it builds that of `stillpage serve`, stillpage:local, and tries it.
#
# It uses the Docker that runs. On a Debian machine without one, such as a
# container for development, root gets a daemon of its own, which ends with the
# script, with all that it holds. Where no registry can be reached, the base images
# are made from Debian's packages and this machine's Go.
set -eu
cd "$(dirname "$0")/.."

image=stillpage-render:local
debian=debian:bookworm-slim
golang=golang:1.26-bookworm

has() { command -v "$1" >/dev/null 2>&1; }
say() { echo "image: $*" >&2; }
fail() { say "$*"; exit 1; }
install() {
	say "installing $*"
	{
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
	} >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "cannot install $*"; }
}

work=$(mktemp -d)
daemon=
clean_up() {
	trap '' INT TERM
	if [ -n "$daemon" ]; then
		for container in $(docker ps --all --quiet 2>/dev/null); do docker rm --force "$container" >/dev/null; done
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
		awk -v dir="$work/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount "$mount"; done
	fi
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

start_daemon() {
	has apt-get && [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] || fail "no Docker answers (docker info); start it, or install it from https://docs.docker.com/engine/install"
	[ -x /usr/sbin/dockerd ] || install docker.io
	mkdir "$work/bin"
	ln -s /usr/bin/docker "$work/bin/docker" # the command that fits the daemon
	PATH=$work/bin:$PATH:/usr/sbin
	export DOCKER_HOST="unix://$work/sock"
	say "no Docker runs; starting one that ends with this script"
	dockerd --host="$DOCKER_HOST" --data-root="$work/data" --exec-root="$work/exec" --pidfile="$work/pid" \
		--bridge=none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
	daemon=$!
	tries=0
	until docker info >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 60 ] || ! kill -0 "$daemon" 2>/dev/null; then
			tail -n 20 "$work/dockerd.log" >&2
			fail "dockerd does not start"
		fi
		sleep 1
	done
}
has docker && docker info >/dev/null 2>&1 || start_daemon
export DOCKER_BUILDKIT=1

set -- "${1:-build}"
arguments=
# Without a bridge, a build has the host's network or none.
[ -z "$daemon" ] || arguments="--network=host"
# From the environment, if they are there: see functions/render/Dockerfile.
for name in DEBIAN_MIRROR DEBIAN_SNAPSHOT; do
	if printenv $name >/dev/null; then arguments="$arguments --build-arg $name"; fi
done

here() { docker image inspect "$1" >/dev/null 2>&1 || docker pull -q "$1" >/dev/null 2>&1; }
if ! here $debian; then
	[ "$(id -u)" = 0 ] && has apt-get || fail "$debian cannot be pulled"
	has debootstrap || install debootstrap
	say "$debian cannot be pulled; making one from Debian's packages"
	debootstrap --variant=minbase bookworm "$work/root" "${DEBIAN_MIRROR:-http://deb.debian.org}/debian" >"$work/log" 2>&1 ||
		{ tail -n 20 "$work/log" >&2; fail "debootstrap has failed"; }
	debian=stillpage-debian:local
	tar -C "$work/root" -c . | docker import - $debian >/dev/null
	rm -rf "$work/root"
	arguments="$arguments --build-arg DEBIAN=$debian"
fi
command=./functions/render tags=lambda.norpc program=render
if [ "$1" = selfhost ]; then command=./cmd/stillpage tags=none program=stillpage; fi
if ! here $golang; then
	say "$golang cannot be pulled; building the program with this machine's Go"
	mkdir "$work/program"
	CGO_ENABLED=0 GOOS=linux GOARCH=$(docker version --format '{{.Server.Arch}}') go build -trimpath -tags $tags \
		-ldflags "-s -X main.version=${VERSION:-dev}" -o "$work/program/$program" $command
	tar -C "$work/program" -c $program | docker import - stillpage-program:local >/dev/null
	arguments="$arguments --build-arg PROGRAM=stillpage-program:local"
fi

if [ "$1" = selfhost ]; then
	image=stillpage:local
	docker build $arguments --build-arg "VERSION=${VERSION:-dev}" --tag $image --file infra/selfhost/Dockerfile .
	docker image ls $image
	# As infra/selfhost runs it, in front of the demo shop.
	container=$(docker run --detach --network=host --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges $image serve --demo \
		--listen 127.0.0.1:18080 --router-listen 127.0.0.1:18082 --admin-listen 127.0.0.1:18081 --drain 1s)
	tries=0
	until docker exec "$container" stillpage health http://127.0.0.1:18081 2>"$work/health"; do
		tries=$((tries + 1))
		if [ $tries -gt 30 ]; then
			docker logs "$container" >&2
			fail "the container is not healthy: $(cat "$work/health")"
		fi
		sleep 1
	done
	scripts/smoke.sh http://127.0.0.1:18080/items/brass-kettle
	docker stop --time 24 "$container" >/dev/null
	code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
	[ "$code" = 0 ] || fail "the container ended with $code"
	say "$image answers bots as an unprivileged user on a read-only disk, and stops when it is told"
	exit 0
fi

docker build $arguments --build-arg "VERSION=${VERSION:-dev}" --tag $image --file functions/render/Dockerfile .
docker image ls $image
[ "$1" = test ] || exit 0

[ "$(uname)" = Linux ] || fail "the test needs Docker on Linux itself: the container speaks to servers on this machine's loopback"
STILLPAGE_IMAGE=$image STILLPAGE_TOOLS=$debian go test -tags image -count=1 -v ./functions/render
