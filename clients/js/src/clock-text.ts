// The text of a clock, and the time until this text changes. Pure.
import type { RunningReading } from "./clock/readings.js";
import type { SessionView } from "./generated/schemas.js";

/** How a clock is shown. */
export interface TextFormat {
  /** When tenths of a second are shown: below `tenthsBelowMs` (default), always, or never. */
  tenths?: "auto" | "always" | "never";
  /** Milliseconds below which tenths are shown. Default: 10,000. */
  tenthsBelowMs?: number;
}

/** Text of a clock whose reading is not known, because the server's time is not measured. */
export const UNKNOWN_TEXT = "-:--";

/** Milliseconds below which a clock that stands still shows hundredths. */
const HUNDREDTHS_BELOW_MS = 1000;

const pad = (value: number) => String(value).padStart(2, "0");

/** Return the time that a clock shows, in ms: in `count_up` the used time, else the remaining time. Null without a limit. */
export const shownMs = (session: SessionView, reading: RunningReading): number | null =>
  session.sync_mode === "count_up" ? reading.time_used_ms : reading.time_remaining_ms;

function digitMs(ms: number, isStill: boolean, { tenths = "auto", tenthsBelowMs = 10_000 }: TextFormat): number {
  if (tenths === "never" || (tenths === "auto" && Math.abs(ms) >= tenthsBelowMs)) return 1000;
  return isStill && Math.abs(ms) < HUNDREDTHS_BELOW_MS && ms !== 0 ? 10 : 100;
}

/**
 * Return the text of a time in ms: rounded down, with a minus sign below zero, with hours from 1 hour and days from 24
 * hours on. `isStill` is whether the clock stands still.
 */
export function formatClock(ms: number, format: TextFormat = {}, isStill = false): string {
  const unit = digitMs(ms, isStill, format);
  const rest = Math.abs(ms);
  const seconds = Math.floor(rest / 1000);
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600) % 24;
  const days = Math.floor(seconds / 86_400);
  const tail = `${minutes}:${pad(seconds % 60)}`;
  const digits = days
    ? `${days}d ${pad(hours)}:${pad(minutes)}:${pad(seconds % 60)}`
    : hours
      ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}`
      : tail;
  const fraction = unit === 1000 ? "" : `.${String(Math.floor((rest % 1000) / unit)).padStart(unit === 10 ? 2 : 1, "0")}`;
  return `${ms < 0 ? "-" : ""}${digits}${fraction}`;
}

/** Return the text of a reading. */
export function readingText(session: SessionView, reading: RunningReading, format: TextFormat = {}): string {
  const ms = shownMs(session, reading);
  return ms === null ? "-" : formatClock(ms, format, reading.rateMs === 0);
}

/** Return the milliseconds after which the text of a reading can change, Infinity if the clock stands still. */
export function nextTextChangeMs(session: SessionView, reading: RunningReading, format: TextFormat = {}): number {
  const ms = shownMs(session, reading);
  if (ms === null || reading.rateMs === 0) return Infinity;
  const unit = digitMs(ms, false, format);
  const rest = Math.abs(ms) % unit;
  const falls = reading.rateMs < 0 && ms >= 0;
  // A falling time changes its text one millisecond after a whole unit, any other time at a whole unit. At zero the next
  // period or stage can begin.
  const untilDigit = falls ? (ms === rest && ms > 0 ? rest : rest + 1) : unit - rest;
  const { tenths = "auto", tenthsBelowMs = 10_000 } = format;
  const untilTenths = tenths === "auto" && falls && ms >= tenthsBelowMs ? ms - tenthsBelowMs + 1 : Infinity;
  return reading.freeMs + Math.min(untilDigit, untilTenths);
}
