// What the page watches: what comes into view, sizes, scrolling, its own end.

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
