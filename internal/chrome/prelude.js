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

  // The virtual clock of a tab goes on from page to page. This page's begins now.
  const now = Performance.prototype.now;
  const ahead = now.call(performance);
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

  // The blank page before this one is nobody's history.
  const before = history.length - 1;
  const length = Object.getOwnPropertyDescriptor(History.prototype, 'length').get;
  Object.defineProperty(History.prototype, 'length', { get() { return length.call(this) - before; }, configurable: true, enumerable: true });

  // Animation frames as timers: 30 frames must not take half a second of real
  // time, nor the frames of an endless animation all of it.
  const realFrame = win.requestAnimationFrame.bind(win);
  let frames = 0;
  win.requestAnimationFrame = function requestAnimationFrame(callback) {
    return later(() => callback.call(win, performance.now()), frames++ < 120 ? 16 : 200);
  };
  win.cancelAnimationFrame = function cancelAnimationFrame(id) { forget(id); };
  win.requestIdleCallback = function requestIdleCallback(callback) {
    return later(() => callback.call(win, { didTimeout: false, timeRemaining: () => 50 }), 1);
  };
  win.cancelIdleCallback = function cancelIdleCallback(id) { forget(id); };

  // Everything that has a box intersects, wherever it is: a crawler reads the
  // whole page. Something hidden is looked at again for a while.
  const looksMost = 40;
  let batches = 0; // endless lists load more whenever their end is seen
  const batchesMost = 100;
  win.IntersectionObserver = class IntersectionObserver {
    #callback;
    #targets = new Map(); // element → how often it was looked at
    #timer = 0;
    constructor(callback, options = {}) {
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
      let hidden = false;
      for (const [target, looks] of this.#targets) {
        if (looks === Infinity) continue; // seen
        const shown = target.isConnected && target.getClientRects().length > 0;
        if (shown && batches < batchesMost) {
          this.#targets.set(target, Infinity);
          entries.push(entry(target, true));
        } else if (looks < looksMost) {
          this.#targets.set(target, looks + 1);
          if (looks === 0) entries.push(entry(target, false));
          hidden = true;
        }
      }
      if (entries.length > 0) {
        batches++;
        this.#callback.call(this, entries, this);
      }
      if (hidden) this.#schedule(100);
    }
  };
  function entry(target, isIntersecting) {
    const box = target.getBoundingClientRect();
    const e = {
      target, isIntersecting, isVisible: isIntersecting, time: performance.now(), intersectionRatio: isIntersecting ? 1 : 0,
      boundingClientRect: box, intersectionRect: isIntersecting ? box : new DOMRect(), rootBounds: new DOMRect(0, 0, win.innerWidth, win.innerHeight),
    };
    return Object.setPrototypeOf(e, null) && e;
  }

  // Closed shadow roots are open, so that their content can be read.
  const attachShadow = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (init) {
    return attachShadow.call(this, init && init.mode === 'closed' ? { ...init, mode: 'open' } : init);
  };

  if (win !== win.top) return;

  // What the page reacts to beside time, for settle.
  let listensToScroll = false;
  let wantsLastWord = false; // it may write something down when it is left
  const lastMoments = new Set(['unload', 'beforeunload', 'pagehide', 'visibilitychange', 'freeze']);
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (type === 'scroll') listensToScroll = true;
    if (lastMoments.has(type)) wantsLastWord = true;
    return add.call(this, type, ...rest);
  };
  let needsFrames = false;
  const RealResizeObserver = win.ResizeObserver;
  win.ResizeObserver = class ResizeObserver extends RealResizeObserver {
    observe(...args) { needsFrames = true; return super.observe(...args); }
  };

  // Work that the virtual clock does not wait for: storage, workers, and what is
  // computed elsewhere. Each piece of it owes an answer until it is done.
  let background = false;
  const owed = new Set();
  const owe = (debt) => {
    background = true;
    owed.add(debt);
    const paid = () => owed.delete(debt);
    if (debt instanceof Promise) then.call(debt, paid, paid);
    else for (const type of ['success', 'error', 'blocked']) add.call(debt, type, paid);
  };
  const then = Promise.prototype.then;
  const watchMethods = (object) => {
    for (const [name, property] of object ? Object.entries(Object.getOwnPropertyDescriptors(object)) : []) {
      const method = property.value;
      if (typeof method !== 'function' || name === 'constructor') continue;
      object[name] = function (...args) {
        const result = method.apply(this, args);
        if (result instanceof Promise || result instanceof IDBRequest) owe(result);
        return result;
      };
    }
  };
  const storage = ['IDBFactory', 'IDBObjectStore', 'IDBIndex', 'CacheStorage', 'Cache', 'StorageManager',
    'FileSystemDirectoryHandle', 'FileSystemFileHandle', 'SubtleCrypto', 'Blob', 'CookieStore'];
  for (const name of storage) watchMethods(win[name] && win[name].prototype);
  watchMethods(win.WebAssembly);
  const asked = new Set(); // workers that were made or sent something, and have not answered
  const watchWorker = (name) => {
    const RealWorker = win[name];
    if (!RealWorker) return;
    win[name] = class extends RealWorker {
      constructor(...args) {
        super(...args);
        const port = this.port || this;
        background = true;
        asked.add(port);
        // Answers are heard before the page's own listeners hear them.
        add.call(port, 'message', () => asked.delete(port));
        add.call(this, 'error', () => asked.delete(port));
        const post = port.postMessage;
        port.postMessage = function (...message) { asked.add(port); return post.apply(port, message); };
      }
    };
    Object.defineProperty(win[name], 'name', { value: name });
  };
  watchWorker('Worker');
  watchWorker('SharedWorker');

  const all = document.getElementsByTagName('*');
  const textContent = Object.getOwnPropertyDescriptor(Node.prototype, 'textContent').get;
  const dispatch = EventTarget.prototype.dispatchEvent;
  const NewEvent = win.Event;
  const scrollTo = win.scrollTo.bind(win);

  // settle is called by the renderer between grants of virtual time. It looks at
  // the page as a reader does, from top to end, and says how it is:
  //   elements  how many there are
  //   held      the page asks to wait, by prerenderReady
  //   frames    it watches sizes, which only real frames report
  //   background  it has used what works beside the clock; text is how long its
  //             text is then, and owed how much of that work is not done
  //   lastWord  it wants to know when it is left
  //   watches   it reacts to more than time, so that settling may have moved it
  Object.defineProperty(win, '__stillpage', { value: Object.freeze({
    settle() {
      if (listensToScroll || win.onscroll || document.onscroll) {
        const root = document.scrollingElement || document.documentElement;
        const step = win.innerHeight || 900;
        const screens = Math.min(40, Math.ceil(root.scrollHeight / step));
        for (let i = 1; i <= screens; i++) {
          scrollTo(0, i * step);
          dispatch.call(document, new NewEvent('scroll', { bubbles: true }));
        }
        scrollTo(0, 0);
        dispatch.call(document, new NewEvent('scroll', { bubbles: true }));
      }
      const watches = needsFrames || batches > 0 || listensToScroll || !!win.onscroll || !!document.onscroll;
      return {
        elements: all.length, held: win.prerenderReady === false, frames: needsFrames, watches,
        lastWord: wantsLastWord || !!(win.onunload || win.onbeforeunload || win.onpagehide || document.onvisibilitychange),
        background, text: background ? textContent.call(document.documentElement).length : 0, owed: owed.size, asked: asked.size,
      };
    },
    // frames resolves after two real frames.
    frames: () => new Promise((resolve) => realFrame(() => realFrame(resolve))),
  }) });
})();
