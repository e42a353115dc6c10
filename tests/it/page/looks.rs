//! What a person would see at once: text that is cut, overlaps, or cannot be read.

use anyhow::Context;
use serde_json::Value;
use tests::browser::Browser;

/// Nothing is wider than the screen; no two texts lie on each other; every text has the contrast of WCAG AA.
const LOOK: &str = r#"
const found = [];
if (document.documentElement.scrollWidth > innerWidth + 1) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const colour = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const one = colour(getComputedStyle(at).backgroundColor);
    if (one[3] > 0.99) return one;
  }
  return [255, 255, 255, 1];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((part) => { part /= 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const pen = document.createElement('canvas').getContext('2d');
for (const input of document.querySelectorAll('input[placeholder]')) {
  const style = getComputedStyle(input);
  pen.font = `${style.fontSize} ${style.fontFamily}`;
  const room = input.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const wide = pen.measureText(input.placeholder).width;
  if (room > 0 && wide > room) found.push(`"${input.placeholder}" is cut: ${Math.ceil(wide)} px in ${Math.floor(room)}`);
}
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  const element = node.parentElement;
  if (!node.textContent.trim() || element.closest('noscript, script, .hidden, .skip, canvas, option, [hidden]')) continue;
  const style = getComputedStyle(element);
  const range = document.createRange();
  range.selectNodeContents(node);
  let box = range.getBoundingClientRect();
  for (let one = element; one; one = one.parentElement) {
    // What is scrolled out of a container is not seen.
    if (getComputedStyle(one).overflowX === 'visible') continue;
    const frame = one.getBoundingClientRect();
    const [left, top] = [Math.max(box.left, frame.left), Math.max(box.top, frame.top)];
    box = new DOMRect(left, top, Math.max(0, Math.min(box.right, frame.right) - left), Math.max(0, Math.min(box.bottom, frame.bottom) - top));
  }
  if (style.visibility !== 'visible' || box.width < 2 || box.height < 2 || box.bottom < 0 || box.top > innerHeight || box.right < 0 || box.left > innerWidth) continue;
  const text = node.textContent.trim().slice(0, 40);
  const at = document.elementFromPoint(Math.min(innerWidth - 1, Math.max(0, box.left + box.width / 2)), Math.min(innerHeight - 1, Math.max(0, box.top + box.height / 2)));
  const isOnTop = at && (at === element || element.contains(at) || at.contains(element));
  if (!isOnTop && at && at !== document.documentElement) found.push(`"${text}" lies below ${at.tagName} ${at.className}`);
  for (let one = element; one && one !== document.body; one = one.parentElement) {
    const { overflowX } = getComputedStyle(one);
    if (overflowX === 'hidden' && one.scrollWidth > one.clientWidth + 1 && !one.matches('.map, .map *, .chart')) found.push(`"${text}" is cut: ${one.scrollWidth} px in ${one.clientWidth}`);
    if (overflowX !== 'visible') break;
  }
  const [one, two] = [light(colour(style.color)), light(ground(element))];
  const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (contrast < 4.5 && !element.closest(':disabled')) found.push(`"${text}" has a contrast of ${contrast.toFixed(2)}`);
  boxes.push([text, box, element]);
}
for (const [index, [text, box, element]] of boxes.entries()) {
  for (const [other, next, owner] of boxes.slice(index + 1)) {
    const wide = Math.min(box.right, next.right) - Math.max(box.left, next.left);
    const high = Math.min(box.bottom, next.bottom) - Math.max(box.top, next.top);
    if (wide > 2 && high > 4 && !element.contains(owner) && !owner.contains(element)) found.push(`"${text}" and "${other}" overlap`);
  }
}
return found;
"#;

/// Fails with what is wrong.
pub(super) fn check_looks(browser: &Browser) -> anyhow::Result<()> {
    let found = browser.run(LOOK)?;
    let found = found.as_array().context("no list")?;
    let some: Vec<&Value> = found.iter().take(12).collect();
    anyhow::ensure!(found.is_empty(), "{some:?}");
    Ok(())
}

/// Counts from here on how much the layout moves by itself.
pub(super) fn watch_shifts(browser: &Browser) -> anyhow::Result<()> {
    let script = "window.shift = 0; new PerformanceObserver((list) => { \
                  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value; \
                  }).observe({ type: 'layout-shift' }); return true";
    browser.run(script).map(drop)
}
