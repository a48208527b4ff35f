// The page /view/design: reads the tokens from tokens.css and shows a sample of each.

const GROUPS = { type: "Type", space: "Spacing", radius: "Shape", touch: "Shape", color: "Colour", motion: "Motion" };
const SVG = "http://www.w3.org/2000/svg";

const sheet = [...document.styleSheets].find(({ href }) => href?.endsWith("/tokens.css"));
const rule = [...sheet.cssRules].find(({ selectorText }) => selectorText === ":root");
const names = [...rule.style].filter((name) => name.startsWith("--"));
const groups = new Map();
for (const name of names) {
  const title = GROUPS[name.slice(2).split("-")[0]];
  groups.set(title, [...(groups.get(title) ?? []), name]);
}
for (const [title, members] of groups) {
  const section = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = title;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const text of ["Token", "Value", "Sample"]) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    cell.textContent = text;
  }
  const body = table.createTBody();
  for (const name of members) {
    const row = body.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = rule.style.getPropertyValue(name).trim();
    row.insertCell().append(sampleOf(title, name));
  }
  section.append(heading, table);
  document.getElementById("tokens").append(section);
}

/** Return a sample: text for type and motion, a bar for spacing, an area for a colour. */
function sampleOf(title, name) {
  if (title !== "Spacing" && title !== "Colour") {
    const text = document.createElement("span");
    text.textContent = "12:34";
    if (/family$/.test(name)) text.style.setProperty("font-family", `var(${name})`);
    else if (/regular|strong/.test(name)) text.style.setProperty("font-weight", `var(${name})`);
    else if (title === "Type") text.style.setProperty("font-size", `min(var(${name}), 6rem)`);
    else text.textContent = "";
    return text;
  }
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("aria-hidden", "true");
  const area = picture.appendChild(document.createElementNS(SVG, "rect"));
  area.setAttribute("height", "100%");
  area.style.setProperty("width", title === "Colour" ? "100%" : `var(${name})`);
  area.style.setProperty("fill", title === "Colour" ? `var(${name})` : "var(--color-active)");
  area.style.setProperty("stroke", "var(--color-line)");
  return picture;
}
