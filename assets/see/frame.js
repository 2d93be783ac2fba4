// The document of the sandboxed frame, which has no origin of ours. It fetches Pyodide, gives up its right to any network,
// and only then starts the workers: relay.js, and by it the one that runs the program. It speaks with the page by messages
// alone.
const config = JSON.parse(document.getElementById('config').textContent);
const text = (id) => document.getElementById(id).textContent;
const send = (message) => parent.postMessage(message, '*'); // the page's own policy says who may embed this document
const fail = (reason, detail = '') => send({ type: 'failed', reason, detail: String(detail).slice(0, 300) });

let kept = new Map(); // files of an earlier run, from the page's memory
let bytes = 0;
let lastSent = 0;
let done = 0;
let total = 0;
const progress = (isLast) => {
  if (!isLast && performance.now() - lastSent < 100) return;
  lastSent = performance.now();
  send({ type: 'progress', done, total, bytes });
};
const fetched = async (name, sha256) => {
  total += 1;
  if (kept.has(name)) {
    done += 1;
    return [name, kept.get(name)];
  }
  const settings = { credentials: 'omit', referrerPolicy: 'no-referrer' };
  if (sha256) settings.integrity = `sha256-${btoa(sha256.match(/../g).map((byte) => String.fromCharCode(parseInt(byte, 16))).join(''))}`;
  const answer = await fetch(config.url + name, settings);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  const parts = [];
  for (const reader = answer.body.getReader(); ;) {
    const { value, done: isRead } = await reader.read();
    if (isRead) break;
    bytes += value.length;
    parts.push(value);
    progress();
  }
  done += 1;
  progress(true);
  return [name, await new Blob(parts).arrayBuffer()];
};
// The wheels of `packages` and of all that they need, by the lock file's own hashes.
const wheels = (lock, packages) => {
  const found = new Set();
  const pending = [...packages];
  while (pending.length) {
    const name = pending.pop();
    if (found.has(name)) continue;
    if (!Object.hasOwn(lock.packages, name)) throw new Error(name);
    found.add(name);
    pending.push(...lock.packages[name].depends);
  }
  return [...found].map((name) => lock.packages[name]).filter((wheel) => !wheel.file_name.includes('/'));
};

const load = async (packages) => {
  const core = ['pyodide.mjs', 'pyodide.asm.mjs', 'pyodide.asm.wasm', 'python_stdlib.zip'].map((name) => fetched(name));
  const all = Promise.all(core);
  all.catch(() => {}); // told once, below
  const [, lock] = await fetched('pyodide-lock.json');
  const parsed = JSON.parse(new TextDecoder().decode(lock));
  const files = await Promise.all(wheels(parsed, packages).map((wheel) => fetched(wheel.file_name, wheel.sha256)));
  const loaded = new Map([...(await all), ...files]);
  // No program has run yet, so these are what the host sent. A browser's cache keeps nothing for a frame without an origin.
  send({ type: 'files', files: new Map([...loaded, ['pyodide-lock.json', lock]]) });
  return { lock: parsed, files: loaded };
};

// From here on this document, and the workers that it starts, may fetch nothing: the browser enforces both policies, the
// one of the response and this one. It holds whatever the program does. What worker.js takes away is only tidiness.
const closeNetwork = () => {
  const policy = document.createElement('meta');
  policy.httpEquiv = 'Content-Security-Policy';
  policy.content = "default-src 'none'; script-src blob: 'wasm-unsafe-eval'; worker-src data:; connect-src 'none'";
  document.head.append(policy);
};

// A program is never heard here, as this document may share its thread with the page: relay.js hears it and sends on little.
const run = ({ lock, files }, code, packages) => {
  closeNetwork();
  // Not blob:, from which Chromium starts no module in a document without an origin.
  const relay = new Worker(`data:text/javascript,${encodeURIComponent(text('relay'))}`);
  relay.onmessage = ({ data }) => send(data);
  relay.onerror = (event) => { event.preventDefault(); fail('worker', event.message); };
  relay.postMessage({ worker: text('worker'), lock, files, code, packages, harness: text('harness'), config }, [...files.values()]);
};

let isBegun = false;
addEventListener('message', async ({ source, data }) => {
  if (source !== parent || isBegun || data?.type !== 'run') return;
  isBegun = true;
  kept = data.files;
  try {
    run(await load(data.packages), data.code, data.packages);
  } catch (error) {
    fail('fetch', error.message);
  }
});
send({ type: 'ready' });
