// Tokens: what the model expected in the place of the one at the pointer, or of the one that the arrow keys have chosen.
// One box of tokens exists at most. Its text: the tokens before a chosen one, with the alternative, are a new prompt.
let chosenToken = null; // by the keyboard or a press, so the pointer leaves it

const tokenTip = (box) => box.querySelector('.token-tip');
const rawText = (token) => token.dataset.text ?? token.textContent;
const hideTokenTip = () => {
  document.querySelectorAll('.tok.here').forEach((token) => token.classList.remove('here'));
  for (const tip of document.querySelectorAll('.token-tip')) tip.hidden = true;
  chosenToken = null;
};
const showToken = (token) => {
  const box = token.closest('.token-box');
  const tip = tokenTip(box);
  box.querySelectorAll('.tok.here').forEach((other) => other.classList.remove('here'));
  token.classList.add('here');
  tip.querySelector('.token-name').textContent = token.textContent;
  tip.querySelector('b').textContent = token.dataset.chance;
  const other = tip.querySelector('.other');
  other.hidden = !token.dataset.other;
  other.textContent = token.dataset.other ?? '';
  const guesses = JSON.parse(token.dataset.guesses).map(([text, chance]) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'mini';
    button.dataset.act = 'goOn';
    button.dataset.text = text;
    const name = document.createElement('code');
    name.textContent = text.replaceAll('\n', '↵');
    button.append(name, ` ${chance}`);
    return button;
  });
  tip.querySelector('.token-guesses').replaceChildren(...guesses);
  tip.hidden = false;
  const at = token.getClientRects()[0] ?? token.getBoundingClientRect();
  const frame = box.getBoundingClientRect();
  tip.style.left = `${Math.max(0, Math.min(at.left - frame.left, frame.width - tip.offsetWidth))}px`;
  // Below the token, or above it where the card ends before; a card with room for neither grows.
  const card = box.closest('.card').getBoundingClientRect();
  const fits = at.bottom + 4 + tip.offsetHeight <= card.bottom;
  const isAbove = !fits && at.top - 4 - tip.offsetHeight >= card.top;
  const top = (isAbove ? at.top - 4 - tip.offsetHeight : at.bottom + 4) - frame.top;
  tip.style.top = `${top}px`;
  if (!fits && !isAbove) box.style.minHeight = `${top + tip.offsetHeight + 12}px`;
  box.querySelector('[aria-live]').textContent = chosenToken === token
    ? `${token.textContent} ${token.dataset.chance}; ${guesses.map((guess) => guess.textContent).join(', ')}` : '';
};

document.addEventListener('pointermove', (event) => {
  if (event.pointerType !== 'mouse' || chosenToken?.isConnected) return;
  const token = event.target.closest?.('.tok');
  if (token) showToken(token);
  else if (!event.target.closest?.('.token-box')) hideTokenTip();
});
document.addEventListener('click', (event) => {
  const token = event.target.closest('.tok');
  if (token) {
    chosenToken = token;
    showToken(token);
  } else if (!event.target.closest('.token-box')) hideTokenTip();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') return hideTokenTip();
  const text = event.target.closest?.('.token-text');
  if (!text) return;
  if (event.key === 'Enter' && chosenToken) return chosenToken.click();
  const tokens = [...text.querySelectorAll('.tok')];
  const at = tokens.indexOf(chosenToken);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tokens.length - 1 }[event.key];
  if (to === undefined || !tokens[to]) return;
  event.preventDefault();
  chosenToken = tokens[to];
  chosenToken.scrollIntoView({ block: 'nearest' });
  showToken(chosenToken);
});
document.addEventListener('input', (event) => {
  const slider = event.target;
  if (!slider.dataset?.labels) return;
  slider.nextElementSibling.textContent = JSON.parse(slider.dataset.labels)[slider.value];
  if (slider.dataset.grown !== undefined) {
    showStep(slider);
    grownStep = slider.closest('.growth').querySelectorAll('section[data-step]')[slider.value].dataset.step;
  }
});
// The slider, when it is let go, presses the hidden button for the revision of its step.
document.addEventListener('change', (event) => {
  const steps = event.target.dataset?.steps;
  if (!steps) return;
  const button = event.target.parentElement.querySelector('button');
  button.dataset.read = JSON.parse(steps)[event.target.value];
  button.click();
});

// While a growth is written, each step replaces the card: the slider keeps its step, and the focus.
let grownStep = null;
let isGrownFocused = false;
document.addEventListener('focusin', (event) => { isGrownFocused = event.target.dataset?.grown !== undefined; });
document.addEventListener('pointerdown', (event) => { if (!event.target.closest('#growth')) isGrownFocused = false; });
document.addEventListener('studio-growth', () => {
  const slider = document.querySelector('#growth [data-grown]');
  if (!slider) return grownStep = null;
  const sections = slider.closest('.growth').querySelectorAll('section[data-step]');
  const at = [...sections].findIndex((section) => section.dataset.step === grownStep);
  if (at < 0 || at === Number(slider.value)) return;
  slider.value = at;
  if (isGrownFocused) slider.focus({ preventScroll: true });
  slider.dispatchEvent(new Event('input', { bubbles: true }));
});

// The slider of a run's steps shows what its step wrote, and where it is on the loss curve.
const showStep = (slider) => {
  const growth = slider.closest('.growth');
  const sections = growth.querySelectorAll('section[data-step]');
  sections.forEach((section, number) => { section.hidden = number !== Number(slider.value); });
  showTip(growth.querySelector('.plot'), Number(sections[slider.value].dataset.step), true);
};

acts.goOn = (button) => {
  const box = button.closest('.token-box');
  const tokens = [...box.querySelectorAll('.tok')];
  const before = tokens.slice(0, tokens.indexOf(box.querySelector('.tok.here'))).map(rawText).join('');
  const prompt = document.querySelector('#prompt textarea');
  prompt.value = before + button.dataset.text;
  prompt.dispatchEvent(new Event('input', { bubbles: true }));
  hideTokenTip();
  prompt.scrollIntoView({ block: 'nearest' });
  setTimeout(() => document.getElementById('complete').click(), 100); // once Gradio has the new prompt
};
