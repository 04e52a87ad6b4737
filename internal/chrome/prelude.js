// Runs in every frame before the page's own scripts, in the page's world.
//
// A render has no person who looks, scrolls and waits, and its clock jumps (see
// ready.go). What a page would get from real frames it gets from timers here,
// and everything it watches for comes into view.
(() => {
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

  // No frame is ever made (see openTab): what the page would get with frames it
  // gets from timers, 30 of which do not take half a second of real time, nor
  // those of an endless animation all of it.
  let frames = 0, frameTimer = 0, frameID = 0;
  let wanted = new Map(); // by the next frame: ID → callback
  let drawn = wanted; // by this one
  const { reportError } = win;
  function drawFrame() {
    frameTimer = 0;
    [drawn, wanted] = [wanted, new Map()];
    const now = pageNow();
    for (const callback of drawn.values()) {
      try { callback.call(win, now); } catch (e) { reportError.call(win, e); }
    }
  }
  win.requestAnimationFrame = function requestAnimationFrame(callback) {
    if (frameTimer === 0) frameTimer = later(drawFrame, frames++ < 120 ? 16 : 200);
    wanted.set(++frameID, callback);
    return frameID;
  };
  win.cancelAnimationFrame = function cancelAnimationFrame(id) { wanted.delete(id) || drawn.delete(id); };
  win.requestIdleCallback = function requestIdleCallback(callback) {
    return later(() => callback.call(win, { didTimeout: false, timeRemaining: () => 50 }), 1);
  };
  win.cancelIdleCallback = function cancelIdleCallback(id) { forget(id); };
  // Its callback is called in a frame. Browsers without it are common.
  delete Document.prototype.startViewTransition;
  delete Element.prototype.startViewTransition;

  // Transitions and animations end in frames. Who waits for an end gets it when
  // the clock says so. Looking at the styles 16 ms after a change, as a frame
  // does, is what makes the next one a transition. Some frameworks listen to all
  // events there are, so nothing is done while nothing changes.
  const add = EventTarget.prototype.addEventListener;
  const dispatch = EventTarget.prototype.dispatchEvent;
  const getAnimations = Document.prototype.getAnimations;
  const { AnimationEvent, TransitionEvent, AnimationPlaybackEvent, CSSTransition, CSSAnimation, MutationObserver } = win;
  const isAnimationEvent = /^(webkit)?(transition|animation)(start|run|end|iteration|cancel)$/i;
  const ends = new Map(); // animation → when it ends
  let looksAtStyles = false;
  let styleTimer = 0;
  let styleLooks = 400; // as many as frames in six seconds
  function followAnimations() {
    if (looksAtStyles) return;
    looksAtStyles = true;
    for (const type of ['transitionrun', 'transitionstart', 'transitionend', 'animationstart', 'animationend']) {
      add.call(win, type, (e) => { if (e.isTrusted) e.stopImmediatePropagation(); }, true); // it has had one
    }
    new MutationObserver(lookSoon).observe(document, { subtree: true, childList: true, attributes: true });
    lookSoon();
  }
  function lookSoon() {
    if (styleTimer === 0 && styleLooks-- > 0) styleTimer = later(lookAtStyles, 16);
  }
  function lookAtStyles() {
    styleTimer = 0;
    const now = pageNow();
    for (const a of getAnimations.call(document)) {
      if (ends.has(a) || !a.effect || a.playState !== 'running' || a.playbackRate === 0) continue;
      const { endTime } = a.effect.getComputedTiming();
      if (typeof endTime !== 'number') continue; // a part of the way that is scrolled
      ends.set(a, now + endTime);
      begin(a);
    }
    for (const [a, end] of ends) {
      if (end > now) continue;
      ends.delete(a);
      if (a.playState === 'running') finish(a);
    }
    if (ends.size > 0) lookSoon();
  }
  function begin(a) {
    const target = a.effect.target;
    const at = { bubbles: true, elapsedTime: 0 };
    if (a instanceof CSSAnimation) dispatch.call(target, new AnimationEvent('animationstart', { ...at, animationName: a.animationName }));
    else if (a instanceof CSSTransition) for (const type of ['transitionrun', 'transitionstart']) dispatch.call(target, new TransitionEvent(type, { ...at, propertyName: a.transitionProperty }));
  }
  function finish(a) {
    const target = a.effect.target;
    const elapsedTime = a.effect.getComputedTiming().activeDuration / 1000;
    a.finish();
    if (a instanceof CSSTransition) dispatch.call(target, new TransitionEvent('transitionend', { bubbles: true, cancelable: true, propertyName: a.transitionProperty, elapsedTime }));
    else if (a instanceof CSSAnimation) dispatch.call(target, new AnimationEvent('animationend', { bubbles: true, cancelable: true, animationName: a.animationName, elapsedTime }));
    else dispatch.call(a, new AnimationPlaybackEvent('finish', { currentTime: a.currentTime }));
  }
  // Who holds an animation may wait for its end without a listener.
  for (const [proto, name] of [[Element.prototype, 'animate'], [Element.prototype, 'getAnimations'], [Document.prototype, 'getAnimations'], [Animation.prototype, 'play']]) {
    const method = proto[name];
    proto[name] = { [name](...args) {
      followAnimations();
      lookSoon();
      return method.apply(this, args);
    } }[name];
  }
  for (const proto of [HTMLElement.prototype, SVGElement.prototype, Document.prototype, win]) {
    for (const name of ['ontransitionend', 'onanimationend']) {
      const property = Object.getOwnPropertyDescriptor(proto, name);
      if (!property || !property.set) continue;
      Object.defineProperty(proto, name, { ...property, set(f) { followAnimations(); property.set.call(this, f); } });
    }
  }

  let watches = false; // the page watches what settling may change

  // Everything that has a box intersects, wherever it is: a crawler reads the
  // whole page. Something hidden is looked at again for a while.
  const looksMost = 60; // 40 in four seconds, and then two a second
  let batches = 0; // endless lists load more whenever their end is seen
  const batchesMost = 100;
  let height = 0; // of the page, when something below was last seen
  let grown = 0; // how often it had grown by half a screen then
  const grownMost = 15; // pages of an endless list
  win.IntersectionObserver = class IntersectionObserver {
    #callback;
    #targets = new Map(); // element → how often it was looked at
    #timer = 0;
    constructor(callback, options) {
      options ||= {};
      if (typeof callback !== 'function') throw new TypeError("Failed to construct 'IntersectionObserver': parameter 1 is not a function.");
      this.#callback = callback;
      this.root = options.root || null;
      this.rootMargin = options.rootMargin || '0px 0px 0px 0px';
      this.thresholds = [].concat(options.threshold === undefined ? 0 : options.threshold);
    }
    observe(target) {
      if (!(target instanceof Element)) throw new TypeError("Failed to execute 'observe' on 'IntersectionObserver': parameter 1 is not of type 'Element'.");
      if (!this.#targets.has(target)) this.#targets.set(target, 0);
      this.#schedule(16);
    }
    unobserve(target) { this.#targets.delete(target); }
    disconnect() { this.#targets.clear(); }
    takeRecords() { return []; }
    #schedule(delay) {
      if (this.#timer === 0) this.#timer = later(() => { this.#timer = 0; this.#look(); }, delay);
    }
    #look() {
      const entries = [];
      let hidden = false, soon = false;
      for (const [target, looks] of this.#targets) {
        if (looks === Infinity) continue; // seen
        const shown = target.isConnected && target.getClientRects().length > 0;
        if (shown && batches < batchesMost && !isEndless(target)) {
          this.#targets.set(target, Infinity);
          entries.push(entry(target, true));
        } else if (looks < looksMost) {
          this.#targets.set(target, looks + 1);
          if (looks === 0) entries.push(entry(target, false));
          soon ||= looks < 40;
          hidden = true;
        }
      }
      if (entries.length > 0) {
        batches++;
        watches = true;
        this.#callback.call(this, entries, this);
      }
      if (hidden) this.#schedule(soon ? 100 : 500);
    }
  };
  // isEndless says whether an element at the page's end makes it longer again and again.
  function isEndless(target) {
    const { scrollHeight, scrollTop } = document.scrollingElement || document.documentElement;
    const screen = win.innerHeight;
    if (target.getBoundingClientRect().bottom + scrollTop < Math.max(screen, scrollHeight - screen)) return false;
    if (scrollHeight > height + screen / 2) {
      if (height > 0) grown++;
      height = scrollHeight;
    }
    return grown > grownMost;
  }
  function entry(target, isIntersecting) {
    const box = target.getBoundingClientRect();
    const e = {
      target, isIntersecting, isVisible: isIntersecting, time: pageNow(), intersectionRatio: isIntersecting ? 1 : 0,
      boundingClientRect: box, intersectionRect: isIntersecting ? box : new DOMRect(), rootBounds: new DOMRect(0, 0, win.innerWidth, win.innerHeight),
    };
    return Object.create(IntersectionObserverEntry.prototype, Object.getOwnPropertyDescriptors(e));
  }

  // Sizes are reported at first, and looked at for a while.
  win.ResizeObserver = class ResizeObserver {
    #callback;
    #targets = new Map(); // element → the size that was reported last
    #timer = 0;
    #looks = 0;
    constructor(callback) {
      if (typeof callback !== 'function') throw new TypeError("Failed to construct 'ResizeObserver': parameter 1 is not a function.");
      this.#callback = callback;
    }
    observe(target) {
      if (!(target instanceof Element)) throw new TypeError("Failed to execute 'observe' on 'ResizeObserver': parameter 1 is not of type 'Element'.");
      watches = true;
      this.#targets.set(target, '0 0');
      this.#schedule(16);
    }
    unobserve(target) { this.#targets.delete(target); }
    disconnect() { this.#targets.clear(); }
    #schedule(delay) {
      if (this.#timer === 0) this.#timer = later(() => { this.#timer = 0; this.#look(); }, delay);
    }
    #look() {
      const entries = [];
      for (const [target, last] of this.#targets) {
        const e = sizes(target);
        const size = e.contentRect.width + ' ' + e.contentRect.height;
        if (size === last) continue;
        this.#targets.set(target, size);
        entries.push(e);
      }
      if (entries.length > 0) this.#callback.call(this, entries, this);
      if (this.#targets.size > 0 && this.#looks++ < looksMost) this.#schedule(100);
    }
  };
  function sizes(target) {
    const box = target.getBoundingClientRect();
    const style = win.getComputedStyle(target);
    const px = (name) => parseFloat(style[name]) || 0;
    const left = px('paddingLeft'), top = px('paddingTop');
    const width = Math.max(0, box.width - left - px('paddingRight') - px('borderLeftWidth') - px('borderRightWidth'));
    const height = Math.max(0, box.height - top - px('paddingBottom') - px('borderTopWidth') - px('borderBottomWidth'));
    const vertical = style.writingMode.startsWith('vertical');
    const size = (w, h) => [{ inlineSize: vertical ? h : w, blockSize: vertical ? w : h }];
    const scale = win.devicePixelRatio;
    return {
      target, contentRect: new DOMRectReadOnly(left, top, width, height), borderBoxSize: size(box.width, box.height),
      contentBoxSize: size(width, height), devicePixelContentBoxSize: size(width * scale, height * scale),
    };
  }

  // Closed shadow roots are open, so that their content can be read.
  const attachShadow = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (init) {
    return attachShadow.call(this, init && init.mode === 'closed' ? { ...init, mode: 'open' } : init);
  };

  // What the page reacts to beside time, for settle.
  let listensToScroll = false;
  const scrollers = new Set(); // elements that hear their own scrolling
  let wantsLastWord = false; // it may write something down when it is left
  const hearsItself = (e) => e !== document.documentElement && e !== document.body; // those hear the window's
  const onScroll = Object.getOwnPropertyDescriptor(HTMLElement.prototype, 'onscroll');
  Object.defineProperty(HTMLElement.prototype, 'onscroll', { ...onScroll, set(f) { onScroll.set.call(this, f); if (f && hearsItself(this)) scrollers.add(this); } });
  const lastMoments = new Set(['unload', 'beforeunload', 'pagehide', 'visibilitychange', 'freeze']);
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (type === 'scroll') {
      const [, options] = rest;
      if (this === win || this == null || this === document || !hearsItself(this)) listensToScroll = true;
      else if (this instanceof Element && !(options === true || options && options.capture)) scrollers.add(this); // React's root captures
    }
    if (lastMoments.has(type)) wantsLastWord = true;
    else if (isAnimationEvent.test(type)) followAnimations();
    return add.call(this, type, ...rest);
  };
  if (win !== win.top) return;

  const then = Promise.prototype.then;

  // What stays behind when the page is left. Looking into the storages costs a
  // millisecond, which is saved when the page has not touched them.
  let touchesStorage = false;
  const watchAccess = (object, name, access) => {
    const property = Object.getOwnPropertyDescriptor(object, name);
    Object.defineProperty(object, name, { ...property, [access](...args) {
      touchesStorage = true;
      return property[access].apply(this, args);
    } });
  };
  watchAccess(win, 'localStorage', 'get');
  watchAccess(win, 'sessionStorage', 'get');
  watchAccess(win, 'name', 'set');
  watchAccess(Document.prototype, 'cookie', 'set');

  // Bodies that are being read. One that no script reads never ends.
  let reads = 0;
  let readsStreams = false;
  for (const name of ['arrayBuffer', 'blob', 'bytes', 'formData', 'json', 'text']) {
    const method = Response.prototype[name];
    if (!method) continue;
    Response.prototype[name] = { [name](...args) {
      const read = method.apply(this, args);
      const done = () => { reads--; };
      reads++;
      then.call(read, done, done);
      return read;
    } }[name];
  }
  const body = Object.getOwnPropertyDescriptor(Response.prototype, 'body');
  const address = Object.getOwnPropertyDescriptor(Response.prototype, 'url').get;
  Object.defineProperty(Response.prototype, 'body', { ...body, get() {
    if (address.call(this) !== '') readsStreams = true; // of an answer, and not of what a script has made
    return body.get.call(this);
  } });

  // Work that the virtual clock does not wait for: storage, workers, and what is
  // computed elsewhere. Each piece of it owes an answer until it is done.
  let background = false;
  const owed = new Set();
  const RealPromise = Promise, RealRequest = IDBRequest;
  const heard = new WeakSet(); // once each, before the page's own listeners: a cursor's request succeeds many times
  const owe = (debt) => {
    background = true;
    owed.add(debt);
    if (heard.has(debt)) return;
    heard.add(debt);
    const paid = () => owed.delete(debt);
    if (debt instanceof RealPromise) then.call(debt, paid, paid);
    else for (const type of ['success', 'error', 'blocked', 'loadend']) add.call(debt, type, paid);
  };
  const watchMethods = (object) => {
    for (const [name, property] of object ? Object.entries(Object.getOwnPropertyDescriptors(object)) : []) {
      const method = property.value;
      if (typeof method !== 'function' || name === 'constructor') continue;
      object[name] = function (...args) {
        const result = method.apply(this, args);
        if (result instanceof RealPromise || result instanceof RealRequest) owe(result);
        return result;
      };
    }
  };
  const storage = ['IDBFactory', 'IDBObjectStore', 'IDBIndex', 'CacheStorage', 'Cache', 'StorageManager',
    'FileSystemDirectoryHandle', 'FileSystemFileHandle', 'SubtleCrypto', 'Blob', 'CookieStore', 'Permissions', 'NavigatorUAData'];
  for (const name of storage) watchMethods(win[name] && win[name].prototype);
  watchMethods(win.WebAssembly);
  for (const name of ['continue', 'advance', 'continuePrimaryKey']) {
    const method = IDBCursor.prototype[name];
    IDBCursor.prototype[name] = { [name](...args) { method.apply(this, args); owe(this.request); } }[name];
  }
  for (const name of ['readAsArrayBuffer', 'readAsBinaryString', 'readAsDataURL', 'readAsText']) {
    const method = FileReader.prototype[name];
    FileReader.prototype[name] = { [name](...args) { method.apply(this, args); owe(this); } }[name];
  }
  const makeBitmap = win.createImageBitmap;
  win.createImageBitmap = function createImageBitmap(...args) {
    const bitmap = makeBitmap.apply(win, args);
    owe(bitmap);
    return bitmap;
  };
  const asked = new Map(); // what was made or sent something → { owes: how many answers, answered: whether it has given one }
  // A lock may be held for ever; what is waited for is that the page gets it.
  if (win.LockManager) {
    const request = LockManager.prototype.request;
    LockManager.prototype.request = function (...args) {
      const callback = args.at(-1);
      if (typeof callback === 'function') {
        const wait = {};
        const gone = () => { asked.delete(wait); };
        background = true;
        asked.set(wait, { owes: 1, answered: false });
        args[args.length - 1] = function (lock) {
          gone();
          return callback.call(this, lock);
        };
        const result = request.apply(this, args);
        then.call(result, gone, gone); // it is refused, or taken back
        return result;
      }
      return request.apply(this, args);
    };
  }
  let hasWorkers = false;
  const watchWorker = (name) => {
    const RealWorker = win[name];
    if (!RealWorker) return;
    win[name] = class extends RealWorker {
      constructor(...args) {
        super(...args);
        const port = this.port || this;
        background = hasWorkers = true;
        const debt = { owes: 1, answered: false };
        asked.set(port, debt);
        let isNew = true; // it owes one answer for being made and for the first message
        // Answers are heard before the page's own listeners hear them.
        add.call(port, 'message', () => { debt.owes = Math.max(0, debt.owes - 1); debt.answered = true; });
        add.call(this, 'error', () => { debt.owes = 0; });
        const post = port.postMessage;
        port.postMessage = function (...message) {
          post.apply(port, message);
          debt.owes = isNew ? 1 : debt.owes + 1;
          isNew = false;
        };
        const terminate = this.terminate;
        if (terminate) this.terminate = function () { debt.owes = 0; terminate.call(this); };
      }
    };
    Object.defineProperty(win[name], 'name', { value: name });
  };
  watchWorker('Worker');
  watchWorker('SharedWorker');

  function debtors(answered) {
    let n = 0;
    for (const debt of asked.values()) if (debt.owes > 0 && debt.answered === answered) n++;
    return n;
  }

  const all = document.getElementsByTagName('*');
  const textContent = Object.getOwnPropertyDescriptor(Node.prototype, 'textContent').get;
  const NewEvent = win.Event;
  const scrollElement = Element.prototype.scrollTo;
  const isConnected = Object.getOwnPropertyDescriptor(Node.prototype, 'isConnected').get;

  // walk scrolls what is listened to as a person does, screen by screen and back, so slowly
  // that handlers which wait a moment see each screen. What has grown since is walked on. It
  // returns how many milliseconds that takes of the page's time, 0 if there is nothing to do.
  const pace = 150, screensMost = 40;
  const walked = new WeakMap(); // element → how far, down and across
  let walkEnd = 0;
  function walk() {
    if (walkEnd > pageNow()) return Math.ceil(walkEnd - pageNow());
    const ways = [];
    const root = document.scrollingElement || document.documentElement;
    if (listensToScroll || win.onscroll || document.onscroll) ways.push(wayThrough(root, 'top', 'scrollTop', 'scrollHeight', 'clientHeight'));
    for (const e of scrollers) {
      if (!isConnected.call(e) || e === root) continue;
      ways.push(wayThrough(e, 'top', 'scrollTop', 'scrollHeight', 'clientHeight'), wayThrough(e, 'left', 'scrollLeft', 'scrollWidth', 'clientWidth'));
    }
    const ticks = Math.max(0, ...ways.map((way) => way.places.length));
    if (ticks === 0) return 0;
    watches = true;
    for (let i = 0; i < ticks; i++) later(() => { for (const way of ways) if (i < way.places.length) way.to(way.places[i]); }, (i + 1) * pace);
    later(() => { for (const way of ways) if (way.places.length > 0) way.to(way.start); }, (ticks + 1) * pace);
    walkEnd = pageNow() + (ticks + 3) * pace;
    return Math.ceil(walkEnd - pageNow());
  }

  function wayThrough(e, axis, at, size, screen) {
    const done = walked.get(e) || { top: 0, left: 0 };
    const isPage = e === (document.scrollingElement || document.documentElement);
    const step = (isPage ? win.innerHeight : e[screen]) || 900;
    const far = Math.min(e[size], screensMost * step);
    const way = { start: e[at], places: [], to(place) {
      scrollElement.call(e, { [axis]: place, behavior: 'instant' });
      dispatch.call(isPage ? document : e, new NewEvent('scroll', { bubbles: isPage }));
    } };
    // A page of one screen is scrolled, too: many handlers do their first work then.
    if (far > Math.max(done[axis], isPage ? 0 : step)) {
      for (let place = done[axis] || step; place < far || isPage && place < far + step; place += step) way.places.push(place);
      done[axis] = far;
      walked.set(e, done);
    }
    return way;
  }

  // Pages that watch are asked whether anything has changed, and not only how many elements
  // there are: what comes into view fades in, and counts up. After some looks, what still
  // moves will always.
  const restlessMost = 5;
  let changes = 0, restless = 0;
  let observer = null;
  function countChanges() {
    if (observer === null) {
      observer = new MutationObserver((records) => { changes += records.length; });
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    } else if (restless++ === restlessMost) {
      observer.disconnect();
    }
  }

  // settle is called by the renderer between grants of virtual time. It looks at
  // the page as a reader does, from top to end, and says how it is:
  //   state     a number that is another when something has changed
  //   walk      how many milliseconds it will be scrolled for
  //   held      the page asks to wait, by prerenderReady
  //   workers   it has had any, whose requests nobody sees
  //   background  it has used what works beside the clock; text is how long its
  //             text is then, and owed how much of that work is not done
  //   traces    it may have stored something, or will when it is left
  //   watches   it reacts to more than time, so that settling may have moved it
  //   timer     in how many milliseconds the next of its timers fires that fire once
  Object.defineProperty(win, '__stillpage', { value: Object.freeze({
    // reading says whether a script reads a body.
    reading() { return readsStreams || reads + owed.size > 0; },
    settle() {
      const walks = walk();
      if (watches) countChanges();
      return {
        state: changes * 2 ** 20 + all.length, held: win.prerenderReady === false, watches, walk: walks,
        traces: touchesStorage || wantsLastWord ||
          !!(win.onunload || win.onbeforeunload || win.onpagehide || document.onvisibilitychange),
        workers: hasWorkers, background, text: background ? textContent.call(document.documentElement).length : 0, owed: owed.size, asked: debtors(false), more: debtors(true), timer: nextTimer(),
      };
    },
  }) });
})();
