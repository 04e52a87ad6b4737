// Writes the document as HTML that needs no script, and reads what the page
// says of itself. Evaluated in an isolated world, where the page's changes to
// JSON, Array and the DOM's prototypes do not exist. Elements can still shadow
// properties by name (<input name="attributes"> in a form), so every property of
// a node is read through its prototype's getter.
//
// A function of { declarative }: whether shadow roots are written as such. It
// returns
//   { html, title, status, softStatus, headers: [[name, value], …], content: { text, links, images, data, canonical } }
// where content is what prerender.Content says, status is the page's wish or 0; softStatus counts only if the origin has
// answered 200.
(({ declarative }) => {
  const getter = (proto, name) => {
    const get = Object.getOwnPropertyDescriptor(proto, name).get;
    return (node) => get.call(node);
  };
  const characterSet = getter(Document.prototype, 'characterSet');
  const nodeType = getter(Node.prototype, 'nodeType');
  const firstChild = getter(Node.prototype, 'firstChild');
  const nextSibling = getter(Node.prototype, 'nextSibling');
  const textContent = getter(Node.prototype, 'textContent');
  const data = getter(CharacterData.prototype, 'data');
  const localName = getter(Element.prototype, 'localName');
  const tagName = getter(Element.prototype, 'tagName');
  const namespaceURI = getter(Element.prototype, 'namespaceURI');
  const attributes = getter(Element.prototype, 'attributes');
  const getAttribute = (e, name) => Element.prototype.getAttribute.call(e, name);
  const shadowRoot = getter(Element.prototype, 'shadowRoot');
  const getRootNode = (node) => Node.prototype.getRootNode.call(node);
  const inShadow = (node) => getRootNode(node) instanceof ShadowRoot;
  const assignedNodes = (slot) => HTMLSlotElement.prototype.assignedNodes.call(slot);
  const queryIn = (root, selector) => DocumentFragment.prototype.querySelectorAll.call(root, selector);
  const queryAll = (selector) => Document.prototype.querySelectorAll.call(document, selector);

  const isSelected = getter(HTMLOptionElement.prototype, 'selected');
  const optionIndex = getter(HTMLOptionElement.prototype, 'index');
  const isChecked = getter(HTMLInputElement.prototype, 'checked');
  const inputType = getter(HTMLInputElement.prototype, 'type');
  const inputValue = getter(HTMLInputElement.prototype, 'value');
  const areaValue = getter(HTMLTextAreaElement.prototype, 'value');

  const HTML = 'http://www.w3.org/1999/xhtml';
  const VOID = new Set(['area', 'base', 'basefont', 'bgsound', 'br', 'col', 'embed', 'frame', 'hr', 'img', 'input',
    'keygen', 'link', 'meta', 'param', 'source', 'track', 'wbr']);
  // Their text is written as it is (HTML, "serializing HTML fragments").
  const RAW = new Set(['style', 'script', 'xmp', 'iframe', 'noembed', 'noframes', 'plaintext']);
  const UNREAD = new Set(['head', 'template', 'select', 'textarea']);
  const URL_ATTRIBUTES = new Set(['href', 'src', 'action', 'formaction', 'xlink:href', 'data']);

  // What the parser lets stand in a head; at anything else, the body begins.
  const METADATA = new Set(['base', 'basefont', 'bgsound', 'link', 'meta', 'noframes', 'noscript', 'script', 'style', 'template', 'title']);

  const escapeText = (s) => s.replace(/[&<>\u00a0]/g, (c) =>
    c === '&' ? '&amp;' : c === '<' ? '&lt;' : c === '>' ? '&gt;' : '&nbsp;');
  const escapeAttribute = (s) => escapeText(s).replace(/"/g, '&quot;');

  const out = [];
  const numberOf = new Map(); // shadow root → its styles' number, 0 without
  const numberOfStyles = new Map(); // text → number
  const slottedIn = new Map(); // element → number of the tree whose slot shows it
  const shadowStyles = [];
  const content = { text: 0, links: 0, images: 0, data: 0, canonical: '' };
  let unread = 0; // elements around the node whose text nobody reads
  let stylesAt = -1; // in out: before the document's own styles, which win over :host and ::slotted
  let hasShadow = false;
  const strays = []; // of the head, for the body if there is one
  const bodies = queryAll('html > head + body');
  const strayTo = bodies.length === 1 && !shadowRoot(bodies[0]) && queryAll('head').length === 1;

  // Nodes to be written next, the last first. A string is written as it is.
  // There is no recursion: scripts build trees deeper than a stack.
  const END_OF_HEAD = {}, END_OF_UNREAD = {};
  const adoptedLast = queryAll('body style, body link').length > 0;
  const todo = [document];
  while (todo.length > 0) {
    const next = todo.pop();
    if (next === END_OF_UNREAD) {
      unread--;
      continue;
    }
    if (next === END_OF_HEAD) {
      if (!adoptedLast) out.push(adopted(document));
      if (stylesAt < 0) stylesAt = out.push('') - 1;
      continue;
    }
    if (typeof next === 'string') {
      out.push(next);
      continue;
    }
    switch (nodeType(next)) {
      case Node.ELEMENT_NODE: element(next); break;
      case Node.TEXT_NODE:
      case Node.CDATA_SECTION_NODE: text(data(next)); break; // HTML knows no others
      case Node.COMMENT_NODE: out.push(comment(data(next))); break;
      case Node.DOCUMENT_TYPE_NODE: out.push(doctype(next)); break;
      case Node.PROCESSING_INSTRUCTION_NODE: break;
      default: children(next);
    }
  }

  function text(s) {
    out.push(escapeText(s));
    if (unread === 0) content.text += s.trim().length;
  }

  function children(node) {
    const list = [];
    for (let c = firstChild(node); c; c = nextSibling(c)) list.push(c);
    push(list);
  }

  function push(list) {
    for (let i = list.length - 1; i >= 0; i--) todo.push(list[i]);
  }

  // metadata returns what of a head's nodes stays there. What scripts have put beside it, as
  // an image that counts visits, would take all that comes after it into the body.
  function metadata(head) {
    const list = [];
    for (let c = firstChild(head); c; c = nextSibling(c)) {
      const stays = nodeType(c) === Node.ELEMENT_NODE ? namespaceURI(c) === HTML && METADATA.has(localName(c))
        : nodeType(c) !== Node.TEXT_NODE || data(c).trim() === '';
      (stays ? list : strays).push(c);
    }
    return list;
  }

  function element(e) {
    const isHTML = namespaceURI(e) === HTML;
    const name = isHTML ? localName(e) : tagName(e);
    if (isHTML && !shown(e, name) || name === 'script' && !isHTML) return;
    if (isHTML && name === 'slot' && !declarative && inShadow(e)) { // what it shows stands in its place
      const assigned = assignedNodes(e);
      for (const node of assigned) slottedIn.set(node, treeNumber(getRootNode(e)));
      if (assigned.length > 0) for (let i = assigned.length - 1; i >= 0; i--) todo.push(assigned[i]);
      else children(e);
      return;
    }
    if (stylesAt < 0 && isHTML && (name === 'style' || name === 'link')) stylesAt = out.push('') - 1;
    if (isHTML) count(e, name);
    else if (name === 'svg' && unread === 0) content.images++;
    out.push('<', name);
    const state = isHTML ? formState(e, name) : null;
    for (const a of attributes(e)) {
      if (!state || a.name !== state.attribute) out.push(attribute(e, name, a));
    }
    if (state && state.value !== null) out.push(' ', state.attribute, '="', escapeAttribute(state.value), '"');
    const root = shadowRoot(e);
    hasShadow = hasShadow || !!root;
    if (hasShadow && !declarative) out.push(marks(e, root));
    out.push('>');
    if (isHTML && VOID.has(name)) return;
    // What was in another encoding by a header alone would be read in that one from a file.
    if (isHTML && name === 'head' && characterSet(document) !== 'UTF-8' &&
        queryAll('meta[charset], meta[http-equiv="content-type" i]').length === 0) out.push('<meta charset="utf-8">');

    if (isHTML && UNREAD.has(name)) {
      unread++;
      todo.push(END_OF_UNREAD);
    }
    todo.push('</' + name + '>');
    if (isHTML && name === 'head') todo.push(END_OF_HEAD);
    if (isHTML && name === 'body' && adoptedLast) todo.push(adopted(document));
    if (root && declarative) {
      children(e);
      todo.push('</template>');
      todo.push(adopted(root));
      children(root);
      out.push('<template shadowrootmode="open">');
      return;
    }
    if (root) {
      children(root);
      return;
    }
    if (isHTML && name === 'textarea') todo.push(escapeText(areaValue(e)));
    else if (isHTML && name === 'style') todo.push(inShadow(e) && !declarative ? '' : style(e)); // see treeNumber
    else if (isHTML && RAW.has(name)) todo.push(raw(name, textContent(e)));
    else if (isHTML && name === 'template') children(e.content);
    else if (isHTML && name === 'head' && strayTo) push(metadata(e));
    else children(e);
    if (isHTML && name === 'body') push(strays.splice(0));

    // The parser drops a line feed right after these tags.
    const first = firstChild(e);
    if (isHTML && (name === 'pre' || name === 'textarea' || name === 'listing') &&
        (name === 'textarea' ? areaValue(e) : first && nodeType(first) === Node.TEXT_NODE ? data(first) : '').startsWith('\n')) {
      out.push('\n');
    }
  }

  function count(e, name) {
    switch (name) {
      case 'a': if (unread === 0 && getAttribute(e, 'href') !== null) content.links++; break;
      case 'img': case 'video': case 'canvas': case 'iframe': if (unread === 0) content.images++; break;
      case 'script': content.data++; break; // no other is shown
      case 'link': if (/(^|\s)canonical(\s|$)/i.test(getAttribute(e, 'rel') || '')) content.canonical = getAttribute(e, 'href') || '';
    }
  }

  // What a form's controls show is no attribute once a script has set it. Null:
  // the attributes say it. What is typed in secret stays so.
  function formState(e, name) {
    if (name === 'option') { // the first is selected without saying so
      return { attribute: 'selected', value: isSelected(e) && (optionIndex(e) > 0 || getAttribute(e, 'selected') !== null) ? '' : null };
    }
    if (name !== 'input') return null;
    const type = inputType(e);
    if (type === 'checkbox' || type === 'radio') return { attribute: 'checked', value: isChecked(e) ? '' : null };
    if (type === 'password' || type === 'file' || type === 'image') return null;
    const value = inputValue(e);
    return value === (getAttribute(e, 'value') || '') || type === 'range' || type === 'color' && getAttribute(e, 'value') === null
      ? null : { attribute: 'value', value };
  }

  // Scripts have done their work. <noscript> is what no person with a browser
  // sees, mostly a request to switch JavaScript on.
  function shown(e, name) {
    switch (name) {
      case 'script':
        return /^application\/ld\+json\s*(;|$)/i.test((getAttribute(e, 'type') || '').trim());
      case 'noscript':
        return false;
      case 'link': {
        const rel = (getAttribute(e, 'rel') || '').toLowerCase().split(/\s+/);
        const as = (getAttribute(e, 'as') || '').toLowerCase();
        if (rel.includes('stylesheet') && !declarative && inShadow(e) && rulesOf(e.sheet)) return false; // see treeNumber
        return !rel.includes('modulepreload') &&
          !((rel.includes('preload') || rel.includes('prefetch')) && as === 'script');
      }
      default:
        return true;
    }
  }

  // Attributes that begin like event handlers: a word alone runs nothing, as in <b only>.
  // Lists of handlers differ from browser to browser.
  function isHandler(a) {
    return /^on/i.test(a.name) && !/^[\w-]*$/.test(a.value);
  }

  function attribute(e, element, a) {
    let value = a.value;
    const name = a.name;
    if (isHandler(a) || name === 'srcdoc') return ''; // a whole document, scripts and all
    if (URL_ATTRIBUTES.has(name) && /^[\0-\x20]*j[\t\n\r]*a[\t\n\r]*v[\t\n\r]*a[\t\n\r]*s[\t\n\r]*c[\t\n\r]*r[\t\n\r]*i[\t\n\r]*p[\t\n\r]*t[\t\n\r]*:/i.test(value)) return '';
    // What is written here is UTF-8, whatever the origin sent.
    if (element === 'meta' && name === 'charset') value = 'utf-8';
    if (element === 'meta' && name === 'content' && /^content-type$/i.test(getAttribute(e, 'http-equiv') || '')) {
      value = 'text/html; charset=utf-8';
    }
    return ' ' + name + '="' + escapeAttribute(value) + '"';
  }

  // The text of these elements has no escapes, so a script can give them what
  // would end them early: a product name with "</script>" in it, in JSON-LD.
  function raw(name, source) {
    if (name === 'script') return source.replace(/<(?=\/script|script|!--)/gi, '\\u003c'); // JSON's own escape
    return source.replace(new RegExp('</(?=' + name + ')', 'gi'), name === 'style' ? '<\\/' : '&lt;/');
  }

  // Likewise comments, whose text the parser cannot hold in some forms.
  function comment(source) {
    return /^-?>|--!?>|--!$|<!-$/.test(source) ? '' : '<!--' + source + '-->';
  }

  function doctype(d) {
    let s = '<!DOCTYPE ' + d.name;
    if (d.publicId) s += ' PUBLIC "' + d.publicId + '"';
    else if (d.systemId) s += ' SYSTEM';
    if (d.systemId) s += ' "' + d.systemId + '"';
    return s + '>\n';
  }

  // A style element's rules are its text, unless a script has changed them, as
  // styled-components and emotion do in production by insertRule.
  function style(e) {
    const source = raw('style', textContent(e));
    const rules = rulesOf(e.sheet);
    if (e.sheet && e.sheet.disabled) return '';
    return !rules || isWritten(source, rules) ? source : cssText(rules);
  }

  function rulesOf(sheet) {
    try {
      return sheet ? sheet.cssRules : null;
    } catch (_) {
      return null; // of another origin
    }
  }

  function isWritten(source, rules) {
    if (source.trim() === '') return rules.length === 0;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(source.replace(/@import[^;]*;/gi, '@layer;')); // which cannot be in it
    if (sheet.cssRules.length !== rules.length) return false;
    for (let i = 0; i < rules.length; i++) {
      if (!(rules[i] instanceof CSSImportRule) && rules[i].cssText !== sheet.cssRules[i].cssText) return false;
    }
    return true;
  }

  function cssText(rules) {
    const lines = [];
    for (const rule of rules) lines.push(rule.cssText);
    return raw('style', lines.join('\n'));
  }

  // Sheets that belong to no element get one, after all others as in the cascade.
  function adopted(root) {
    let s = '';
    for (const sheet of root.adoptedStyleSheets) {
      if (sheet.disabled) continue;
      const media = sheet.media.mediaText;
      s += '<style' + (media ? ' media="' + escapeAttribute(media) + '"' : '') + '>' + cssText(sheet.cssRules) + '</style>';
    }
    return s;
  }

  // A shadow tree is written as the children of its host, because a bot that runs
  // no script may not know shadow roots. What belongs to a tree with styles is
  // marked by attributes, and each rule's selector gets the mark of what it may
  // reach. Trees with the same styles, as those of a component's instances, have
  // the same number. All such rules go into one element in the head.
  function treeNumber(root) {
    let n = numberOf.get(root);
    if (n === undefined) {
      const sheets = [...queryIn(root, 'style, link')].map((e) => e.sheet).concat(root.adoptedStyleSheets)
        .filter((sheet) => sheet && !sheet.disabled && rulesOf(sheet));
      const text = sheets.map((sheet) => inMedia(sheet, absolute(sheet, cssText(rulesOf(sheet))))).join('\n');
      if (text === '') {
        n = 0;
      } else if ((n = numberOfStyles.get(text)) === undefined) {
        n = numberOfStyles.size + 1;
        numberOfStyles.set(text, n);
        for (const sheet of sheets) {
          shadowStyles.push(raw('style', inMedia(sheet, absolute(sheet, scoped(rulesOf(sheet), n)))));
        }
      }
      numberOf.set(root, n);
    }
    return n;
  }

  function inMedia(sheet, text) {
    return sheet.media.mediaText ? '@media ' + sheet.media.mediaText + ' {\n' + text + '\n}' : text;
  }

  // A linked sheet's addresses are about the sheet.
  function absolute(sheet, text) {
    if (!sheet.href) return text;
    return text.replace(/url\("((?:[^"\\]|\\.)*)"\)/g, (all, url) => /^(data:|#)/i.test(url) ? all : 'url("' + new URL(url, sheet.href).href + '")');
  }

  function marks(e, root) {
    const own = getRootNode(e);
    const tree = own instanceof ShadowRoot ? treeNumber(own) : 0;
    const slotted = slottedIn.get(e) || 0;
    const host = root ? treeNumber(root) : 0;
    return (tree ? ' data-shadow-tree="' + tree + '"' : '') + (slotted ? ' data-shadow-slotted="' + slotted + '"' : '') +
      (host ? ' data-shadow-host="' + host + '"' : '');
  }

  function scoped(rules, n) {
    const lines = [];
    for (const rule of rules) {
      if (rule instanceof CSSStyleRule) {
        const selector = rule.selectorText;
        lines.push(outside(selector, ',').map((s) => scopedSelector(s.trim(), n)).join(', ') + rule.cssText.slice(selector.length));
      } else if (rule instanceof CSSGroupingRule) {
        const text = rule.cssText;
        lines.push(text.slice(0, text.indexOf('{') + 1) + '\n' + scoped(rule.cssRules, n) + '\n}');
      } else {
        lines.push(rule.cssText);
      }
    }
    return lines.join('\n');
  }

  // The mark is for the subject of a selector, its last part.
  function scopedSelector(selector, n) {
    const parts = outside(selector, ' ');
    const subject = parts.pop();
    const before = parts.map((part) => hosts(part, n) + ' ').join('');
    const slotted = /(?<!\\)::slotted\(/.exec(subject);
    if (slotted) {
      const end = closing(subject, slotted.index + slotted[0].length);
      return before + ':is(' + subject.slice(slotted.index + slotted[0].length, end) + '):where([data-shadow-slotted="' + n + '"])' + subject.slice(end + 1);
    }
    if (/(?<!\\):host\b/.test(subject)) return before + hosts(subject, n);
    const pseudo = subject.search(/(?<!\\)(::|:(before|after|first-line|first-letter)\b)/);
    const at = pseudo < 0 ? subject.length : pseudo;
    return before + subject.slice(0, at) + '[data-shadow-tree="' + n + '"]' + subject.slice(at);
  }

  function hosts(s, n) {
    const mark = ':where([data-shadow-host="' + n + '"])';
    for (;;) {
      const m = /(?<!\\):host(-context)?(\()?/.exec(s);
      if (!m) return s;
      const begin = m.index + m[0].length;
      const end = m[2] ? closing(s, begin) : begin;
      const inner = s.slice(begin, end);
      const is = !m[2] ? '' : m[1] ? ':is(' + inner + ', :is(' + inner + ') *)' : ':is(' + inner + ')';
      s = s.slice(0, m.index) + is + mark + s.slice(m[2] ? end + 1 : end);
    }
  }

  // closing returns where the parenthesis closes whose content begins at i.
  function closing(s, i) {
    for (let depth = 1; i < s.length; i++) {
      if (s[i] === '\\') i++;
      else if (s[i] === '(') depth++;
      else if (s[i] === ')' && --depth === 0) return i;
    }
    return s.length;
  }

  // outside splits at a character that is not in parentheses, brackets or quotes.
  function outside(s, separator) {
    const parts = [];
    let depth = 0, quote = '', begin = 0;
    for (let i = 0; i < s.length; i++) {
      const c = s[i];
      if (c === '\\') i++;
      else if (quote) { if (c === quote) quote = ''; }
      else if (c === '"' || c === "'") quote = c;
      else if (c === '(' || c === '[') depth++;
      else if (c === ')' || c === ']') depth--;
      else if (c === separator && depth === 0) {
        parts.push(s.slice(begin, i));
        begin = i + 1;
      }
    }
    parts.push(s.slice(begin));
    return parts;
  }

  // What the page says of its status and headers. The last status wins; a
  // header may be repeated.
  function wishes() {
    let status = 0, softStatus = 0;
    const headers = [];
    for (const meta of queryAll('meta[name][content]')) {
      const name = getAttribute(meta, 'name').toLowerCase();
      const content = getAttribute(meta, 'content');
      if (name === 'prerender-status-code' || name === 'render:status_code') {
        const n = Number(content);
        const valid = Number.isInteger(n) && n >= 200 && n <= 599;
        if (valid && name === 'render:status_code') softStatus = n;
        else if (valid) status = n;
      }
      const header = /^\s*([^\s:]+)\s*:\s*(.*?)\s*$/.exec(content);
      if ((name === 'prerender-header' || name === 'render:header') && header) headers.push([header[1], header[2]]);
    }
    return { status, softStatus, headers };
  }

  if (shadowStyles.length > 0 && stylesAt >= 0) out[stylesAt] = '<style>' + shadowStyles.join('\n') + '</style>';
  const title = queryAll('title')[0];
  return { html: out.join(''), title: title ? textContent(title).trim() : '', content, ...wishes() };
})
