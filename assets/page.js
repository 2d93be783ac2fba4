// Listeners of the whole page. Each event has one listener on the document, so that elements added later work too.
const keep = (name, value) => { try { localStorage.setItem(name, value); } catch (_) { /* private window */ } };
const kept = (name) => { try { return localStorage.getItem(name); } catch (_) { return null; } };

const acts = {
  theme: () => keep('studio-theme', document.body.classList.toggle('dark') ? 'dark' : 'light'),
  fold: (button) => {
    const card = button.closest('.fold');
    button.setAttribute('aria-expanded', card.classList.toggle('unfolded'));
  },
  pick: (button) => {
    button.closest('.picked').dataset.shown = button.dataset.name;
    for (const other of button.parentElement.children) other.setAttribute('aria-pressed', other === button);
  },
  // Scrolls the card's code to a keyword's first line and focuses it, so that the arrow keys scroll from there.
  jump: (button) => {
    const code = button.closest('.card').querySelector('.code');
    const line = code.children[button.dataset.item];
    code.querySelectorAll('.here').forEach((other) => other.classList.remove('here'));
    line.classList.add('here');
    code.focus({ preventScroll: true });
    code.scrollTop = line.offsetTop - code.offsetTop - code.clientHeight / 3;
    const mark = line.querySelector('mark');
    code.scrollLeft = mark && mark.offsetLeft > code.clientWidth * 0.8 ? mark.offsetLeft - code.clientWidth / 2 : 0;
    code.scrollIntoView({ block: 'nearest' });
  },
  tab: (button) => tabs()[button.dataset.tab].click(),
  dismiss: () => { keep('studio-guide', 'closed'); hideGuide(); },
  // The pager is below the gallery, and the next page is read from its top.
  top: (button) => button.closest('.tabitem').scrollIntoView(),
  copy: async (button) => {
    const field = button.parentElement.querySelector('input');
    field.select();
    try { await navigator.clipboard.writeText(field.value); } catch (_) { document.execCommand('copy'); }
    button.textContent = button.dataset.done;
  },
};

// Links to what is shown. Built here, as only the browser knows the address under which it shows the page.
const LINKED = ['example', 'run', 'revision', 'prompt', 'text', 'gallery', 'q', 'of_run', 'of_prompt'];
const MAX_LINK = 4000;
const copyText = async (text) => {
  try { await navigator.clipboard.writeText(text); return true; } catch (_) { /* not allowed here */ }
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'unseen';
  document.body.append(field);
  const active = document.activeElement;
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  active?.focus({ preventScroll: true });
  return isCopied;
};
const answerOn = (button, text) => {
  const first = button.dataset.first ??= button.textContent;
  button.textContent = text;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.textContent = first; }, 3000);
};
const copyLink = async (button, address) => {
  const isCopied = await copyText(`${location.origin}${location.pathname}?${address}`);
  answerOn(button, isCopied ? button.dataset.done : button.dataset.failed);
};
acts.code = async (button) => {
  const isCopied = await copyText(button.closest('details').querySelector('pre').textContent);
  answerOn(button, isCopied ? button.dataset.done : button.dataset.failed);
};
acts.link = (button) => copyLink(button, button.dataset.address);
acts.promptLink = (button) => {
  const picked = document.querySelector('#prompts [aria-pressed=true]');
  const text = promptField().value;
  const address = picked ? new URLSearchParams({ prompt: picked.dataset.prompt }) : new URLSearchParams({ text });
  if (!picked && (text.length > Number(button.dataset.most) || String(address).length > MAX_LINK)) return answerOn(button, button.dataset.long);
  copyLink(button, address);
};
acts.unremix = (button) => {
  const old = button.closest('.before');
  old.parentElement.classList.remove('beside');
  old.remove();
};

// The address bar names the selected tab in its hash, and what that shows: a page of the gallery, or an example. So a reload
// returns to it, and Back returns to the tab before. What a link named stays until another tab is selected.
const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper .tab-container:not(.visually-hidden) [role=tab]')];
const selected = () => tabs().findIndex((tab) => tab.ariaSelected === 'true');
const ADDRESSED = { generate: '#completion', gallery: '#gallery' };
const shownAddress = () => {
  const card = ADDRESSED[tabs()[selected()]?.dataset.tabId];
  return card && document.querySelector(`${card} [data-shown]`)?.dataset.shown;
};
// The part of the query that a link has, or the rest of it.
const linked = (isLinked) => String(new URLSearchParams([...new URLSearchParams(location.search)].filter(([name]) => LINKED.includes(name) === isLinked)));
let namedTab = 0;
const nameInAddress = (address, isNew) => {
  const query = [linked(false), address].filter(Boolean).join('&');
  const next = location.pathname + (query && `?${query}`) + (namedTab ? `#${namedTab}` : '');
  if (next === location.pathname + location.search + location.hash) return;
  if (isNew) history.pushState(null, '', next); else history.replaceState(null, '', next);
};
const nameShown = () => {
  const address = shownAddress();
  if (address !== undefined) nameInAddress(address);
  else if (linked(true).startsWith('example=')) nameInAddress(''); // another completion was begun
};
document.addEventListener('studio-shown', nameShown);
let isFollowingLink = linked(true) !== '';
const nameTab = () => {
  const at = selected();
  if (at < 0 || at === namedTab) return;
  namedTab = at;
  if (isFollowingLink) nameInAddress(linked(true)); else nameInAddress(shownAddress() ?? '', true);
  isFollowingLink = false;
};
new MutationObserver(nameTab).observe(document.body, { subtree: true, attributeFilter: ['aria-selected'] });
window.addEventListener('popstate', () => {
  namedTab = Number(location.hash.slice(1));
  if (selected() !== namedTab) tabs()[namedTab]?.click();
  setTimeout(() => { if ((shownAddress() ?? linked(true)) !== linked(true)) location.reload(); }, 300);
});

// The prompt outlives a reload in this tab of the browser, unless the address names another.
const promptField = () => document.querySelector('#prompt textarea');
window.addEventListener('pagehide', () => {
  try { sessionStorage.setItem('studio-prompt', promptField().value); } catch (_) { /* not kept here */ }
});
let isTouched = false;
for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, () => { isTouched = true; }, { capture: true, once: true });
// Gradio sets the field's first value some time after the field is there, so this looks again.
const returnPrompt = (times) => {
  let text = null;
  try { text = sessionStorage.getItem('studio-prompt'); } catch (_) { /* not kept here */ }
  const field = promptField();
  if (text === null || isTouched || linked(true) || !times) return;
  if (field.value !== text) {
    field.value = text;
    field.dispatchEvent(new Event('input', { bubbles: true }));
  }
  setTimeout(returnPrompt, 200, times - 1);
};
document.addEventListener('studio-prompt', () => returnPrompt(10));

// The steps of a first visit stay closed in a browser that has closed them.
const hideGuide = () => document.querySelector('.gradio-container').classList.add('no-guide');
if (kept('studio-guide')) hideGuide();

// The owner signs in outside Gradio, because its events cannot set cookies. The key is sent to studio/unlock only.
const otherTabs = new BroadcastChannel('studio-owner');
const ask = async (name, settings) => {
  const answer = await fetch(`studio/${name}`, { credentials: 'same-origin', ...settings });
  return { ok: answer.ok, ...(await answer.json()) };
};
const showOwner = async () => {
  const { state } = await ask('who');
  const who = document.getElementById('who');
  const page = document.querySelector('.gradio-container').dataset;
  if (page.who && page.who !== state) document.getElementById('owner-changed').click();
  page.who = state;
  who.textContent = who.dataset[state];
  return state;
};
const lookWho = () => showOwner().catch(() => { /* the page is being restarted */ });
acts.lock = async () => {
  try { await ask('lock', { method: 'POST' }); } catch (_) { return; }
  otherTabs.postMessage('');
  lookWho();
};
const tell = (notice, kind, ...content) => {
  notice.className = `notice ${kind}`;
  notice.setAttribute('role', kind === 'bad' ? 'alert' : 'status');
  notice.firstElementChild.replaceChildren(...content);
};
const unlock = async (form) => {
  const notice = form.parentElement.querySelector('.notice');
  const first = notice.dataset.first ??= notice.textContent;
  const key = form.elements.key.value;
  form.elements.key.value = '';
  const headers = { 'Content-Type': 'application/json' };
  try {
    const { ok, message } = await ask('unlock', { method: 'POST', headers, body: JSON.stringify({ key }) });
    form.elements.key.setAttribute('aria-invalid', !ok);
    if (!ok) return tell(notice, 'bad', message);
    otherTabs.postMessage('');
    // A browser may reject cookies of a frame inside another site: then the right key has no effect.
    if (await showOwner() !== 'locked') return tell(notice, 'warn', first);
    tell(notice, 'bad', document.getElementById('no-cookie').content.cloneNode(true));
  } catch (_) {
    tell(notice, 'bad', form.dataset.noAnswer);
  }
};
document.addEventListener('submit', (event) => {
  if (event.target.id !== 'unlock-form') return;
  event.preventDefault();
  unlock(event.target);
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) { lookWho(); poll(); } });
otherTabs.addEventListener('message', lookWho);
lookWho();

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button && acts[button.dataset.act]) acts[button.dataset.act](button);
});

// Text typed into a chips field becomes a chip at a comma and when the field loses focus, so that a missing Enter loses no word.
const enter = (input) => input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
document.addEventListener('keydown', (event) => {
  if (event.key !== ',' || !event.target.closest('.chips')) return;
  event.preventDefault();
  if (event.target.value.trim()) enter(event.target);
}, true);
document.addEventListener('focusout', (event) => {
  if (event.target.matches('.chips input') && event.target.value.trim()) enter(event.target);
}, true);

// Ctrl+Enter, or Cmd+Enter, in the Generate tab's form completes the prompt; Escape anywhere on the tab stops the writing.
const press = (id) => {
  const button = document.getElementById(id);
  if (button?.getClientRects().length) button.click();
};
document.addEventListener('keydown', (event) => {
  if (event.isComposing || event.repeat) return;
  if (event.key === 'Escape') press('stop-writing');
  const isForm = event.target.closest('.tabitem')?.querySelector('#complete') && !event.target.closest('#keep-card, button');
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || !isForm) return;
  event.preventDefault();
  press('complete');
});

const asked = new URLSearchParams(location.search);
if (!asked.get('__theme') && kept('studio-theme')) {
  document.body.classList.toggle('dark', kept('studio-theme') === 'dark');
}

const place = Number(location.hash.slice(1));
if (place && !isFollowingLink) {
  const timer = setInterval(() => { if (tabs()[place]) { tabs()[place].click(); clearInterval(timer); } }, 50);
  setTimeout(() => clearInterval(timer), 5000);
}

// The figures of a tab are refreshed when the server tells another version, and only while the tab is shown; once a minute
// in any case, for "2 min ago" and after a refresh that was lost. A hidden window does not poll.
const LIVE = ['data', 'train'];
let version = '';
let refreshed = {}; // by tab: the version that its figures were refreshed at, and when
let nextPoll = 0;
let isPolling = false;
const refreshShown = () => {
  const name = LIVE[selected()];
  const button = document.getElementById(`${name}-changed`);
  const last = refreshed[name];
  if (!button || !version || (last?.version === version && Date.now() - last.at < 60_000)) return;
  refreshed[name] = { version, at: Date.now() };
  button.click();
};
const poll = async () => {
  clearTimeout(nextPoll);
  if (document.hidden || isPolling) return;
  isPolling = true;
  let seconds = 5;
  try {
    const answer = await ask('changes', { signal: AbortSignal.timeout(15_000) });
    if (!answer.ok) throw answer;
    ({ version, seconds } = answer);
    refreshShown();
  } catch (_) {
    refreshed = {}; // a refresh may have been lost as well
  }
  isPolling = false;
  nextPoll = setTimeout(poll, seconds * 1000);
};
document.addEventListener('click', (event) => { if (event.target.closest('[role=tab]')) setTimeout(refreshShown); });
poll();

// Against clickjacking: a site that frames this page could make the owner click its buttons. Only the Hub's own frame is allowed.
// Anybody can own a Space, so other Spaces are not.
const isOwnFrame = (origin) => origin === location.origin || origin === 'https://huggingface.co';
const around = location.ancestorOrigins ? [...location.ancestorOrigins] : [document.referrer && new URL(document.referrer).origin];
if (window.top !== window.self && !around.every(isOwnFrame)) {
  const cover = document.createElement('a');
  cover.id = 'framed';
  cover.href = location.origin + '/';
  cover.target = '_blank';
  cover.rel = 'noopener';
  cover.textContent = document.querySelector('#who').dataset.framed;
  document.body.replaceChildren(cover);
}
