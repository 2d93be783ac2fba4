// Stands between the program's worker and the frame, in a worker of its own. What a program posts is built again where
// `data` is first read, which takes as long as the program likes, and its size cannot be asked before. It is read here, where
// no page waits. Only a new object with the known fields goes on.
addEventListener('message', ({ data: { worker: source, ...files } }) => {
  const { config } = files;
  const isText = (value, limit) => typeof value === 'string' && value.length <= limit;
  const isPlot = (value) => value instanceof Uint8Array && value.length <= config.plot_bytes;
  let messages = config.messages;
  let characters = config.output_characters;
  // Each gives what goes on, or null. A copy of a plot leaves behind the rest of the buffer that it was a view of.
  const KNOWN = {
    running: () => ({}),
    output: ({ text }) => (isText(text, characters) ? { text } : null),
    result: ({ plots, failed, isCut }) => {
      if (typeof failed !== 'boolean' || typeof isCut !== 'boolean') return null;
      if (!Array.isArray(plots) || plots.length > config.plots || !Array.from(plots).every(isPlot)) return null;
      return { plots: plots.map((plot) => plot.slice()), failed, isCut };
    },
    failed: ({ reason, detail }) => (isText(reason, 40) && isText(detail, 300) ? { reason, detail } : null),
  };
  const once = new Set(['running', 'result', 'failed']);
  const sent = new Set();
  const checked = (data) => {
    if (data === null || typeof data !== 'object' || !isText(data.type, 10) || !Object.hasOwn(KNOWN, data.type)) return null;
    const fields = KNOWN[data.type](data);
    if (!fields || sent.has(data.type)) return null;
    // Not Object.keys, which would list millions.
    for (const name in data) if (name !== 'type' && !Object.hasOwn(fields, name)) return null;
    return { type: data.type, ...fields };
  };

  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, { type: 'module' });
  const end = () => {
    worker.onmessage = worker.onerror = null;
    worker.terminate();
  };
  const fail = (reason, detail = '') => {
    end();
    postMessage({ type: 'failed', reason, detail: String(detail).slice(0, 300) });
  };
  worker.onmessage = (event) => {
    const message = (messages -= 1) < 0 ? null : checked(event.data);
    if (!message) return fail('message');
    if (once.has(message.type)) sent.add(message.type);
    if (message.type === 'output') characters -= message.text.length;
    if (message.type === 'result' || message.type === 'failed') end(); // the last one
    postMessage(message, (message.plots ?? []).map((plot) => plot.buffer));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    fail('worker', event.message);
  };
  worker.postMessage(files, [...files.files.values()]);
}, { once: true });
