#!/bin/sh
# Installs what the comparison needs from npm into bench/.work, which git
# ignores, and builds its site. A second run does only what has changed.
set -eu
cd "$(dirname "$0")/../bench"

for name in node npm; do
	if ! command -v "$name" >/dev/null 2>&1; then
		echo "bench: $name is missing, which the peers and the site's build need; install Node.js 18 or newer with npm (Debian, Ubuntu: apt-get install nodejs npm)" >&2
		exit 1
	fi
done

# Rendertron's puppeteer would download a Chromium; all share the installed one.
export PUPPETEER_SKIP_CHROMIUM_DOWNLOAD=1 PUPPETEER_SKIP_DOWNLOAD=1
for dir in site peers; do
	mkdir -p .work/$dir
	if ! cmp -s $dir/package-lock.json .work/$dir/installed; then
		echo "bench: installing bench/$dir/package-lock.json into bench/.work/$dir" >&2
		rm -f .work/$dir/installed
		cp $dir/package.json $dir/package-lock.json .work/$dir/
		(cd .work/$dir && npm ci --no-audit --no-fund --loglevel=error >&2)
		cp $dir/package-lock.json .work/$dir/installed
	fi
done
cp peers/*.js .work/peers/

cp site/app.jsx .work/site/
rm -rf .work/site/dist
cd .work/site
./node_modules/.bin/esbuild app.jsx --bundle --minify --jsx=automatic --target=es2022 --legal-comments=none \
	'--define:process.env.NODE_ENV="production"' '--entry-names=[name].[hash]' --outdir=dist --log-level=warning
