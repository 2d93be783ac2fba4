// Runs one program in Pyodide. Starts without network: frame.js has fetched everything, and the policy that this worker
// inherits from it refuses every connection and every script that is not made here.
const blob = (bytes) => URL.createObjectURL(new Blob([bytes], { type: 'text/javascript' }));
const TYPES = { wasm: 'application/wasm', json: 'application/json' };

addEventListener('message', async ({ data: { lock, files, code, packages, harness, config } }) => {
  const post = postMessage.bind(self);
  let isRunning = false;
  try {
    // Pyodide asks for its files by their address; they come from memory.
    globalThis.fetch = async (address) => {
      const name = String(address.url ?? address).split('/').pop();
      const bytes = files.get(name);
      if (!bytes) return new Response(null, { status: 404 });
      return new Response(bytes, { headers: { 'content-type': TYPES[name.split('.').pop()] ?? 'application/octet-stream' } });
    };
    // A program that takes all memory gets a MemoryError before the browser ends the whole page.
    const { grow } = WebAssembly.Memory.prototype;
    WebAssembly.Memory.prototype.grow = function (pages) {
      if (this.buffer.byteLength + pages * 65_536 > config.memory_bytes) throw new RangeError('memory');
      return grow.call(this, pages);
    };
    const { loadPyodide } = await import(blob(files.get('pyodide.mjs')));
    const { default: createPyodideModule } = await import(blob(files.get('pyodide.asm.mjs')));
    const python = await loadPyodide({
      indexURL: config.url, packageBaseUrl: config.url, lockFileContents: lock, createPyodideModule,
      env: { HOME: '/home/pyodide', MPLBACKEND: 'AGG' }, stdin: () => null,
    });
    await python.loadPackage(packages, { messageCallback: () => {}, errorCallback: () => {} });

    let left = config.output_characters;
    let isCut = false;
    const decoders = [new TextDecoder(), new TextDecoder()];
    const writer = (decoder) => ({
      write: (bytes) => {
        const text = left ? decoder.decode(bytes.subarray(0, 4 * left), { stream: true }) : '';
        isCut ||= bytes.length > 4 * left || text.length > left;
        if (left && text) post({ type: 'output', text: text.slice(0, left) });
        left = Math.max(0, left - text.length);
        return bytes.length;
      },
    });
    python.setStdout(writer(decoders[0]));
    python.setStderr(writer(decoders[1]));
    // Tidiness, not protection: a program that tries gets a plain error. A program can find ways round this, none round the
    // policy.
    for (const name of ['fetch', 'XMLHttpRequest', 'WebSocket', 'WebSocketStream', 'WebTransport', 'EventSource', 'importScripts',
      'indexedDB', 'caches', 'BroadcastChannel', 'Worker']) {
      for (let owner = globalThis; owner; owner = Object.getPrototypeOf(owner)) delete owner[name];
    }
    const start = python.runPython(harness);
    post({ type: 'running' });
    isRunning = true;
    const outcome = start(code, config.plots, config.plot_bytes).toJs();
    post({ type: 'result', plots: outcome[0].map((plot) => plot.slice()), failed: outcome[1], isCut });
  } catch (error) {
    post({ type: 'failed', reason: isRunning ? 'python' : 'load', detail: String(error.message ?? error).slice(-300) });
  }
});
