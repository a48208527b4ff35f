// The search of the documentation. It loads its index at the first use, and needs no other host.

const MAX_RESULTS = 24;
const MIN_LENGTH = 2;

/** Points of a result by the place of a word: in the heading, in the title of the page, in the text. */
const POINTS = { start: 8, heading: 4, title: 2, text: 1 };

const $ = (id) => document.getElementById(id);
const site = new URL(".", import.meta.url).href.slice(0, -1);
let index = null;

/**
 * Return the headings that have all words of a query, the best first: `{path, title, text}`. Headings come before
 * texts. `index` is the content of `search.json`.
 */
export function findHeadings(index, query) {
  const words = query.toLowerCase().split(/\s+/).filter((each) => each.length >= MIN_LENGTH);
  if (!words.length) return [];
  const found = [];
  index.headings.forEach(([page, text, anchor, below], order) => {
    const [path, title] = index.pages[page];
    const points = words.map((word) => pointsOf(word, text.toLowerCase(), title.toLowerCase(), below));
    if (points.every((each) => each > 0)) found.push({ path: path + (anchor && `#${anchor}`), title, text, order, points: sum(points) });
  });
  return found.sort((a, b) => b.points - a.points || a.order - b.order).slice(0, MAX_RESULTS);
}

function pointsOf(word, heading, title, below) {
  const inHeading = heading.startsWith(word) ? POINTS.start : heading.includes(word) ? POINTS.heading : 0;
  return inHeading + (title.includes(word) ? POINTS.title : 0) + (below.includes(word) ? POINTS.text : 0);
}

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** Show the form of the search, and the results while a text is entered. Escape ends the search. */
export function prepareSearch() {
  const input = $("search");
  $("search-form").hidden = false;
  $("search-form").onsubmit = (event) => {
    event.preventDefault();
    $("result-list").querySelector("a")?.click();
  };
  input.oninput = showResults;
  input.onfocus = () => void loadIndex().catch(() => {});
  document.addEventListener("keydown", (event) => {
    const links = [...$("result-list").querySelectorAll("a")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape" && !$("results").hidden) {
      input.value = "";
      showResults();
      input.focus();
    } else if (step && (at >= 0 || document.activeElement === input) && links.length) {
      event.preventDefault();
      (links[at + step] ?? input).focus();
    }
  });
  if (input.value) showResults(); // The browser keeps the text when it goes back to the page.
}

async function loadIndex() {
  if (index === null) {
    index = fetch(`${site}/search.json`).then((response) => (response.ok ? response.json() : Promise.reject(new Error(`HTTP ${response.status}`))));
    index.catch(() => (index = null));
  }
  return index;
}

async function showResults() {
  const query = $("search").value;
  $("results").hidden = query.trim().length < MIN_LENGTH;
  if ($("results").hidden) return $("result-list").replaceChildren();
  try {
    const found = findHeadings(await loadIndex(), query);
    if (query !== $("search").value) return;
    $("found").textContent = found.length === 0 ? "Nothing was found." : found.length === MAX_RESULTS ? `The best ${MAX_RESULTS} results` : `${found.length} ${found.length === 1 ? "result" : "results"}`;
    $("result-list").replaceChildren(...found.map(resultItem));
  } catch (error) {
    $("found").textContent = `The index of the search could not be loaded: ${error.message}`;
  }
}

function resultItem({ path, title, text }) {
  const link = document.createElement("a");
  link.href = `${site}/${path}`;
  link.textContent = text;
  link.onclick = () => ($("results").hidden = true); // A result can be in this page.
  const page = document.createElement("small");
  page.textContent = title === text ? path.split("#")[0] : title;
  link.append(page);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
