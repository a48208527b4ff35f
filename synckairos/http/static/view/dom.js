// Small helpers for elements. Texts are never HTML.

export const $ = (id) => document.getElementById(id);

/** Return an element with properties, such as `textContent`, and children. Properties with a hyphen are attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Return a button. */
export const button = (text, onclick, more = {}) => element("button", { type: "button", textContent: text, onclick, ...more });

/** Return a labelled field: a select for `options`, an input otherwise. The field is the last child of the label. */
export function field({ label, options, ...properties }) {
  const input = options
    ? element("select", properties, ...options.map(([value, text]) => new Option(text, value)))
    : element("input", { autocomplete: "off", ...properties });
  return element("label", {}, `${label} `, input);
}

/** Copy a text, and say so on the button. Without HTTPS there is no clipboard, so the text is selected instead. */
export async function copyText(from, source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    from.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
  }
}

/** Ask in the dialog `#sure` before a step that cannot be taken back. Resolve to the answer. */
export function confirmStep(label, text = "") {
  const dialog = $("sure");
  $("sure-title").textContent = `${label}?`;
  $("sure-text").textContent = text;
  $("sure-text").hidden = text === "";
  $("yes").textContent = label;
  return new Promise((resolve) => {
    const answer = (isSure) => {
      dialog.onclose = null;
      if (dialog.open) dialog.close();
      resolve(isSure);
    };
    $("yes").onclick = () => answer(true);
    $("no").onclick = () => answer(false);
    dialog.onclose = () => answer(false);
    dialog.showModal();
  });
}
