// How the renderer looks at the page, see ready.go.

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
  if (listensToScroll || win.onscroll || document.onscroll) ways.push(wayThrough(root, true, 'top', 'scrollTop', 'scrollHeight', 'clientHeight'));
  for (const e of scrollers) {
    if (!isConnected.call(e) || e === root) continue;
    ways.push(wayThrough(e, false, 'top', 'scrollTop', 'scrollHeight', 'clientHeight'), wayThrough(e, false, 'left', 'scrollLeft', 'scrollWidth', 'clientWidth'));
  }
  const ticks = Math.max(0, ...ways.map((way) => way.places.length));
  if (ticks === 0) return 0;
  watches = true;
  for (let i = 0; i < ticks; i++) later(() => { for (const way of ways) if (i < way.places.length) way.to(way.places[i]); }, (i + 1) * pace);
  later(() => { for (const way of ways) if (way.places.length > 0) way.to(way.start); }, (ticks + 1) * pace);
  walkEnd = pageNow() + (ticks + 3) * pace;
  return Math.ceil(walkEnd - pageNow());
}

function wayThrough(e, isPage, axis, at, size, screen) {
  const done = walked.get(e) || { top: 0, left: 0 };
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
