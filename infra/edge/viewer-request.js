// Stillpage's edge: a CloudFront Function (cloudfront-js-2.0, viewer-request).
//
// Bots that ask for a page go to the origin "stillpage-router", and when that
// fails, to the app like everybody and everything else. CloudFront runs this
// before it looks into its cache, and the chosen origin is not part of the
// cache key: the variant header is, so it is always written here and the
// viewer's own is never trusted.
//
// The lists are written by `make generate` from package useragent.
import cf from 'cloudfront';

// BEGIN GENERATED
const BOTS = /google-inspectiontool|storebot-google|googleother|adsbot-google|mediapartners-google|googlebot|developers\.google\.com\/\+\/web\/snippet|bingpreview|adidxbot|bingbot|yahoo! slurp|baiduspider|yandexbot|yandexmobilebot|yandexrenderresourcesbot|yandexwebmaster|yandexaccessibilitybot|duckassistbot|duckduckbot|applebot|sogou web spider|sogou inst spider|yeti\/|daumoa|seznambot|coccocbot|petalbot|qwantbot|mojeekbot|oai-searchbot|claude-searchbot|youbot|kagibot|chatgpt-user|claude-user|perplexity|mistralai-user|meta-externalfetcher|google-agent|google-notebooklm|google-read-aloud|gemini-deep-research|cohere-ai|gptbot|claudebot|anthropic-ai|meta-externalagent|google-cloudvertexbot|amazonbot|bytespider|ccbot|cohere-training-data-crawler|diffbot|ai2bot|pangubot|tiktokspider|timpibot|facebookexternalhit|facebot|twitterbot|linkedinbot|slackbot|slack-imgproxy|whatsapp\/|telegrambot|discordbot|redditbot|pinterestbot|pinterest\/0\.|skypeuripreview|microsoftpreview|vkshare|viber url downloader|linespider|kakaotalk-scrap|mastodon\/|bluesky cardyb|snap url preview|tumblr\/14\.|flipboardproxy|nuzzel|bitlybot|embedly|iframely|quora link preview|outbrain|xing-contenttabreceiver|ahrefsbot|ahrefssiteaudit|semrushbot|siteauditbot|rogerbot|dotbot|mj12bot|screaming frog|sitebulb|sistrix|dataforseobot|serankingbacklinksbot|oncrawl|botify|deepcrawl|chrome-lighthouse|archive\.org_bot|ia_archiver|heritrix|arquivo-web-crawler|still-warm\/|still-probe\/|still-load\/|w3c_validator|uptimerobot|pingdom|statuscake/;
const OWN = /stillpage|prerender/;
const MOBILE = /mobile|android|iphone/;
const ASSETS = /\.(?:js|mjs|cjs|map|css|xml|json|less|png|jpg|jpeg|gif|pdf|doc|docx|txt|ico|rss|atom|zip|gz|tar|7z|mp3|rar|exe|wmv|avi|ppt|pptx|mpg|mpeg|tif|tiff|wav|ogg|mov|psd|ai|xls|xlsx|csv|mp4|webm|m4a|m4v|swf|dat|dmg|iso|apk|flv|torrent|ttf|woff|woff2|otf|eot|svg|webp|avif|webmanifest|wasm|md)$/i;
// END GENERATED

// The app's origin in the distribution; infra/edge.yaml has a parameter here.
const APP_ORIGIN = 'stillpage-app';

function handler(event) {
  const request = event.request;
  const headers = request.headers;
  const agent = value(headers['user-agent']).toLowerCase();

  delete headers['x-stillpage-host'];
  delete headers['x-stillpage-client'];
  headers['x-stillpage-variant'] = { value: 'app' };
  if (!wantsPage(request, agent)) {
    return request;
  }

  // The router's function URL needs its own Host, so the viewer's travels here.
  headers['x-stillpage-host'] = { value: value(headers['host']) };
  headers['x-stillpage-client'] = { value: event.viewer.ip };
  headers['x-stillpage-variant'] = { value: MOBILE.test(agent) ? 'bot-mobile' : 'bot-desktop' };
  cf.createRequestOriginGroup({
    originIds: [{ originId: 'stillpage-router' }, { originId: APP_ORIGIN }],
    failoverCriteria: { statusCodes: [403, 500, 502, 504] }, // 503 is for the bot: come back
  });
  return request;
}

// The long list last: most requests are for assets.
function wantsPage(request, agent) {
  return (request.method === 'GET' || request.method === 'HEAD') &&
    !isOwnBrowser(request, agent) &&
    !ASSETS.test(request.uri) &&
    BOTS.test(agent);
}

// A renderer loads the page that a bot asked for. Were it taken for a bot, it
// would be sent to the router, and round again without end.
function isOwnBrowser(request, agent) {
  return OWN.test(agent) ||
    request.headers['x-prerender'] !== undefined ||
    (request.cookies !== undefined && request.cookies['from_prerender'] !== undefined);
}

function value(field) {
  return field === undefined ? '' : field.value;
}
