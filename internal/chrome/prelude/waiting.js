// What is worth waiting for beside time and requests. The rest is the main frame's alone.

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
// Those return nothing, and tell by an event.
const oweAfter = (proto, debtOf, names) => {
  for (const name of names) {
    const method = proto[name];
    proto[name] = { [name](...args) { method.apply(this, args); owe(debtOf(this)); } }[name];
  }
};
oweAfter(IDBCursor.prototype, (cursor) => cursor.request, ['continue', 'advance', 'continuePrimaryKey']);
oweAfter(FileReader.prototype, (reader) => reader, ['readAsArrayBuffer', 'readAsBinaryString', 'readAsDataURL', 'readAsText']);
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
