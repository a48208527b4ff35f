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

/**
 * Ask in a dialog before a step that cannot be taken back. Resolve to whether the user confirmed the step. `question` is the
 * title of the dialog, and `back` the label of its other button.
 */
export function confirmStep(label, text = "", { question = `${label}?`, back = "Back" } = {}) {
  return new Promise((resolve) => {
    let isConfirmed = false;
    const title = element("h2", { id: "confirm-title", textContent: question });
    const dialog = element("dialog", { "aria-labelledby": title.id }, title);
    const confirm = () => {
      isConfirmed = true;
      dialog.close();
    };
    if (text) dialog.append(element("p", { textContent: text }));
    dialog.append(element("p", { className: "bar" }, button(label, confirm, { className: "destructive" }), button(back, () => dialog.close())));
    dialog.onclose = () => {
      dialog.remove();
      resolve(isConfirmed);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Keep the choice of a checkbox in the browser under `key`. `isOnAtFirst` is the choice of a new user. Some browsers refuse the
 * storage; the choice then ends with the page.
 */
export function keepChoice(checkbox, key, isOnAtFirst) {
  let kept = null;
  try {
    kept = localStorage.getItem(key);
  } catch {
    // The checkbox has the choice of a new user.
  }
  checkbox.checked = kept === null ? isOnAtFirst : kept === "on";
  checkbox.addEventListener("change", () => {
    try {
      localStorage.setItem(key, checkbox.checked ? "on" : "off");
    } catch {
      // The choice ends with the page.
    }
  });
}
