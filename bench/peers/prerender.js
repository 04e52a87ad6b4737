// Starts prerender as its own server.js does, on loopback and with the Chromium
// of the comparison.
const prerender = require('prerender');

const server = prerender({
  host: '127.0.0.1',
  port: Number(process.env.PORT),
  chromeLocation: process.env.CHROMIUM,
  browserDebuggingPort: Number(process.env.DEBUGGING_PORT),
  extraChromeFlags: process.env.CHROMIUM_FLAGS.split(' '),
});
server.use(prerender.sendPrerenderHeader());
server.use(prerender.browserForceRestart());
server.use(prerender.addMetaTags());
server.use(prerender.removeScriptTags());
server.use(prerender.httpHeaders());
server.start();
