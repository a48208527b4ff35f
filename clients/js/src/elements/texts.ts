// The texts of the elements. They are English unless a page sets those of another language.

/** A text with placeholders such as `{time}`. If it depends on the number `{n}`, it has one form for each plural category. */
export type Text = string | Partial<Record<Intl.LDMLPluralRule, string>>;

/** Values of placeholders. Numbers are written as the language writes them. */
export type TextValues = Record<string, string | number>;

export const ENGLISH = {
  "clock.name": "clock",
  "clock.none": "no clock to show",
  "clock.waiting": "not started",
  "clock.running": "running",
  "clock.paused": "paused",
  "clock.pausedAtZero": "paused at zero",
  "clock.finished": "finished",
  "clock.expired": "time is up",
  "clock.cancelled": "cancelled",
  "clock.counted": "{n} {status}",
  "clock.overtime": "overtime",
  "clock.delay": "delay",
  "clock.stage": "stage {n}",
  "clock.period": "period {n} of {total}",
  "clock.periodsLeft": { one: "{n} period in reserve", other: "{n} periods in reserve" },
  "clock.movesLeft": { one: "{n} move left", other: "{n} moves left" },
  "clock.factor": "{n} × time",
  "clock.minutesLeft": { one: "{n} minute left", other: "{n} minutes left" },
  "clock.secondsLeft": { one: "{n} second left", other: "{n} seconds left" },
  "clock.comma": ", ",
  "clock.participant": "Participant {n}",
  "agenda.none": "This session has no agenda",
  "agenda.progress": "planned time that is over",
  "agenda.end": "expected end {time}",
  "agenda.next": "next",
  "agenda.now": "now",
  "agenda.done": "done",
  "agenda.begun": "{title} has begun",
  "agenda.used": "{used} of {planned}",
  "agenda.over": "{time} over",
  "agenda.under": "{time} under",
  "agenda.planned": "planned {time}",
  "agenda.expected": "expected {time}",
  "agenda.onTime": "on time",
  "agenda.late": "{time} late",
  "agenda.early": "{time} early",
} satisfies Record<string, Text>;

export type TextName = keyof typeof ENGLISH;

let texts: Record<TextName, Text> = ENGLISH;

/** The language tag of the texts for Intl. Undefined: the texts are English, and times of day are those of the browser. */
let language: string | undefined;

/** Set the texts of all elements, and the language tag for their numbers and times. Elements that exist keep old texts. */
export function setElementTexts(tag: string, all: Record<TextName, Text>): void {
  language = tag;
  texts = all;
}

/** Return a text with its values. `tag` is the language of the text. */
export function fillText(text: Text, values: TextValues, tag: string): string {
  const form = typeof text === "string" ? text : (text[new Intl.PluralRules(tag).select(Number(values.n))] ?? text.other ?? "");
  return form.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? "";
    return typeof value === "number" ? value.toLocaleString(tag) : value;
  });
}

/** Return a text of the elements. */
export const say = (name: TextName, values: TextValues = {}): string => fillText(texts[name], values, language ?? "en");

/** Return parts in one text, without empty parts. */
export const joined = (parts: string[]): string => [...new Set(parts.filter(Boolean))].join(say("clock.comma"));

/** Return the time of day of an instant in ms since the Unix epoch. */
export const timeOfDay = (ms: number): string => new Date(ms).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
