// The languages of the pages of a session, and which of them a page has. Pure.

/** The name of each language in this language. The file texts/{tag}.json has its texts. */
export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  pt: "Português",
  ja: "日本語",
  zh: "中文",
  ar: "العربية",
};

const RIGHT_TO_LEFT = new Set(["ar"]);

const DIGITS = { ar: "-u-nu-latn" }; // The clocks have these digits in each language, so the texts beside them have the same.

/**
 * Return the language of a page: `wanted` from its link, else the first of `preferred` that the pages have, else English.
 * `language` is one of `LANGUAGES`, `locale` the tag for Intl with the region of the user, and `isUnknown` says that the
 * pages do not have the language of the link.
 */
export function chooseLanguage(wanted, preferred) {
  const isUnknown = wanted !== null && !Object.hasOwn(LANGUAGES, wanted);
  const known = preferred.map((tag) => tag.split("-")[0].toLowerCase()).filter((each) => Object.hasOwn(LANGUAGES, each));
  const language = wanted !== null && !isUnknown ? wanted : (known[0] ?? "en");
  const region = preferred.find((tag) => tag.split("-")[0].toLowerCase() === language && !tag.includes("-u-")) ?? language;
  return { language, locale: region + (DIGITS[language] ?? ""), direction: RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr", isUnknown };
}
