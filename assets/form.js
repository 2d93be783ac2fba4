// Forms: arrow keys in tabs and segments, keywords, folded cards, and messages at the field that they concern.

// ---- keyboard ----

// Gradio gives each radio of a group another name. With one name, the browser moves between them by arrow keys.
const joinRadios = () => {
  for (const group of document.querySelectorAll('.segments')) {
    const radios = group.querySelectorAll('input[type=radio]');
    for (const radio of radios) if (radio.name !== radios[0].name) radio.name = radios[0].name;
  }
};

document.addEventListener('keydown', (event) => {
  const all = tabs();
  const at = all.indexOf(event.target.closest('[role=tab]'));
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  all[to % all.length].focus();
  all[to % all.length].click();
});

// A dropdown has no event for Enter. It takes the typed text first, in its own listener.
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.closest('#source-repo')) setTimeout(() => document.getElementById('scan').click());
});

// ---- folded cards: the whole first line opens them on a phone ----

document.addEventListener('click', (event) => {
  const toggle = !event.target.closest('button') && event.target.closest('.fold .card-head')?.querySelector('.fold-toggle');
  if (toggle && toggle.getClientRects().length) acts.fold(toggle);
});

// ---- keywords: commas and lines separate them ----

document.addEventListener('paste', (event) => {
  const text = event.clipboardData?.getData('text') ?? '';
  if (!event.target.matches?.('.chips input') || !/[,\n\t]/.test(text)) return;
  event.preventDefault();
  const input = event.target;
  const words = text.split(/[,\r\n\t]/).map((word) => word.trim()).filter(Boolean);
  input.setRangeText(words.join(','), input.selectionStart, input.selectionEnd, 'end');
  input.dispatchEvent(new Event('input', { bubbles: true }));
  if (input.value.trim()) enter(input);
}, true);
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !event.target.matches('.chips input') || event.target.value.trim()) return;
  event.preventDefault();
  event.stopPropagation(); // Gradio would add a blank keyword
}, true);

// ---- messages at their fields ----

// A notice with `data-field`, the id of a field, is shown at that field too. Where both are in one card, only the field
// shows it. A notice is over when its field is edited.
const over = new Set();
const seen = new Set();
const inputOf = (block) => block?.querySelector('input, textarea');
const unmark = (input) => {
  input.removeAttribute('aria-invalid');
  input.removeAttribute('aria-describedby');
};
const mark = (block, text, isNew) => {
  const input = inputOf(block);
  // After the press of a button; not while somebody types elsewhere.
  if (isNew && document.activeElement.matches('body, button')) input.focus();
  let message = block.querySelector('.field-error');
  if (message?.textContent === text) return;
  if (!message) {
    message = document.createElement('p');
    message.className = 'field-error';
    message.id = `${block.id}-error`;
    block.append(message);
  }
  message.textContent = text;
  input.setAttribute('aria-invalid', 'true');
  input.setAttribute('aria-describedby', message.id);
};
const showAtFields = () => {
  const shown = new Map();
  for (const notice of document.querySelectorAll('.notice[data-field]')) {
    const block = document.getElementById(notice.dataset.field);
    const isOver = over.has(notice.dataset.number);
    const isAtField = !isOver && Boolean(inputOf(block)?.getClientRects().length);
    notice.classList.toggle('at-field', isOver || (isAtField && notice.closest('.card') === block.closest('.card')));
    if (!isAtField) continue;
    const isNew = shown.get(block)?.isNew || !seen.has(notice.dataset.number);
    shown.set(block, { text: notice.querySelector('span').textContent, isNew });
    seen.add(notice.dataset.number);
  }
  for (const message of document.querySelectorAll('.field-error')) if (!shown.has(message.parentElement)) message.remove();
  for (const input of document.querySelectorAll('[aria-describedby$="-error"]')) {
    if (!shown.has(document.getElementById(input.getAttribute('aria-describedby').slice(0, -'-error'.length)))) unmark(input);
  }
  for (const [block, { text, isNew }] of shown) mark(block, text, isNew);
};
// By the notice, not by the message: Gradio may just have drawn the field anew, without it.
const edited = (event) => {
  const notices = [...document.querySelectorAll('.notice[data-field]')]
    .filter((notice) => document.getElementById(notice.dataset.field)?.contains(event.target));
  if (!notices.length) return;
  for (const notice of notices) over.add(notice.dataset.number);
  showAtFields();
};
document.addEventListener('input', edited);
document.addEventListener('click', (event) => { if (event.target.closest('.token-remove')) edited(event); }, true);

// ---- whatever Gradio draws ----

let isDue = false;
const drawn = () => {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    joinRadios();
    showAtFields();
  });
};
new MutationObserver(drawn).observe(document.body, {
  childList: true, subtree: true, attributes: true, attributeFilter: ['data-number', 'style'],
});
drawn();
