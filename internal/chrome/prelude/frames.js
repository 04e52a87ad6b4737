// What happens in frames: callbacks, transitions and animations.

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
