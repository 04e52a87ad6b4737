// Starts rendertron with its own defaults, on loopback, uncached, and with the
// Chromium of the comparison (puppeteer reads PUPPETEER_EXECUTABLE_PATH).
const { Rendertron } = require('rendertron/build/rendertron.js');
const { ConfigManager } = require('rendertron/build/config.js');

new Rendertron().initialize({
  ...ConfigManager.config,
  host: '127.0.0.1',
  port: process.env.PORT,
  puppeteerArgs: process.env.CHROMIUM_FLAGS.split(' '),
});
