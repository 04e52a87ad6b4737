#!/bin/sh
# Runs Chromium in the very files of the image, as the user that Lambda takes, with
# the flags that matter there; and looks for the fonts. The image's build runs it,
# with busybox, because the image has no shell.
set -eu
export HOME=/tmp/home
mkdir "$HOME"

fail() { echo "smoke: $*" >&2; exit 1; }

# family or language, file
font() {
	found=$(fc-match -f '%{file}' "$1")
	case $found in
	*/"$2") echo "$1: $found" ;;
	*) fail "fc-match $1: got $found, want $2" ;;
	esac
}
font system-ui LiberationSans-Regular.ttf
font serif LiberationSerif-Regular.ttf
font monospace LiberationMono-Regular.ttf
font Arial LiberationSans-Regular.ttf
font sans-serif LiberationSans-Regular.ttf
font 'Times New Roman' LiberationSerif-Regular.ttf
font 'Courier New' LiberationMono-Regular.ttf
font :lang=zh-cn NotoSansCJK-Regular.ttc
font :lang=ja NotoSansCJK-Regular.ttc
font :lang=ko NotoSansCJK-Regular.ttc
font :lang=und-zsye NotoColorEmoji.ttf
# An index that does not fit would be made anew there.
[ ! -e "$HOME/.cache" ] || fail "the index of fonts does not fit its directories"

# Emulated, Chromium does not run: its processes start themselves once more by
# /proc/self/exe, which is the emulator then.
if [ -e /proc/sys/kernel/arch ] && [ "$(cat /proc/sys/kernel/arch)" != "$(uname -m)" ]; then
	echo "smoke: Chromium NOT TRIED: this machine is no $(uname -m) and emulates one"
	exit 0
fi

said=/tmp/said
dom=$(chromium-headless-shell --headless --no-sandbox --no-zygote --disable-gpu --disable-dev-shm-usage \
	--disable-breakpad --disable-crash-reporter --user-data-dir=/tmp/data --timeout=60000 --dump-dom 'data:text/html;charset=utf-8,
<body><script>
const context = Object.assign(document.createElement("canvas"), { width: 40, height: 40 }).getContext("2d");
context.font = "20px sans-serif";
const drawn = (text) => {
	context.clearRect(0, 0, 40, 40);
	context.fillText(text, 5, 25);
	return Array.from(context.getImageData(0, 0, 40, 40).data);
};
const missing = String(drawn("\u{10ffff}"));
const has = (text) => String(drawn(text)) !== missing;
const colored = (pixels) => pixels.some((value, i) => i % 4 === 0 && value !== pixels[i + 1]);
const gl = document.createElement("canvas").getContext("webgl");
document.body.textContent = ["latin", has("g"), "han", has("\u6f22"), "kana", has("\u304b"), "hangul", has("\ud55c"),
	"emoji", colored(drawn("\u{1f600}")), "webgl", !!gl, new Intl.NumberFormat("de").format(1234.5)].join(" ");
</script>' 2>$said) || fail "Chromium does not run: $(cat $said)"
want='<body>latin true han true kana true hangul true emoji true webgl true 1.234,5</body>'
case $dom in
*"$want"*) ;;
*) fail "got $dom, want $want; it said: $(cat $said)" ;;
esac
[ ! -e "$HOME/.cache/fontconfig" ] || fail "Chromium has made an index of fonts"
chromium-headless-shell --version
