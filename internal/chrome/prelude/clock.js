// The page's clock, and its timers.

// The virtual clock of a tab goes on from page to page. This page's begins now.
const now = Performance.prototype.now;
const clock = performance;
const ahead = now.call(clock);
const pageNow = () => now.call(clock) - ahead; // also when the page has replaced performance
const RealDate = Date;
const realNow = RealDate.now;
Performance.prototype.now = function () { return now.call(this) - ahead; };
const dateNow = () => Math.round(realNow() - ahead);
const PageDate = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [dateNow()] : args, newTarget),
  apply: () => new RealDate(dateNow()).toString(),
});
PageDate.now = dateNow;
RealDate.prototype.constructor = PageDate;
win.Date = PageDate;

// Formats that are not given a time take that of the clock.
const format = Object.getOwnPropertyDescriptor(Intl.DateTimeFormat.prototype, 'format').get;
const formatToParts = Intl.DateTimeFormat.prototype.formatToParts;
const formats = new WeakMap(); // each has one function
Object.defineProperty(Intl.DateTimeFormat.prototype, 'format', { configurable: true, enumerable: false, get() {
  let own = formats.get(this);
  if (!own) {
    const native = format.call(this);
    own = (date) => native(date === undefined ? dateNow() : date);
    formats.set(this, own);
  }
  return own;
} });
Intl.DateTimeFormat.prototype.formatToParts = function (date) {
  return formatToParts.call(this, date === undefined ? dateNow() : date);
};

// When timers fire that fire once, for settle. Short ones have fired by then.
const timers = new Map(); // ID → when it fires
const clearInterval = win.clearInterval.bind(win);
win.setTimeout = function setTimeout(callback, delay, ...args) {
  const id = later(callback, delay, ...args);
  if (delay > 1000 && delay < 2 ** 31) timers.set(id, pageNow() + Number(delay)); // more fires at once
  return id;
};
win.clearTimeout = function clearTimeout(id) { timers.delete(id); forget(id); };
win.clearInterval = function (id) { timers.delete(id); clearInterval(id); };
function nextTimer() {
  const now = pageNow();
  let next = Infinity;
  for (const [id, at] of timers) {
    if (at <= now) timers.delete(id);
    else next = Math.min(next, at - now);
  }
  return next === Infinity ? 0 : next;
}
