// Listeners of the whole page. One on the document each: what is drawn later is served as well.
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
  hit: (button) => {
    const code = button.closest('.file-head').parentElement.querySelector('.code');
    const mark = code.querySelector('mark');
    code.focus({ preventScroll: true });
    if (mark) mark.scrollIntoView({ block: 'center', inline: 'nearest' });
  },
  copy: async (button) => {
    const field = button.parentElement.querySelector('input');
    field.select();
    try { await navigator.clipboard.writeText(field.value); } catch (_) { document.execCommand('copy'); }
    button.textContent = button.dataset.done;
  },
};

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button && acts[button.dataset.act]) acts[button.dataset.act](button);
});

const asked = new URLSearchParams(location.search);
if (!asked.get('__theme') && kept('studio-theme')) {
  document.body.classList.toggle('dark', kept('studio-theme') === 'dark');
}

// The tab in front is part of the address, so that a reload comes back to it.
const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper .tab-container:not(.visually-hidden) [role=tab]')];
document.addEventListener('click', (event) => {
  const place = tabs().indexOf(event.target.closest('[role=tab]'));
  if (place >= 0) history.replaceState(null, '', location.pathname + location.search + (place ? '#' + place : ''));
});
const place = Number(location.hash.slice(1));
if (place && !asked.get('example')) {
  const timer = setInterval(() => { if (tabs()[place]) { tabs()[place].click(); clearInterval(timer); } }, 50);
  setTimeout(() => clearInterval(timer), 5000);
}
