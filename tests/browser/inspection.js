// What a page must keep in every look. Returns one sentence for each thing that is wrong.
() => {
  const wrong = [];
  for (const change of document.getAnimations()) change.finish(); // from one theme to the other
  const named = (element) => {
    const text = (element.value || element.textContent || "").trim().replace(/\s+/g, " ");
    const id = element.id ? `#${element.id}` : "";
    return `<${element.localName}${id} class="${element.className}"> “${text.slice(0, 60)}”`;
  };
  const main = document.querySelector("#main") || document.body;
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });
  const all = (selector) => [...main.querySelectorAll(selector)].filter(visible);

  // The page as a whole

  if (!document.documentElement.lang) wrong.push("The page does not say its language.");
  if (!document.title.trim()) wrong.push("The page has no title.");
  if (document.querySelectorAll("h1").length === 0) wrong.push("The page has no heading.");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) {
    wrong.push(`The id ${id} is there more than once.`);
  }

  // Nothing sticks out: what is wide scrolls in a box of its own

  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let up = element; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== "visible") return true;
    }
    return false;
  };
  for (const element of all("*")) {
    const box = element.getBoundingClientRect();
    if (box.width > 1 && (box.right > width + 1 || box.left < -1) && !scrolls(element)) {
      wrong.push(`Sticks out to ${Math.round(box.left)}…${Math.round(box.right)} of ${width}: ${named(element)}`);
    }
  }

  // Everything has a name

  for (const field of all("input:not([type=hidden], [type=submit]), select, textarea")) {
    const label = field.getAttribute("aria-label") || field.getAttribute("aria-labelledby");
    if (!field.labels.length && !label) wrong.push(`Has no label: ${named(field)}`);
  }
  for (const pressed of all("a[href], button, [type=submit], [role=region], [role=group], section")) {
    const labelled = document.getElementById(pressed.getAttribute("aria-labelledby") || "");
    const name = pressed.getAttribute("aria-label") || pressed.title || pressed.value
      || (labelled || pressed).textContent;
    if (!name.trim()) wrong.push(`Has no name: ${named(pressed)}`);
  }
  for (const table of all("table")) {
    // The admin's own lists do not say that the first cell of a row is its header.
    const headers = [...table.querySelectorAll(table.tHead ? "thead th" : "th")];
    if (!headers.length || !headers.every((header) => header.scope)) {
      wrong.push(`A table without headers or their scope: ${named(table)}`);
    }
  }

  // Words that a tone only underlines

  for (const badge of all(".gw-badge")) {
    if (!badge.textContent.trim()) wrong.push("A badge says nothing.");
  }

  // Contrast, by the formula of WCAG 2 for the level AA

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = new Map();
  const paint = (colour, under) => {
    const key = `${colour} on ${under}`;
    if (!painted.has(key)) painted.set(key, painting(colour, under));
    return painted.get(key);
  };
  const painting = (colour, under) => {
    canvas.fillStyle = `rgb(${under.join(" ")})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const backgrounds = new Map([[null, [255, 255, 255]]]);
  const background = (element) => {
    if (!backgrounds.has(element)) {
      const own = getComputedStyle(element).backgroundColor;
      backgrounds.set(element, paint(own, background(element.parentElement)));
    }
    return backgrounds.get(element);
  };
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const checked = new Set();
  const contrast = (element) => {
    if (checked.has(element) || !visible(element)) return;
    checked.add(element);
    const style = getComputedStyle(element);
    const under = background(element);
    const [low, high] = [luminance(under), luminance(paint(style.color, under))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) wrong.push(`Contrast ${ratio.toFixed(2)}: ${named(element)}`);
  };
  const texts = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (texts.currentNode.data.trim()) contrast(texts.currentNode.parentElement);
  }
  for (const field of all("input:not([type=hidden]), select, textarea")) contrast(field);
  return wrong;
}
