// What was before the page is another render's.

// The blank page before this one is nobody's history. And a page that is
// visited again where it was left would find its state.
if (win === win.top && history.state !== null) history.replaceState(null, '');
const before = history.length - 1;
const length = Object.getOwnPropertyDescriptor(History.prototype, 'length').get;
Object.defineProperty(History.prototype, 'length', { get() { return length.call(this) - before; }, configurable: true, enumerable: true });

// And the way back ends here.
if (win.navigation) {
  const property = (proto, name) => Object.getOwnPropertyDescriptor(proto, name);
  const current = property(Navigation.prototype, 'currentEntry').get;
  const index = property(NavigationHistoryEntry.prototype, 'index').get;
  const entries = Navigation.prototype.entries;
  const { back, go } = History.prototype;
  const { back: navigateBack, traverseTo } = Navigation.prototype;
  const place = () => { const e = current.call(navigation); return e ? index.call(e) : 0; };
  const first = place();
  Object.defineProperty(NavigationHistoryEntry.prototype, 'index', { configurable: true, enumerable: true, get() { return Math.max(-1, index.call(this) - first); } });
  const own = (nav) => entries.call(nav).filter((e) => index.call(e) >= first);
  const refused = () => {
    const committed = Promise.reject(new DOMException('There is nothing to go back to.', 'InvalidStateError'));
    committed.catch(() => {});
    return { committed, finished: committed };
  };
  History.prototype.back = { back() { if (place() > first) back.call(this); } }.back;
  History.prototype.go = { go(delta = 0) { if (place() + Number(delta) >= first) go.call(this, delta); } }.go;
  Navigation.prototype.back = { back(options) { return place() > first ? navigateBack.call(this, options) : refused(); } }.back;
  Navigation.prototype.traverseTo = { traverseTo(key, options) {
    return own(this).some((e) => e.key === key) ? traverseTo.call(this, key, options) : refused();
  } }.traverseTo;
  Navigation.prototype.entries = { entries() { return own(this); } }.entries;
  Object.defineProperty(Navigation.prototype, 'canGoBack', { configurable: true, enumerable: true, get() { return place() > first; } });
  if (win.NavigationActivation) Object.defineProperty(NavigationActivation.prototype, 'from', { configurable: true, enumerable: true, get() { return null; } });
}
