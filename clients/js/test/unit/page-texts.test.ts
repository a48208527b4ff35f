// The texts of the pages of a session, in all languages.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ENGLISH, fillText, type Text } from "../../src/elements/texts.js";
// @ts-expect-error The page has no types.
import { chooseLanguage, LANGUAGES } from "../../../../synckairos/http/static/view/languages.js";

const STATIC = fileURLToPath(new URL("../../../../synckairos/http/static/", import.meta.url));
const TAGS = Object.keys(LANGUAGES as object);
const FOLDERS = ["view", "control", "desk", "agenda", "open_session"];

const textsOf = (tag: string) => JSON.parse(readFileSync(`${STATIC}view/texts/${tag}.json`, "utf8")) as Record<string, Text>;
const english = textsOf("en");

/** Texts that are the same word in English and in another language. */
const SAME_WORDS: Record<string, string[]> = {
  de: ["control.name", "control.text", "control.info", "link.title"],
  fr: ["clock.participant", "page.session", "control.participants", "control.info", "control.warning", "control.urgent", "edit.minutes"],
  es: ["control.title"],
  pt: ["edit.item", "link.title"],
};

/** Texts that have no words but placeholders and signs, or only a unit or a sign that all languages of the Latin script share. */
const WITHOUT_WORDS = /^(\{\w+\}|[\s:,.?×·−+1]|min)*$/;

const forms = (text: Text) => (typeof text === "string" ? [text] : Object.values(text));
const placeholders = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

test("each language has a file, and each file is of a language", () => {
  expect(readdirSync(`${STATIC}view/texts`).sort()).toEqual(TAGS.map((tag) => `${tag}.json`).sort());
});

test("the elements say the texts of the pages in English by default", () => {
  expect(Object.fromEntries(Object.keys(ENGLISH).map((name) => [name, english[name]]))).toEqual(ENGLISH);
});

test.each(TAGS)("no text is missing or empty in %s, and each has its placeholders and plural forms", (tag) => {
  const texts = textsOf(tag);
  expect(Object.keys(texts)).toEqual(Object.keys(english));
  const categories = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
  for (const [name, text] of Object.entries(texts)) {
    expect(forms(text).filter((each) => each.trim() === ""), name).toEqual([]);
    const [wanted] = forms(english[name] as Text) as [string];
    const isPlural = typeof english[name] !== "string";
    expect(typeof text !== "string", name).toBe(isPlural);
    if (isPlural) expect(Object.keys(text).sort(), name).toEqual([...categories].sort());
    // A form for one number, such as “one minute left”, can leave the number out.
    for (const [category, form] of typeof text === "string" ? [["other", text]] : Object.entries(text)) {
      const needed = ["zero", "one", "two"].includes(category as string) && !form?.includes("{n}") ? placeholders(wanted).filter((each) => each !== "{n}") : placeholders(wanted);
      expect(placeholders(form as string), `${name} ${category}`).toEqual(needed);
    }
  }
});

test.each(TAGS.filter((tag) => tag !== "en"))("no text in %s is still the English one", (tag) => {
  const same = Object.entries(textsOf(tag)).filter(([name, text]) => JSON.stringify(text) === JSON.stringify(english[name]));
  const words = same.filter(([, text]) => !forms(text).every((form) => WITHOUT_WORDS.test(form))).map(([name]) => name);
  expect(words.sort()).toEqual((SAME_WORDS[tag] ?? []).sort());
});

test("the pages use each text, and have no name of a text that does not exist", () => {
  const files = FOLDERS.flatMap((folder) => readdirSync(STATIC + folder).map((name) => `${folder}/${name}`));
  const code = files.filter((each) => /\.(js|html)$/.test(each)).map((each) => readFileSync(STATIC + each, "utf8")).join("\n");
  const named = new Set([...code.matchAll(/["'`]((?:page|announcement|option|view|desk|status|reason|control|action|error|keys|link|edit|open|clock|agenda)\.[\w]+)["'`]/g)].map(([, name]) => name as string));
  expect([...named].filter((name) => !Object.hasOwn(english, name) && !/\.(js|css|html)$/.test(name))).toEqual([]);
  // The statuses, the faults of options, the reasons and the errors are named by what the server or the options say.
  const byValue = /^(status|reason|error|option|desk)\./;
  const unused = Object.keys(english).filter((name) => !named.has(name) && !Object.hasOwn(ENGLISH, name) && !byValue.test(name));
  expect(unused).toEqual([]);
});

test.each([
  [null, ["de-AT", "en"], "de", "de-AT", "ltr", false],
  [null, ["nl", "pt-BR"], "pt", "pt-BR", "ltr", false],
  [null, ["nl"], "en", "en", "ltr", false],
  [null, [], "en", "en", "ltr", false],
  ["fr", ["en-GB"], "fr", "fr", "ltr", false],
  ["en", ["de", "en-GB"], "en", "en-GB", "ltr", false],
  ["ar", ["ar-EG"], "ar", "ar-EG-u-nu-latn", "rtl", false],
  ["xx", ["ja-JP"], "ja", "ja-JP", "ltr", true],
  ["constructor", ["zh-TW"], "zh", "zh-TW", "ltr", true],
])("a link with the language %j and a browser with %j show %s", (wanted, preferred, language, locale, direction, isUnknown) => {
  expect(chooseLanguage(wanted, preferred)).toEqual({ language, locale, direction, isUnknown });
});

test("numbers select the plural form, and are written as the language writes them", () => {
  const minutes = textsOf("ar")["clock.minutesLeft"] as Text;
  expect([1, 2, 5, 11].map((n) => fillText(minutes, { n }, "ar-u-nu-latn"))).toEqual(["بقيت دقيقة واحدة", "بقيت دقيقتان", "بقيت 5 دقائق", "بقيت 11 دقيقة"]);
  expect(fillText(textsOf("de")["clock.factor"] as Text, { n: 1.25 }, "de")).toBe("1,25-fache Zeit");
});
