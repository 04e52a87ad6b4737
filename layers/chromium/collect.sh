#!/bin/sh
# Copies what Chromium opens, and nothing else, into the directory that becomes the
# image: collect.sh DIRECTORY. The image's build runs it after install.sh.
#
# Libraries are found by ldd, which knows those that a program is linked with. What
# is opened by name at run time is in the lists below; strace has shown it, and
# smoke.sh and `make test-image` fail when something is missing.
set -eu
cd "$(dirname "$0")"
root=$1

chromium=/usr/lib/chromium
programs="/usr/bin/tini $chromium/chromium-headless-shell"

# Texts, time zones, and V8's state at its start.
files="$chromium/headless_command_resources.pak $chromium/headless_lib_data.pak $chromium/headless_lib_strings.pak
$chromium/icudtl.dat $chromium/v8_context_snapshot.bin"
# WebGL without a GPU.
files="$files $chromium/libvulkan.so.1 $chromium/libvk_swiftshader.so $chromium/vk_swiftshader_icd.json"
files="$files /etc/fonts/fonts.conf $(find /etc/fonts/conf.d -name '*.conf')"
files="$files $(find /usr/share/fonts/truetype/liberation -name '*.ttf') /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
# A page's HTML takes from a font how wide its glyphs are, and all weights of a CJK
# font are one em wide: of the four files, 93 MB, one is enough.
files="$files /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
# For certificates. Without them, Chromium ends at the first https page.
modules=
for name in libsoftokn3.so libfreeblpriv3.so libnssckbi.so; do
	modules="$modules $(ldconfig -p | awk -v name=$name '$1 == name { print $NF; exit }')"
done

linked=$(ldd $programs $modules)
if echo "$linked" | grep 'not found'; then
	echo "collect: libraries are missing" >&2
	exit 1
fi
# name => /lib/… (address), or, for the loader itself, /lib…/… (address). What ends
# in a colon names the file that is asked about.
needed=$(echo "$linked" | sed -n -e '/:$/d' -e 's/ (0x[0-9a-f]*)$//' -e 's/^\t.* => //' -e 's/^\t//' -e '/^\//p')

# /lib is a link to /usr/lib, in the image as in Debian 12.
all=$(printf '%s\n' $programs $files $modules $needed | sed 's,^/lib,/usr/lib,' | sort -u)
mkdir -p "$root/usr/lib" "$root/usr/bin"
ln -s usr/lib "$root/lib"
if [ -d /usr/lib64 ]; then
	mkdir "$root/usr/lib64"
	ln -s usr/lib64 "$root/lib64"
fi
copy() {
	tar -C / --dereference --create --file=/tmp/copy.tar -- $(printf '%s\n' "$@" | sed 's,^/,,')
	tar -C "$root" --extract --file=/tmp/copy.tar
	rm /tmp/copy.tar
}
copy $all
ldconfig -r "$root"
# Debian's is a shell script that calls it; the image has no shell.
ln -s ../lib/chromium/chromium-headless-shell "$root/usr/bin/chromium-headless-shell"

cp fonts.conf "$root/etc/fonts/local.conf"

# The service's own connections, to AWS. The bundle is made when the package is
# installed, so no package owns it.
mkdir -p "$root/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

# Every file is of a package in the list, and every package of the list is used.
owners=$({ dpkg-query -S $all $(echo "$all" | sed 's,^/usr/lib,/lib,') 2>/dev/null || true; echo "ca-certificates: "; } |
	sed 's/[:,].*//' | sort -u)
listed=$(awk '!/^#/ && NF == 2 && $1 != "snapshot" { print $1 }' packages | sort -u)
if [ "$owners" != "$listed" ]; then
	echo "collect: the list of packages is not what is used; correct the names and run renew.sh:" >&2
	printf '%s\n' $owners $listed $listed | sort | uniq -c | awk '$1 == 1 { print "  is missing:   " $2 } $1 == 2 { print "  is not used:  " $2 }' >&2
	exit 1
fi
# For scanners, which look up known faults by package and version; and licences.
mkdir -p "$root/var/lib/dpkg"
dpkg-query --status $listed >"$root/var/lib/dpkg/status"
copy /etc/os-release $(printf '/usr/share/doc/%s/copyright ' $listed)

echo 'render:x:993:993::/tmp:/sbin/nologin' >"$root/etc/passwd"
echo 'render:x:993:' >"$root/etc/group"
mkdir -m 1777 "$root/tmp"

# Chromium reads the index of fonts, and makes one at each start if the time of a
# directory is not what the index says, to the nanosecond. An image keeps seconds.
find "$root/usr/share/fonts" -exec touch --date=2026-01-01T00:00:00Z {} +
fc-cache --sysroot="$root"
