// What a page may not do, or would do once more with every render.

// For all parts.
const win = window;
const later = win.setTimeout.bind(win);
const forget = win.clearTimeout.bind(win);

// Service workers would outlive the page and answer for the next one. To a
// page this looks like a browser without them, which every site that uses them
// has to expect (they are missing in private windows and on plain HTTP).
delete Navigator.prototype.serviceWorker;

// Windows that a page opens by itself are blocked for people too.
win.open = function open() { return null; };
win.print = function print() {};
win.close = function close() {};

// What is sent when a page goes would be sent with every render, and hold the next
// page's clock until it is answered.
Navigator.prototype.sendBeacon = function sendBeacon() { return true; };

// What a tab has fetched for one page is not what the origin says now. Scripts, styles
// and images may be reused; what scripts read may not. (XMLHttpRequest: see load.cached.)
const { fetch: realFetch, Request: FetchRequest } = win;
win.fetch = function fetch(input, init = undefined) {
  if (arguments.length === 0) return realFetch.call(win);
  try {
    if (init instanceof FetchRequest) {
      input = new FetchRequest(input, init);
      init = undefined;
    }
    const options = { cache: 'no-store', keepalive: false };
    // A request that is given any option forgets where it comes from.
    if (input instanceof FetchRequest && init === undefined) Object.assign(options, { referrer: input.referrer, referrerPolicy: input.referrerPolicy });
    return realFetch.call(win, input, Object.setPrototypeOf(options, Object(init)));
  } catch (e) {
    return Promise.reject(e);
  }
};
// Those who measure it first ask whether it is the browser's own, in a frame if it is not.
Object.defineProperty(win.fetch, 'toString', { value: () => 'function fetch() { [native code] }' });

// Frames of others have their session storage under keys of their own, which nothing
// outside can clear when they are gone.
if (win !== win.top && !win.frameElement && performance.getEntriesByType('navigation')[0]?.type !== 'reload') {
  try { win.sessionStorage.clear(); } catch { /* it has none */ }
}

// A form that a script sends would be sent with every render.
const refuse = Event.prototype.preventDefault;
if (win.navigation) navigation.addEventListener('navigate', (e) => { if (e.formData) refuse.call(e); });

// Nobody says yes, and the answer does not take real time.
const denied = { code: 1, message: 'User denied Geolocation', PERMISSION_DENIED: 1, POSITION_UNAVAILABLE: 2, TIMEOUT: 3 };
if (win.Geolocation) {
  Geolocation.prototype.getCurrentPosition = function getCurrentPosition(_, refuse) { if (refuse) later(() => refuse(denied), 0); };
  Geolocation.prototype.watchPosition = function watchPosition(_, refuse) { if (refuse) later(() => refuse(denied), 0); return 1; };
}
