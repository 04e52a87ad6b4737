// Runs in every frame before the page's own scripts.
//
// Service workers would outlive the page and answer for the next one. To a page
// this looks like a browser without them, which every site that uses them has
// to expect (they are missing in private windows and on plain HTTP).
delete Navigator.prototype.serviceWorker;

// Windows that a page opens by itself are blocked for people too.
window.open = function open() { return null; };
