// Runs a completion that draws in a sandboxed frame without our origin, and shows its plots and what it printed. Until the
// second press there is no frame, so nothing is fetched. One program runs at a time.
let seeFiles = new Map(); // what was fetched, by name, until the page is left
let seeing = null; // { panel, code, frame, timer, output, messages, ... } while a program is fetched for or runs

const seePart = (panel, name) => panel.querySelector(`.see-${name}`);
const seeText = (panel, name, values = {}) => Object.entries(values).reduce(
  (text, [key, value]) => text.replaceAll(`{${key}}`, () => value), JSON.parse(panel.dataset.texts)[name]);
const saySee = (panel, name, values, kind = '') => {
  const state = seePart(panel, 'state');
  state.textContent = seeText(panel, name, values);
  state.dataset.kind = kind;
};
const showSeeButtons = (panel, isBusy) => {
  const hadFocus = panel.contains(document.activeElement);
  seePart(panel, 'start').hidden = isBusy;
  seePart(panel, 'busy').hidden = !isBusy;
  if (hadFocus) seePart(panel, isBusy ? 'busy' : 'start').querySelector('button').focus({ preventScroll: true });
};
const clearSee = (panel) => {
  for (const image of seePart(panel, 'plots').children) URL.revokeObjectURL(image.src);
  seePart(panel, 'plots').replaceChildren();
  seePart(panel, 'output').hidden = true;
  seePart(panel, 'output').textContent = '';
  seePart(panel, 'cut').hidden = true;
};

// Removing the frame ends its worker, whatever that does.
const endSee = (name, values, kind) => {
  if (!seeing) return;
  const { panel, code, frame, timer } = seeing;
  seeing = null;
  clearTimeout(timer);
  frame.remove();
  if (!panel.isConnected || panel.dataset.code !== code) return;
  showSeeButtons(panel, false);
  seePart(panel, 'run').textContent = seeText(panel, 'again');
  if (name) saySee(panel, name, values, kind);
};

// PNG files alone become images: by their first bytes and their size in pixels, and with that type, so that nothing in them
// is read as a document.
const pngImage = (bytes, limits) => {
  if (!(bytes instanceof Uint8Array) || bytes.length < 33 || bytes.length > limits.plot_bytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isPng = view.getUint32(0) === 0x89504e47 && view.getUint32(4) === 0x0d0a1a0a
    && view.getUint32(8) === 13 && view.getUint32(12) === 0x49484452;
  const width = isPng ? view.getUint32(16) : 0;
  const height = isPng ? view.getUint32(20) : 0;
  if (!width || !height || width * height > limits.pixels) return null;
  const image = new Image(width, height);
  image.src = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
  return image;
};

const writeSeeOutput = () => {
  if (!seeing) return;
  const { panel, output } = seeing;
  seeing.isDrawing = false;
  const element = seePart(panel, 'output');
  element.hidden = !output;
  element.textContent = output;
};
const SEE_MESSAGES = {
  ready: ({ panel, frame, code, limits }) => {
    if (seeing.isAsked) return;
    seeing.isAsked = true;
    frame.contentWindow.postMessage({ type: 'run', code, packages: JSON.parse(panel.dataset.packages), files: seeFiles }, '*'); // it has no origin
  },
  progress: ({ panel }, { done, total, bytes }) => {
    if (![done, total, bytes].every(Number.isFinite) || seeing.isRunning) return;
    if (done === total && total > 5) saySee(panel, 'starting');
    else saySee(panel, 'loading', { done, total, size: (bytes / 1e6).toFixed(1) });
    seePart(panel, 'meter').style.width = `${Math.min(100, bytes / 1e4 / Number(panel.dataset.megabytes))}%`;
  },
  files: ({ limits }, { files }) => {
    if (seeing.isRunning || !(files instanceof Map)) return;
    const known = [...files].filter(([name, file]) => typeof name === 'string' && file instanceof ArrayBuffer);
    const all = new Map([...seeFiles, ...known]);
    if ([...all.values()].reduce((sum, file) => sum + file.byteLength, 0) <= limits.kept_bytes) seeFiles = all;
  },
  running: ({ panel, limits }) => {
    if (seeing.isRunning) return;
    seeing.isRunning = true;
    clearTimeout(seeing.timer);
    seeing.timer = setTimeout(() => endSee('timeout', { seconds: limits.run_seconds }, 'bad'), limits.run_seconds * 1000);
    seePart(panel, 'meter').style.width = '100%';
    saySee(panel, 'running', { seconds: limits.run_seconds });
  },
  output: ({ limits }, { text }) => {
    if (typeof text !== 'string') return;
    seeing.output = (seeing.output + text).slice(0, limits.output_characters);
    if (!seeing.isDrawing) requestAnimationFrame(writeSeeOutput);
    seeing.isDrawing = true;
  },
  result: ({ panel, limits }, { plots, failed, isCut }) => {
    if (!Array.isArray(plots)) return;
    const images = plots.slice(0, limits.plots).map((bytes) => pngImage(bytes, limits));
    const shown = images.filter(Boolean);
    shown.forEach((image, number) => { image.alt = seeText(panel, 'plot', { number: number + 1 }); });
    seePart(panel, 'plots').replaceChildren(...shown);
    writeSeeOutput();
    seePart(panel, 'cut').hidden = isCut !== true;
    if (shown.length < images.length) endSee('image', {}, 'bad');
    else if (failed) endSee('failed', {}, 'bad');
    else endSee(['none', 'one'][shown.length] ?? 'several', { plots: shown.length }, 'good');
  },
  failed: ({ panel }, { reason, detail }) => {
    const known = ['fetch', 'load', 'worker', 'python', 'message'].includes(reason) ? reason : 'load';
    writeSeeOutput();
    endSee(known, { detail: String(detail).slice(0, 300) }, 'bad');
  },
};
addEventListener('message', (event) => {
  // Only the frame of the current run is heard, and of it only what is listed above. A message is built again where its
  // `data` is first read, so that of no other message is read: many may wait when a run ends.
  if (!seeing || event.source !== seeing.frame.contentWindow) return;
  if ((seeing.messages += 1) > 2 * seeing.limits.messages) return endSee('message', {}, 'bad');
  const { data } = event;
  if (data === null || typeof data !== 'object') return;
  if (Object.hasOwn(SEE_MESSAGES, data.type)) SEE_MESSAGES[data.type](seeing, data);
});

acts.see = (button) => {
  const panel = button.closest('.see');
  const body = seePart(panel, 'body');
  body.hidden = !body.hidden;
  button.setAttribute('aria-expanded', !body.hidden);
  if (body.hidden && seeing?.panel === panel) endSee('cancelled');
};
acts.seeCancel = () => endSee('cancelled');
acts.seeRun = (button) => {
  endSee('cancelled');
  const panel = button.closest('.see');
  const limits = JSON.parse(panel.dataset.limits);
  const frame = document.createElement('iframe');
  frame.setAttribute('sandbox', 'allow-scripts'); // no allow-same-origin: neither our cookies nor our page
  frame.src = 'studio/see';
  frame.hidden = true;
  const timer = setTimeout(() => endSee('slow', { seconds: limits.load_seconds }, 'bad'), limits.load_seconds * 1000);
  seeing = { panel, code: panel.dataset.code, limits, frame, timer, output: '', messages: 0 };
  clearSee(panel);
  showSeeButtons(panel, true);
  seePart(panel, 'meter').style.width = '0';
  saySee(panel, 'opening');
  document.body.append(frame);
};

// Another completion in the card ends the run of the one that was there.
const watchSee = setInterval(() => {
  const card = document.getElementById('completion');
  if (!card) return;
  clearInterval(watchSee);
  new MutationObserver(() => {
    if (seeing && (!seeing.panel.isConnected || seeing.panel.dataset.code !== seeing.code)) endSee();
  }).observe(card, { subtree: true, childList: true, attributeFilter: ['data-code'] });
}, 500);
