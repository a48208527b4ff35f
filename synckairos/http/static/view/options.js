// The options of a view, which are all in its URL. Pure.

const CHOICES = {
  face: ["chess", "go", "stage", "sport"],
  theme: ["light", "dark"],
  bg: ["transparent"],
  freeze_overtime: ["1"],
};

/** What a view can leave out. */
export const PARTS = ["title", "names", "words", "agenda"];

export const MAX_MESSAGE_LENGTH = 120;

/**
 * Read the options of a query. Return the valid ones by name, `hide` as a list, and `faults` for options that are
 * unknown or have a value that is not allowed: `{name, option, …}` with the name of the text and its values. Such an option
 * has no effect. `lang` is left to the texts of the page, which choose the language.
 */
export function readOptions(parameters) {
  const options = { hide: [] };
  const faults = [];
  for (const [name, value] of parameters) {
    if (name === "lang") continue;
    if (Object.hasOwn(CHOICES, name)) {
      if (CHOICES[name].includes(value)) options[name] = value;
      else faults.push({ name: "choice", option: name, choices: CHOICES[name] });
    } else if (name === "hide") {
      const wanted = value.split(",").filter(Boolean);
      options.hide = wanted.filter((each) => PARTS.includes(each));
      if (options.hide.length < wanted.length) faults.push({ name: "list", option: name, choices: PARTS });
    } else if (name === "message") {
      if (value.length <= MAX_MESSAGE_LENGTH) options.message = value;
      else faults.push({ name: "length", option: name, n: MAX_MESSAGE_LENGTH });
    } else {
      faults.push({ name: "unknown", option: name });
    }
  }
  return { options, faults };
}

/** Return the query of a link with these options, in the form that `readOptions` returns. Empty without options. */
export function writeOptions({ hide = [], ...others }) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(others)) if (value) parameters.set(name, value);
  if (hide.length) parameters.set("hide", hide.join(","));
  return parameters.toString().replaceAll("%2C", ",");
}
